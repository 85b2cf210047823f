"""Ranges of a graph's activations, chosen from values that the running graph takes."""

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import keras
import numpy as np

from tfsr.errors import InputError
from tfsr.graph import operations as op
from tfsr.graph.graph import Graph
from tfsr.graph.operators import (
    MOVES,
    SUMS,
    clip_bounds,
    is_convolution,
    is_relu,
    operator_of,
)
from tfsr.layers import ChannelShift, GroupedConv2D
from tfsr.tflite.lowering.engine import copies_channels, is_input, name_of

# Both by position: the index of a node in `graph.nodes`.
Samples = dict[int, np.ndarray]
Ranges = dict[int, tuple[float, float]]

FIXED = {  # the only ranges in which TFLite has these, steps of 1 / 256 and 1 / 128
    op.Sigmoid: (0.0, 255 / 256),
    op.Softmax: (0.0, 255 / 256),
    op.Tanh: (-1.0, 127 / 128),
}
WHOLE_LEVELS = (-128 / 255, 127 / 255)  # the range in steps of a pixel's
FUSED = (  # with a ReLU that reads them, beside moves
    GroupedConv2D,
    keras.layers.Conv2D,
    keras.layers.DepthwiseConv2D,
    op.Add,
    op.Divide,
    op.Multiply,
    op.Subtract,
    op.TrueDivide,
)
POLES = {  # which argument of these must not be near 0
    op.Divide: 1,
    op.TrueDivide: 1,
    op.Log: 0,
    op.Reciprocal: 0,
    op.Rsqrt: 0,
}
STEPS_FROM_POLE = 16  # of 8 bits: rounding moves what is farther by up to 3 %
VALUES_PER_PATCH = 4000
BINS = 2048
BATCH = 8  # patches run at once


def observe(graph: Graph, patches: Iterable[np.ndarray]) -> Samples:
    """Returns values of each activation: random samples and the extremes, 1-D arrays.

    The float graph is run, so many or large patches are quick, and the values hold for
    any exported size.

    Args:
        graph: The graph to export, of open size.
        patches: LR images, float32 `(H, W, C)` in [0, 1].
    """
    position = {id(node): i for i, node in enumerate(graph.nodes)}
    rng = np.random.default_rng(0)
    samples: dict[int, list] = {}

    def call(node, *args, **kwargs):
        outputs = node.operation(*args, **kwargs)
        if not moves(node) and _is_of_floats(node):
            values = keras.ops.convert_to_numpy(outputs)
            count = VALUES_PER_PATCH * len(values)
            kept = rng.choice(values.ravel(), count)
            kept = np.concatenate([kept, [values.min(), values.max()]])
            samples.setdefault(position[id(node)], []).append(kept)
        return outputs

    for batch in batches(patches):
        graph.run([batch] * len(graph.inputs), call)
    return {i: np.concatenate(kept) for i, kept in samples.items()}


def _is_of_floats(node):
    """Returns whether a node has one output, of numbers that can be rounded."""
    return [keras.backend.is_float_dtype(x.dtype) for x in node.outputs] == [True]


def batches(patches: Iterable[np.ndarray]) -> Iterator:
    """Yields tensors `(B, H, W, C)` of patches of one size, B at most `BATCH`."""
    by_shape: dict[tuple, list] = {}
    for patch in patches:
        by_shape.setdefault(patch.shape, []).append(patch)
    for alike in by_shape.values():
        for i in range(0, len(alike), BATCH):
            yield keras.ops.convert_to_tensor(np.stack(alike[i : i + BATCH]))


def min_max(values: np.ndarray) -> tuple[float, float]:
    """Returns the range from the smallest to the largest value, extended to hold 0."""
    return min(0.0, float(values.min())), max(0.0, float(values.max()))


def percentile(values: np.ndarray, share: float = 99.99) -> tuple[float, float]:
    """Returns the range between two percentiles of the values, extended to hold 0.

    Args:
        values: Values of an activation.
        share: The upper percentile; the lower one is 100 - `share`.
    """
    low, high = np.percentile(values, [100 - share, share])
    return min(0.0, float(low)), max(0.0, float(high))


