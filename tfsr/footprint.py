"""What running a model takes: how far a pixel sees, and how much memory."""

import math

import keras

from tfsr.graph import inline
from tfsr.layers import GroupedConv2D

POINTWISE = ("Add", "ChannelShift", "Concatenate", "ReLU", "Relu", "Split")


def receptive_radius(model: keras.Model) -> int:
    """Returns how many LR pixels around its own an output pixel depends on at most.

    Tiles that overlap by this much on each side give what the whole image gives.

    Args:
        model: A model of one input, such as `single_scale` returns.
    """
    graph = inline(model)
    seen = {id(x): (0.0, 1) for x in graph.inputs}  # radius in LR pixels, enlargement
    for node in graph.nodes:
        radius = max(seen[id(x)][0] for x in node.input_tensors)
        enlargement = max(seen[id(x)][1] for x in node.input_tensors)
        if isinstance(node.operation, GroupedConv2D):
            radius += (node.operation.kernel_size // 2) / enlargement
        elif type(node.operation).__name__ == "DepthToSpace":
            enlargement *= node.operation.block_size
        elif type(node.operation).__name__ not in POINTWISE:
            raise ValueError(
                f"The reach of this operation is unknown. Received: {node.operation}."
            )
        for x in node.outputs:
            seen[id(x)] = (radius, enlargement)
    return math.ceil(max(seen[id(x)][0] for x in graph.outputs))


def working_values(model: keras.Model) -> int:
    """Returns how many values per LR pixel a run holds at once, at its peak.

    Args:
        model: A model of one input, such as `single_scale` returns.
    """
    side = 16
    graph = inline(model, side, side)
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
    return peak // side**2


def taps(model: keras.Model) -> int:
    """Returns, per LR pixel, the kernel taps of all convolutions but pointwise ones.

    Args:
        model: A model of one input, such as `single_scale` returns.
    """
    side = 16
    total = 0
    for node in inline(model, side, side).nodes:
        operation = node.operation
        if isinstance(operation, GroupedConv2D) and operation.kernel_size > 1:
            _, h, w, _ = node.outputs[0].shape
            total += operation.kernel_size**2 * h * w
    return total // side**2
