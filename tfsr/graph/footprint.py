"""Receptive field, alignment and memory of a model, for running it in tiles."""

import math
import weakref
from fractions import Fraction

import keras

from tfsr.graph.graph import Graph, convolution_in, inline, run_node
from tfsr.graph.operators import is_convolution, operator_of
from tfsr.graph.receptive_field import LR, joined

_FOUND: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # probing takes time


def receptive_radius(model: keras.Model) -> int | None:
    """Returns the receptive radius in LR pixels.

    An output pixel depends on LR pixels at most this far from its own. Tiles that
    overlap by this much on each side and begin at multiples of `alignment` give the
    same result as the whole image. The radius is None if it is unknown, or if a pixel
    may depend on the whole image.

    Args:
        model: A model of one input, such as `single_scale` returns.
    """
    graph, fields = _receptive_fields(model)
    radius = max(fields[id(x)].on(Fraction(1)).radius for x in graph.outputs)
    return None if math.isinf(radius) else math.floor(radius)


def alignment(model: keras.Model) -> int:
    """Returns the number of LR pixels after which all grids inside the model repeat.

    If each level has half the resolution of the one before, this is the side of the
    coarsest level's pixels.

    Args:
        model: A model of one input, such as `single_scale` returns.
    """
    _, fields = _receptive_fields(model)
    pixels = {r.pixel for r in fields.values() if r.pixel is not None}
    return math.lcm(*(pixel.numerator for pixel in pixels))


def far_seeing(model: keras.Model) -> list[str]:
    """Returns the names of the operations that make `receptive_radius` None."""
    graph, fields = _receptive_fields(model)
    return [
        node.operation.name
        for node in graph.nodes
        if math.isinf(fields[id(node.outputs[0])].radius)
        and not any(math.isinf(fields[id(x)].radius) for x in node.input_tensors)
    ]


def _receptive_fields(model):
    """Returns the same as `_find_receptive_fields`, computed once for each model."""
    if model not in _FOUND:
        _FOUND[model] = _find_receptive_fields(model)
    return _FOUND[model]


def _find_receptive_fields(model):
    """Returns the graph of `model`, and the `ReceptiveField` of each tensor by id."""
    graph = inline(model)
    fields = {id(x): LR for x in graph.inputs}
    for node in graph.nodes:
        inputs = joined(fields[id(x)] for x in node.input_tensors)
        known = operator_of(node.operation)
        field = known.receptive_field(node.operation, node, inputs)
        fields.update({id(x): field for x in node.outputs})
    return graph, fields


def working_values(model: keras.Model) -> int:
    """Returns how many values per LR pixel a run holds in memory at its peak.

    Args:
        model: A model of one input, such as `single_scale` returns.
    """
    graph = _sized(model)
    values = _values(graph)
    last_use = {id(x): len(graph.nodes) for x in graph.outputs}
    for i, node in reversed(list(enumerate(graph.nodes))):
        for x in node.input_tensors:
            last_use.setdefault(id(x), i)
    size = {id(x): values[id(x)] for x in graph.inputs}
    peak = 0
    for i, node in enumerate(graph.nodes):
        size.update({id(x): values[id(x)] for x in node.outputs})
        peak = max(peak, sum(size.values()))
        size = {x: n for x, n in size.items() if last_use.get(x, i) > i}
    return -(-peak // _pixels(graph))


def kernel_taps(model: keras.Model) -> int:
    """Returns the kernel taps per LR pixel, summed over all but 1x1 convolutions.

    A tap is one position of a kernel, such as 9 of a 3x3 kernel for each output pixel.

    Args:
        model: A model of one input, such as `single_scale` returns.
    """
    graph = _sized(model)
    total = 0
    for node in graph.nodes:
        conv = convolution_in(node.operation)
        if is_convolution(conv) and max(conv.kernel.shape[:2]) > 1:
            sides = conv.kernel.shape[:2], node.outputs[0].shape[1:3]
            total += math.prod(map(math.prod, sides))
    return total // _pixels(graph)


def _sized(model) -> Graph:
    """Returns the graph of `model` for a small image of known size."""
    height, width = model.inputs[0].shape[1:3]
    side = -(-16 // alignment(model)) * alignment(model)
    return inline(model, height or side, width or side)


def _values(graph):
    """Returns how many values each tensor has, by its id."""
    every = [*graph.inputs, *(x for node in graph.nodes for x in node.outputs)]
    if all(None not in x.shape[1:] for x in every):
        return {id(x): math.prod(x.shape[1:]) for x in every}
    images = [keras.ops.zeros((1, *x.shape[1:])) for x in graph.inputs]
    found = {id(x): math.prod(x.shape[1:]) for x in graph.inputs}

    def measured(node, *args, **kwargs):
        outputs = run_node(node, *args, **kwargs)
        for x, y in zip(node.outputs, keras.tree.flatten(outputs), strict=True):
            found[id(x)] = math.prod(y.shape)
        return outputs

    graph.run(images, measured)
    return found


def _pixels(graph):
    return math.prod(graph.inputs[0].shape[1:3])