def least_squares(values: np.ndarray) -> tuple[float, float]:
    """Returns the range for which 8 bits have the least squared error on the values.

    It clips rare large values if the finer steps gain more on all others. The search
    tries a grid of shrunken `min_max` ranges on a histogram of the values. It leaves
    out those that clip more than the rounding to `min_max` costs.
    """
    low, high = min_max(values)
    if low == high:
        return low, high
    counts, edges = np.histogram(values, BINS, (low, high))
    centers = (edges[1:] + edges[:-1]) / 2
    shares = np.linspace(0.2, 1, 41)
    lows, highs = low * (shares if low < 0 else shares[-1:]), high * shares

    def squared_error(bounds):
        step = (bounds[1] - bounds[0]) / 255
        zero_point = np.round(-bounds[0] / step)
        levels = np.clip(np.round(centers / step) + zero_point, 0, 255)
        return np.dot(counts, ((levels - zero_point) * step - centers) ** 2)

    def clipped(excess):
        return np.maximum(excess, 0) ** 2 @ counts

    # The integer nearest to 0 moves a range by up to half a step.
    half = (high - low) / 255 / 2
    least = np.add.outer(
        clipped(lows[:, None] - half - centers),
        clipped(centers - highs[:, None] - half),
    )
    worth_trying = least <= squared_error((low, high)) * (1 + 1e-9)
    candidates = [(lows[i], highs[j]) for i, j in np.argwhere(worth_trying)]
    return min(candidates, key=squared_error)


def ranges(
    graph: Graph,
    samples: Samples,
    choose: Callable = least_squares,
    bits: int = 8,
) -> Ranges:
    """Returns the range of every operation that TFLite quantizes.

    TFLite fuses an operation with a ReLU that alone reads it: only the ReLU has a range
    then. Tensors that meet in a concatenation share a range. The range of the output is
    [0, 1], and that of a copy of the input too; if the input is shifted by one constant
    s, that range is [s, 1 + s], and what is concatenated with it has this range if that
    clips nothing. In 8 bits, what is added to pixels and gives the output
    has their steps: see `_in_whole_levels`. The ranges of sigmoid, softmax and tanh are
    `FIXED`. What is divided by has none, nor what it is computed from alone, where 8
    bits are too coarse near 0: see `POLES`.

    Args:
        graph: The observed graph.
        samples: What `observe` returned for it.
        choose: Function of an activation's values that returns a range: `min_max`,
            `percentile` or `least_squares`.
        bits: Of the integers.
    """
    chosen = {}
    hidden = fused_into_relu(graph)
    outputs = {id(x) for x in graph.outputs}
    last = {i for i, n in enumerate(graph.nodes) if id(n.outputs[0]) in outputs}
    residuals = _added_to_pixels(graph, last) if bits == 8 else set()
    for together in _same_range(graph):
        members = [i for i in together if i in samples and i not in hidden]
        if not members:
            continue
        shifts = {i: s for i in members if (s := _shift_of_input(graph, i)) is not None}
        fixed = FIXED.get(type(graph.nodes[members[0]].operation))
        if fixed and len(members) == 1:
            shared = fixed
        elif last & set(together):
            shared = (0.0, 1.0)
        else:
            values = np.concatenate([samples[i] for i in members])
            others = [samples[i] for i in members if i not in shifts]
            shared = _of_input({*shifts.values()}, others) or choose(values)
            shared = shared if any(shared) else (0.0, 1.0)  # of zeros alone
            if residuals & set(together):
                shared = _in_whole_levels(values, shared)
        chosen.update(dict.fromkeys(members, shared))
    for i in _near_poles(graph, samples, chosen):
        chosen.pop(i, None)
    return chosen


def _of_input(shifts, others):
    """Returns the range of the input plus the one of `shifts`.

    None if there is not one, or if that range clips `others` by more than two steps.
    """
    if len(shifts) != 1:
        return None
    (low,) = shifts
    clipped = [max(low - x.min(), x.max() - low - 1) for x in others]
    return None if max(clipped, default=0) > 2 / 255 else (low, 1.0 + low)


def _in_whole_levels(values, bounds):
    """Returns `WHOLE_LEVELS` for values that are added to pixels.

    Pixels and whole levels add up exactly. So the values are rounded once, as a float
    network's output is, and finer steps would only add a rounding. `bounds` stay if
    `WHOLE_LEVELS` clip more than the rounding to `bounds` costs.
    """
    clipped = np.maximum(np.abs(values) - WHOLE_LEVELS[1], 0)
    step = (bounds[1] - bounds[0]) / 255
    return bounds if np.mean(clipped**2) > step**2 / 12 else WHOLE_LEVELS


def _near_poles(graph, samples, ranges):
    """Returns the positions of what `POLES` read near 0, and of what only it reads."""
    made_by = {id(x): i for i, node in enumerate(graph.nodes) for x in node.outputs}
    readers: dict[int, set[int]] = {}
    for i, node in enumerate(graph.nodes):
        for x in node.input_tensors:
            readers.setdefault(made_by.get(id(x), -1), set()).add(i)
    read_by_poles = {
        made_by.get(id(_arguments(node)[POLES[type(node.operation)]]))
        for node in graph.nodes
        if type(node.operation) in POLES
    }
    found: set[int] = set()
    for group in _same_range(graph):
        members = group & ranges.keys()
        if not members or not group & read_by_poles:
            continue
        values = np.concatenate([samples[i] for i in members])
        low, high = ranges[min(members)]
        if np.abs(values).min() < STEPS_FROM_POLE * (high - low) / 255:
            found |= group
    left = [*found]
    while left:
        node = graph.nodes[left.pop()]
        for i in {made_by.get(id(x), -1) for x in node.input_tensors} - found - {-1}:
            operation = graph.nodes[i].operation
            scales = isinstance(operation, keras.layers.DepthwiseConv2D)
            if readers[i] <= found and (scales or not is_convolution(operation)):
                found.add(i)
                left.append(i)
    return found


