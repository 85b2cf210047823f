"""Parameters and mult-adds, counted from the built graph."""

import math

import keras

from tfsr.graph.graph import inline
from tfsr.graph.operators import operator_of
from tfsr.layers import CollapsibleConv2D


def params(model: keras.Model) -> int:
    """Returns the number of trainable parameters.

    A collapsible convolution counts as what it collapses to, as its paper has it.
    """
    total = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    for layer in {node.operation for node in inline(model).nodes}:
        if isinstance(layer, CollapsibleConv2D):
            total += math.prod(layer.kernel.shape)
            total -= math.prod(layer.expand.shape) + math.prod(layer.project.shape)
    return total


def mult_adds(model: keras.Model, height: int, width: int) -> int:
    """Returns the multiply-accumulates of a model for one image.

    A convolution costs the size of its kernel times the height and width of its output,
    a transposed one times those of its input. A shared kernel counts each time it is
    used. Biases, activations and additions are free, as in the CARN paper. Layers that
    `uncounted` names are left out.

    Args:
        model: A model of one input, such as `single_scale` returns.
        height: Height of the input.
        width: Width of the input.
    """
    total = 0
    for node in inline(model, height, width).nodes:
        known = operator_of(node.operation)
        total += known.mult_adds(node.operation, node) if known else 0
    return total


def uncounted(model: keras.Model, height: int, width: int) -> list[str]:
    """Returns the names of layers with weights that `mult_adds` does not count."""
    return [
        node.operation.name
        for node in inline(model, height, width).nodes
        if operator_of(node.operation) is None
        and getattr(node.operation, "weights", None)
    ]


def mult_adds_720p(model: keras.Model, scale: int) -> int:
    """Returns the multiply-accumulates for an output of 1280x720, as CARN counts them.

    The LR size, 720 / scale by 1280 / scale, need not be whole pixels.

    Args:
        model: A model of one input and one scale.
        scale: The upscaling factor of the model.
    """
    return round(mult_adds(model, 720, 1280) / scale**2)
