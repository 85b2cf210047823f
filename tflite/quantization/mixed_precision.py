"""Leaves single activations in float32, by their names."""

import fnmatch
from collections.abc import Sequence

import keras

from tfsr.errors import InputError
from tfsr.graph.graph import Graph
from tfsr.graph.operators import SUMS, moves
from tfsr.tflite.lowering.engine import name_of
from tfsr.tflite.quantization.constraints import (
    Ranges,
    fused_into_relu,
    quantization_groups,
)


def node_names(graph: Graph) -> dict[int, str]:
    """Returns a name for each node's output, by the node's position.

    A layer with a kernel gives its own name. Another operation has the name of the last
    such layer before it and its kind, as in `block_0.conv_1.add`. A ReLU has the name
    of the operation it is fused with. If a name comes again it gets a number: `head:2`.
    """
    layers: dict[int, str] = {}
    found: dict[int, str] = {}
    times: dict[str, int] = {}
    fused = fused_into_relu(graph)
    for i, node in enumerate(graph.nodes):
        sources = (graph.producer_index.get(id(x), -1) for x in node.input_tensors)
        before = max(sources, default=-1)
        kind = type(node.operation).__name__.lower()
        if hasattr(node.operation, "kernel"):
            layers[i] = name = name_of(node.operation)
        else:
            layers[i] = layers.get(before, "input")
            name = f"{layers[i]}.{kind}"
        if before in fused:  # so this is the ReLU
            found[i] = found[before]
            continue
        times[name] = times.get(name, 0) + 1
        found[i] = name if times[name] == 1 else f"{name}:{times[name]}"
    return found


def shared_ranges(graph: Graph, ranges: Ranges) -> list[list[int]]:
    """Returns the positions in `ranges`, grouped by the range that they must share."""
    groups = (sorted(group & ranges.keys()) for group in quantization_groups(graph))
    return sorted(filter(None, groups))


def requantize_sums(graph: Graph, layers: Sequence[str]) -> Graph:
    """Returns `graph` with an Identity before each convolution that reads some sums.

    It requantizes the sum, because it has a range of its own. So if `drop_ranges`
    removes the range of the sum, additions run in float32, but the convolutions that
    read it stay in 8 bits. This pays, because the repeated rounding of sums along a
    network's body costs most.

    Args:
        graph: A float graph.
        layers: Names or patterns as for `drop_ranges`; those of sums count.
    """
    sums = {
        id(graph.nodes[i].outputs[0])
        for i, name in node_names(graph).items()
        if isinstance(graph.nodes[i].operation, SUMS)
        and any(fnmatch.fnmatchcase(name, pattern) for pattern in layers)
    }
    copies = {}

    def call(node, *args, **kwargs):
        if hasattr(node.operation, "kernel") and id(node.input_tensors[0]) in sums:
            x, *rest = args
            if id(x) not in copies:
                copies[id(x)] = keras.layers.Identity()(x)
            args = copies[id(x)], *rest
        return node.operation(*args, **kwargs)

    return graph.map(call)


def drop_ranges(graph: Graph, ranges: Ranges, layers: Sequence[str]) -> Ranges:
    """Returns `ranges` without those of `layers` and of tensors that share with them.

    TensorFlow's converter leaves operations in float32 that compute or read an
    activation without a range. 16 bits would suffice, but LiteRT has only slow
    reference kernels for them, while XNNPACK runs float32. A sum that becomes the
    output keeps its range: it is rounded anyway, and the converter adds integers there.

    Args:
        graph: The graph of `ranges`, such as `requantize_sums` returns.
        ranges: What `choose_ranges` returned for it.
        layers: Names as in `node_names`, or shell-style patterns such as `*.add*`.

    Raises:
        InputError: If a name or pattern fits no range.
    """
    found = {name: i for i, name in node_names(graph).items() if i in ranges}
    wanted: set = set()
    for pattern in layers:
        fitting = fnmatch.filter(found, pattern)
        if not fitting:
            raise InputError(f"{pattern}: not a range; there are {', '.join(found)}.")
        wanted.update(found[name] for name in fitting)
    wanted -= _sum_of_output(graph)
    groups = [group for group in shared_ranges(graph, ranges) if wanted & {*group}]
    dropped = {i for group in groups for i in group}
    return {i: bounds for i, bounds in ranges.items() if i not in dropped}


def _sum_of_output(graph):
    """Returns the position of the sum that becomes the output, as a set; or none."""
    x = graph.outputs[0]
    while (position := graph.producer_index.get(id(x))) is not None:
        node = graph.nodes[position]
        if not moves(node):
            return {position} if isinstance(node.operation, SUMS) else set()
        x = node.input_tensors[0]
    return set()