def _arguments(node):
    return [*node.arguments.args, *node.arguments.kwargs.values()]


def is_of_pixels(bounds: tuple[float, float]) -> bool:
    """Returns whether a range is that of pixels, [0, 1] or shifted: 8 bits suffice."""
    return bounds[1] - bounds[0] == 1


def is_given(bounds: tuple[float, float]) -> bool:
    """Returns whether a range is that of pixels or `FIXED`, so it cannot be learned."""
    return is_of_pixels(bounds) or bounds in FIXED.values()


def fused_into_relu(graph: Graph) -> dict[int, int]:
    """Returns the positions of nodes that a clip alone reads, and those of the clips.

    TFLite fuses some with a ReLU (`FUSED`). Others are those of a clip that its range
    alone can do: see `clipped_by_range`.
    """
    readers: dict[int, list] = {}
    for i, node in enumerate(graph.nodes):
        for x in node.input_tensors:
            readers.setdefault(id(x), []).append(i)
    ranged, found = clipped_by_range(graph), {}
    for i, node in enumerate(graph.nodes):
        reader, *others = readers.get(id(node.outputs[0]), [None])
        if others or reader is None or type(node.operation) in FIXED:
            continue
        is_fused = is_relu(graph.nodes[reader].operation) and _is_fused(node)
        if is_fused or reader in ranged:
            found[i] = reader
    return found


def _is_fused(node):
    """Returns whether TFLite makes one operation of a node and a ReLU of it."""
    return moves(node) or type(node.operation) in FUSED


def _reads(node, outputs):
    return any(id(x) in outputs for x in node.input_tensors)


def clipped_by_range(graph: Graph) -> set[int]:
    """Returns the positions of clips that need no operation in 8 bits.

    min(max(x, a), b) is what integers of a range within [a, b] hold of x. So it is if
    the clip shares its range with clips to the same bounds alone, or with the output,
    whose range is [0, 1]. Clips of what has its `FIXED` range are left out, and ReLUs
    that TFLite fuses with what is before.
    """
    outputs = {id(x) for x in graph.outputs}
    fused = {id(node.outputs[0]) for node in graph.nodes if _is_fused(node)}
    fixed = {id(n.outputs[0]) for n in graph.nodes if type(n.operation) in FIXED}
    found = set()
    for together in _same_range(graph):
        nodes = {i: graph.nodes[i] for i in together}
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


def within_clips(graph: Graph, ranges: Ranges) -> Ranges:
    """Returns `ranges`, those of `clipped_by_range` no wider than the clips."""
    narrowed = dict(ranges)
    for i in clipped_by_range(graph) & ranges.keys():
        bounds = clip_bounds(graph.nodes[i].operation) or ranges[i]
        low, high = max(ranges[i][0], bounds[0]), min(ranges[i][1], bounds[1])
        narrowed[i] = (low, high) if low < high else bounds
    return narrowed


def names(graph: Graph) -> dict[int, str]:
    """Returns a name for each node's output, by the node's position.

    A layer with a kernel gives its own name. Another operation has the name of the last
    such layer before it and its kind, as in `block_0.conv_1.add`. A ReLU has the name
    of the operation it is fused with. If a name comes again it gets a number: `head:2`.
    """
    position = {id(x): i for i, node in enumerate(graph.nodes) for x in node.outputs}
    layers: dict[int, str] = {}
    found: dict[int, str] = {}
    times: dict[str, int] = {}
    hidden = fused_into_relu(graph)
    for i, node in enumerate(graph.nodes):
        before = max((position.get(id(x), -1) for x in node.input_tensors), default=-1)
        kind = type(node.operation).__name__.lower()
        if hasattr(node.operation, "kernel"):
            layers[i] = name = name_of(node.operation)
        else:
            layers[i] = layers.get(before, "input")
            name = f"{layers[i]}.{kind}"
        if before in hidden:  # so this is the ReLU
            found[i] = found[before]
            continue
        times[name] = times.get(name, 0) + 1
        found[i] = name if times[name] == 1 else f"{name}:{times[name]}"
    return found


def shared(graph: Graph, ranges: Ranges) -> list[list[int]]:
    """Returns the positions in `ranges`, grouped by nodes that must share a range."""
    groups = (sorted(group & ranges.keys()) for group in _same_range(graph))
    return sorted(filter(None, groups))


