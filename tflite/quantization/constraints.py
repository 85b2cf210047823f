"""What TFLite demands of ranges: which are shared, fixed, fused or need no operator."""

from typing import Any

from tfsr.graph.graph import Graph
from tfsr.graph.operators import OPERATORS, clip_bounds, is_relu, moves, operator_of

# By position: the index of a node in `graph.nodes`.
Ranges = dict[int, tuple[float, float]]


def quantization_groups(graph: Graph) -> list[set[int]]:
    """Returns groups of positions whose outputs must share a range.

    Operations that only move values link the members of a group.
    """
    group = {i: {i} for i in range(len(graph.nodes))}
    for i, node in enumerate(graph.nodes):
        if moves(node):
            for x in node.input_tensors:
                if id(x) in graph.producer_index:  # not the model's input
                    merged = group[i] | group[graph.producer_index[id(x)]]
                    group.update(dict.fromkeys(merged, merged))
    return list({id(g): g for g in group.values()}.values())


def read_by_poles(graph: Graph) -> set[int]:
    """Returns the nodes that others divide by, or take the logarithm of."""
    poles = ((node, operator_of(node.operation).pole) for node in graph.nodes)
    read = (arguments(node)[pole] for node, pole in poles if pole is not None)
    return {graph.producer_index[id(x)] for x in read if id(x) in graph.producer_index}


def arguments(node: Any) -> list:
    """Returns the arguments of a node's call, those by name last."""
    return [*node.arguments.args, *node.arguments.kwargs.values()]


def fixed_range(node: Any) -> tuple[float, float] | None:
    """Returns the only range that TFLite allows a node's output; None for any."""
    return operator_of(node.operation).fixed_range


def is_of_pixels(bounds: tuple[float, float]) -> bool:
    """Returns whether a range is that of pixels, [0, 1] or shifted, exact in 8 bits."""
    return bounds[1] - bounds[0] == 1


def is_given(bounds: tuple[float, float]) -> bool:
    """Returns whether a range is that of pixels or fixed, so it cannot be learned."""
    fixed = {entry.fixed_range for entry in OPERATORS.values()}
    return is_of_pixels(bounds) or bounds in fixed


def fused_into_relu(graph: Graph) -> dict[int, int]:
    """Returns, by node, the ReLU or clip that TFLite fuses it into.

    Nodes are given by their positions. Only the ReLU or clip has a range. TFLite fuses
    a ReLU with some operators (`Operator.fuses_relu`); `free_clips` need no operator.
    """
    readers: dict[int, list] = {}
    for i, node in enumerate(graph.nodes):
        for x in node.input_tensors:
            readers.setdefault(id(x), []).append(i)
    ranged, found = free_clips(graph), {}
    for i, node in enumerate(graph.nodes):
        reader, *others = readers.get(id(node.outputs[0]), [None])
        if others or reader is None or fixed_range(node):
            continue
        is_fused = is_relu(graph.nodes[reader].operation) and _is_fused(node)
        if is_fused or reader in ranged:
            found[i] = reader
    return found


def _is_fused(node):
    """Returns whether TFLite fuses a node with a ReLU that reads it."""
    return moves(node) or operator_of(node.operation).fuses_relu


def free_clips(graph: Graph) -> set[int]:
    """Returns the clips that need no operator: their quantization range clips already.

    A clip to [a, b] is free if its range lies in [a, b], because rounding then clips.
    That holds if it shares its range only with clips to the same bounds, or with the
    output, whose range is [0, 1]. Clips of operations with a fixed range do not count,
    nor do ReLUs that TFLite fuses with the operation before.
    """
    outputs = {id(x) for x in graph.outputs}
    fused = {id(node.outputs[0]) for node in graph.nodes if _is_fused(node)}
    fixed = {id(node.outputs[0]) for node in graph.nodes if fixed_range(node)}
    found = set()
    for group in quantization_groups(graph):
        nodes = {i: graph.nodes[i] for i in group}
        bounds = {i: clip_bounds(node.operation) for i, node in nodes.items()}
        clips = {
            i: b
            for i, b in bounds.items()
            if b
            and not _reads(nodes[i], fixed)
            and not (is_relu(nodes[i].operation) and _reads(nodes[i], fused))
        }
        of_pixels = any(id(node.outputs[0]) in outputs for node in nodes.values())
        kinds = {clips.get(i) for i, node in nodes.items() if not moves(node)}
        for i, (low, high) in clips.items():
            if kinds == {(low, high)} or (of_pixels and low <= 0 and high >= 1):
                found.add(i)
    return found


def _reads(node, outputs):
    return any(id(x) in outputs for x in node.input_tensors)


def within_clips(graph: Graph, ranges: Ranges) -> Ranges:
    """Returns `ranges` with those of `free_clips` no wider than the clips."""
    narrowed = dict(ranges)
    for i in free_clips(graph) & ranges.keys():
        bounds = clip_bounds(graph.nodes[i].operation) or ranges[i]
        low, high = max(ranges[i][0], bounds[0]), min(ranges[i][1], bounds[1])
        narrowed[i] = (low, high) if low < high else bounds
    return narrowed
