"""What running a model takes: how far a pixel sees, and how much memory."""

import math
from fractions import Fraction

import keras

from tfsr.graph.graph import Graph, convolution_in, inline
from tfsr.graph.operators import CONVOLUTIONS, operator_of
from tfsr.graph.probe import probed
from tfsr.graph.reach import LR, joined


def receptive_radius(model: keras.Model) -> int | None:
    """Returns how many LR pixels around its own an output pixel depends on at most.

    Tiles that overlap by this much on each side give what the whole image gives, if
    they begin at multiples of `alignment`. None where a pixel sees the whole image, or
    where an operation does not tell what it sees.

    Args:
        model: A model of one input, such as `single_scale` returns.
    """
    graph, reaches = _reaches(model)
    radius = max(reaches[id(x)].on(Fraction(1)).radius for x in graph.outputs)
    return None if math.isinf(radius) else math.floor(radius)


def alignment(model: keras.Model) -> int:
    """Returns the number of LR pixels after which all grids inside the model repeat.

    Where each level has half the resolution of the one before, that is the side of the
    coarsest pixels.

    Args:
        model: A model of one input, such as `single_scale` returns.
    """
    _, reaches = _reaches(model)
    pixels = {r.pixel for r in reaches.values() if r.pixel is not None}
    return math.lcm(*(pixel.numerator for pixel in pixels))


def far_seeing(model: keras.Model) -> list[str]:
    """Returns the names of the operations that make `receptive_radius` None."""
    graph, reaches = _reaches(model)
    return [
        node.operation.name
        for node in graph.nodes
        if math.isinf(reaches[id(node.outputs[0])].radius)
        and not any(math.isinf(reaches[id(x)].radius) for x in node.input_tensors)
    ]


def _reaches(model):
    """Returns the graph of `model` and the reach of every tensor by its id."""
    graph = inline(model)
    reaches = {id(x): LR for x in graph.inputs}
    for node in graph.nodes:
        inputs = joined(reaches[id(x)] for x in node.input_tensors)
        known = operator_of(node.operation)
        if known is None:
            reach = probed(node, inputs)
        else:
            reach = known.reach(node.operation, node, inputs)
        reaches.update({id(x): reach for x in node.outputs})
    return graph, reaches


def working_values(model: keras.Model) -> int:
    """Returns how many values per LR pixel a run holds at once, at its peak.

    Args:
        model: A model of one input, such as `single_scale` returns.
    """
    graph = _sized(model)
    last_use = {id(x): len(graph.nodes) for x in graph.outputs}
    for i, node in reversed(list(enumerate(graph.nodes))):
        for x in node.input_tensors:
            last_use.setdefault(id(x), i)
    size = {id(x): math.prod(x.shape[1:]) for x in graph.inputs}
    peak = 0
    for i, node in enumerate(graph.nodes):
        size.update({id(x): math.prod(x.shape[1:]) for x in node.outputs})
        peak = max(peak, sum(size.values()))
        size = {x: n for x, n in size.items() if last_use.get(x, i) > i}
    return -(-peak // _pixels(graph))


def taps(model: keras.Model) -> int:
    """Returns, per LR pixel, the kernel taps of all convolutions but pointwise ones.

    Args:
        model: A model of one input, such as `single_scale` returns.
    """
    graph = _sized(model)
    total = 0
    for node in graph.nodes:
        conv = convolution_in(node.operation)
        if isinstance(conv, CONVOLUTIONS) and conv.kernel.shape[0] > 1:
            sides = conv.kernel.shape[:2], node.outputs[0].shape[1:3]
            total += math.prod(map(math.prod, sides))
    return total // _pixels(graph)


def _sized(model) -> Graph:
    """Returns the graph of `model` for a small image of known size."""
    height, width = model.inputs[0].shape[1:3]
    side = -(-16 // alignment(model)) * alignment(model)
    return inline(model, height or side, width or side)


def _pixels(graph):
    return math.prod(graph.inputs[0].shape[1:3])