def read_rounded(graph: Graph, layers: Sequence[str]) -> Graph:
    """Returns a graph whose convolutions read copies of some sums.

    A copy has its own range. So if `leave_out` removes the range of a sum, additions
    run in float32, but the convolutions that read it stay in 8 bits. This pays, because
    the repeated rounding of sums along a network's body costs most.

    Args:
        graph: A float graph.
        layers: Names or patterns as for `leave_out`; those of sums count.
    """
    sums = {
        id(graph.nodes[i].outputs[0])
        for i, name in names(graph).items()
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

    inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype) for x in graph.inputs]
    return Graph(inputs, graph.run(inputs, call))


def leave_out(graph: Graph, ranges: Ranges, layers: Sequence[str]) -> Ranges:
    """Returns `ranges` without those of `layers` and of tensors that share with them.

    If an activation has no range, TensorFlow's converter leaves the operations that
    compute it and read it in float32. 16 bits would suffice, but LiteRT has only slow
    reference kernels for them, while XNNPACK runs float32. A sum that becomes the
    output keeps its range: it is rounded anyway, and the converter adds integers there.

    Args:
        graph: The graph of `ranges`, such as `read_rounded` returns.
        ranges: What `ranges` returned for it.
        layers: Names as in `names`, or shell-style patterns of them such as `*.add*`.

    Raises:
        InputError: If a name or pattern fits no range.
    """
    found = {name: i for i, name in names(graph).items() if i in ranges}
    wanted: set = set()
    for pattern in layers:
        fitting = fnmatch.filter(found, pattern)
        if not fitting:
            raise InputError(f"{pattern}: not a range; there are {', '.join(found)}.")
        wanted.update(found[name] for name in fitting)
    wanted -= _sum_of_output(graph)
    dropped = {i for group in shared(graph, ranges) if wanted & {*group} for i in group}
    return {i: bounds for i, bounds in ranges.items() if i not in dropped}


def _sum_of_output(graph):
    """Returns the position of the sum that becomes the output, as a set; or none."""
    made_by = {id(x): i for i, node in enumerate(graph.nodes) for x in node.outputs}
    position = made_by[id(graph.outputs[0])]
    while moves(node := graph.nodes[position]):
        position = made_by[id(node.input_tensors[0])]
    return {position} if isinstance(node.operation, SUMS) else set()


def moves(node: Any) -> bool:
    """Returns whether a node only moves, picks or averages values.

    TFLite then demands the same quantization of its inputs and outputs.
    """
    if isinstance(node.operation, MOVES):
        return True
    known = operator_of(node.operation)
    if isinstance(node.operation, op.Maximum | op.Minimum):  # perhaps with a constant
        return len(node.input_tensors) == 2
    if isinstance(node.operation, op.Where):
        return len(node.input_tensors) == 3
    if isinstance(node.operation, op.Resize):
        return node.operation.interpolation in ("nearest", "bilinear")
    return known is not None and known.moves


def _shift_of_input(graph, position):
    """Returns the constant that a node adds to the input: 0 of a copy, else None."""
    node = graph.nodes[position]
    if not (node.input_tensors and is_input(node.input_tensors[0])):
        return None
    if copies_channels(node.operation):
        return 0.0
    if not isinstance(node.operation, ChannelShift):
        return None
    (offset, *others) = set(node.operation.offset)
    return None if others else offset


def _added_to_pixels(graph, last):
    """Returns the positions of what is added to the input's pixels to give the output.

    Args:
        graph: A graph.
        last: The positions of its outputs.
    """
    position = {id(x): i for i, node in enumerate(graph.nodes) for x in node.outputs}

    def is_of_input(x):
        return is_input(x) or _shift_of_input(graph, position[id(x)]) == 0

    found = set()
    for together in (group for group in _same_range(graph) if group & last):
        for node in (graph.nodes[i] for i in together):
            terms = node.input_tensors
            if isinstance(node.operation, SUMS) and any(map(is_of_input, terms)):
                found.update(position[id(x)] for x in terms if not is_of_input(x))
    return found


def _same_range(graph: Graph):
    """Returns groups of positions whose outputs must share a range.

    Operations that only move values link the members of a group.
    """
    producer = {id(x): i for i, node in enumerate(graph.nodes) for x in node.outputs}
    group = {i: {i} for i in range(len(graph.nodes))}
    for i, node in enumerate(graph.nodes):
        if moves(node):
            for x in node.input_tensors:
                if id(x) in producer:  # not the model's input
                    merged = group[i] | group[producer[id(x)]]
                    group.update(dict.fromkeys(merged, merged))
    return list({id(g): g for g in group.values()}.values())
