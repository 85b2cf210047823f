"""Parameters and mult-adds, counted from the built graph."""

import math

import keras

from tfsr.graph.footprint import alignment
from tfsr.graph.graph import inline
from tfsr.graph.operators import UNKNOWN, operator_of
from tfsr.layers import CollapsibleConv2D


def params(model: keras.Model) -> int:
    """Returns the number of trainable parameters.

    A collapsible convolution counts as the 3x3 convolution that it collapses to.
    """
    total = sum(math.prod(weight.shape) for weight in model.trainable_weights)
    for layer in {node.operation for node in inline(model).nodes}:
        if isinstance(layer, CollapsibleConv2D) and layer.trainable_weights:
            factors = (w for w in layer.trainable_weights if w is not layer.bias)
            total += math.prod(layer.kernel.shape)
            total -= sum(math.prod(factor.shape) for factor in factors)
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
    return sum(
        operator_of(node.operation).mult_adds(node.operation, node)
        for node in inline(model, height, width).nodes
    )


def uncounted(model: keras.Model, height: int, width: int) -> list[str]:
    """Returns the names of operations whose cost `mult_adds` does not know.

    They have weights or read several tensors, and are in no table.
    """
    return [
        node.operation.name
        for node in inline(model, height, width).nodes
        if operator_of(node.operation) is UNKNOWN
        and (getattr(node.operation, "weights", None) or len(node.input_tensors) > 1)
    ]


def mult_adds_720p(model: keras.Model, scale: int) -> int:
    """Returns the multiply-accumulates for an output of 1280x720, as CARN counts them.

    Where 1280x720 is no multiple of the scale, or LR no multiple of the network's
    alignment, the cost of a larger image is scaled by area.

    Args:
        model: A model of one input and `scale`.
        scale: The upscaling factor.
    """
    multiple = scale * alignment(model)
    if 720 % multiple or 1280 % multiple:
        return round(mult_adds(model, 720, 1280) / scale**2)
    return mult_adds(model, 720 // scale, 1280 // scale)
