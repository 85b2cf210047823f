"""Ranges of a graph's activations, chosen from values observed by running it."""

import fnmatch
from collections.abc import Callable, Iterable, Iterator, Sequence

import keras
import numpy as np

from tfsr.errors import InputError
from tfsr.graph.graph import Graph
from tfsr.graph.operators import SUMS, is_relu, operator_of
from tfsr.layers import ChannelShift, GroupedConv2D
from tfsr.tflite.lowering.engine import is_input, name_of, weights_of

# By the position of the node in the graph.
Samples = dict[int, np.ndarray]
Ranges = dict[int, tuple[float, float]]

VALUES_PER_PATCH = 4000
BINS = 2048
BATCH = 8  # patches run at once


def observe(graph: Graph, patches: Iterable[np.ndarray]) -> Samples:
    """Returns values that each activation takes: random ones and the extremes.

    Runs the float graph, so any number and size of patches is quick, and what is seen
    holds for any exported size.

    Args:
        graph: The graph to export, of open size.
        patches: LR images, float32 `(H, W, C)` in [0, 1].
    """
    position = {id(node): i for i, node in enumerate(graph.nodes)}
    rng = np.random.default_rng(0)
    samples = {}

    def call(node, *args, **kwargs):
        outputs = node.operation(*args, **kwargs)
        if not _moves(node):
            values = keras.ops.convert_to_numpy(outputs)
            count = VALUES_PER_PATCH * len(values)
            kept = rng.choice(values.ravel(), count)
            kept = np.concatenate([kept, [values.min(), values.max()]])
            samples.setdefault(position[id(node)], []).append(kept)
        return outputs

    for batch in batches(patches):
        graph.run([batch] * len(graph.inputs), call)
    return {i: np.concatenate(kept) for i, kept in samples.items()}


def batches(patches: Iterable[np.ndarray]) -> Iterator:
    """Yields tensors `(B, H, W, C)` of patches alike in size, as many as `BATCH`."""
    by_shape = {}
    for patch in patches:
        by_shape.setdefault(patch.shape, []).append(patch)
    for alike in by_shape.values():
        for i in range(0, len(alike), BATCH):
            yield keras.ops.convert_to_tensor(np.stack(alike[i : i + BATCH]))


def min_max(values: np.ndarray) -> tuple[float, float]:
    """Returns the range from the smallest to the largest value, 0 included."""
    return min(0.0, float(values.min())), max(0.0, float(values.max()))


def percentile(values: np.ndarray, share: float = 99.99) -> tuple[float, float]:
    """Returns the range that leaves out the outermost values, 0 included."""
    low, high = np.percentile(values, [100 - share, share])
    return min(0.0, float(low)), max(0.0, float(high))


def least_squares(values: np.ndarray) -> tuple[float, float]:
    """Returns the range with the least squared error of 8 bits on the values.

    Clips rare large values where the finer steps for all others are worth more.
    Searched on a grid of shrunken `min_max` ranges, over a histogram.
    """
    low, high = min_max(values)
    if low == high:
        return low, high
    counts, edges = np.histogram(values, BINS, (low, high))
    centers = (edges[1:] + edges[:-1]) / 2
    shares = np.linspace(0.2, 1, 41)
    candidates = [
        (low * a, high * b) for a in (shares if low < 0 else (1.0,)) for b in shares
    ]

    def squared_error(bounds):
        step = (bounds[1] - bounds[0]) / 255
        zero_point = np.round(-bounds[0] / step)
        levels = np.clip(np.round(centers / step) + zero_point, 0, 255)
        return np.dot(counts, ((levels - zero_point) * step - centers) ** 2)

    return min(candidates, key=squared_error)


def ranges(graph: Graph, samples: Samples, choose: Callable = least_squares) -> Ranges:
    """Returns the range of every operation that TFLite quantizes.

    What TFLite runs as one operation has one range: an operation followed by ReLU alone
    has it after the ReLU. Tensors that meet in a concatenation share a range. The
    output's range is [0, 1], like that of copies of the input, and that of a shift of
    the input by one constant follows.

    Args:
        graph: The observed graph.
        samples: What `observe` returned for it.
        choose: `min_max`, `percentile` or `least_squares`.
    """
    chosen = {}
    hidden = fused_into_relu(graph)
    outputs = {id(x) for x in graph.outputs}
    last = {i for i, n in enumerate(graph.nodes) if id(n.outputs[0]) in outputs}
    for together in _same_range(graph):
        members = [i for i in together if i in samples and i not in hidden]
        if not members:
            continue
        shift = _shift_of_input(graph, members[0])
        if last & set(together):
            shared = (0.0, 1.0)
        elif shift is not None:
            shared = (shift, 1.0 + shift)
        else:
            shared = choose(np.concatenate([samples[i] for i in members]))
            shared = shared if any(shared) else (0.0, 1.0)  # of zeros alone
        chosen.update(dict.fromkeys(members, shared))
    return chosen


def is_of_pixels(bounds: tuple[float, float]) -> bool:
    """Returns whether a range is that of pixels, perhaps shifted, which 8 bits hold."""
    return bounds[1] - bounds[0] == 1


def fused_into_relu(graph: Graph):
    """Returns the positions of nodes whose output goes into a ReLU and nowhere else."""
    consumers = {}
    for node in graph.nodes:
        for x in node.input_tensors:
            consumers.setdefault(id(x), []).append(node.operation)
    outputs = [consumers.get(id(node.outputs[0]), []) for node in graph.nodes]
    return {
        i for i, readers in enumerate(outputs) if [*map(is_relu, readers)] == [True]
    }


def names(graph: Graph) -> dict[int, str]:
    """Returns a name for what each node computes, by its position.

    That of its layer; of an operation without weights that of the last layer before it,
    and its kind, as `block_0.conv_1.add`. A ReLU has the name of what runs with it as
    one operation. From the second on, what has a name again has its number, `head:2`.
    """
    position = {id(x): i for i, node in enumerate(graph.nodes) for x in node.outputs}
    layers, found, times, hidden = {}, {}, {}, fused_into_relu(graph)
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
    """Returns the positions of `ranges`, those together that must have the same."""
    groups = (sorted(group & ranges.keys()) for group in _same_range(graph))
    return sorted(filter(None, groups))


def read_rounded(graph: Graph, layers: Sequence[str]) -> Graph:
    """Returns a graph whose convolutions read copies of some sums.

    A copy has a range of its own. So where `leave_out` takes the range of a sum, only
    additions run in float32 and convolutions stay in 8 bits: sums along a network's
    body, rounded time and again, are what costs most.

    Args:
        graph: A float graph.
        layers: As for `leave_out`; of these, the sums.
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
    """Returns the ranges but those of some layers and of what shares them.

    Around an activation without a range, TensorFlow's converter leaves in float32 what
    computes it and what reads it. 16 bits would do as well, but LiteRT computes them in
    its slow reference kernels alone, where XNNPACK takes float32. A sum that becomes
    the output keeps its range: it is rounded anyway, and the converter adds integers.

    Args:
        graph: The graph of `ranges`, as from `read_rounded`.
        ranges: What `ranges` returned for it.
        layers: Some of `names`, or patterns as of a shell's files: `*.add*`.

    Raises:
        InputError: If there is no range of such a name.
    """
    found = {name: i for i, name in names(graph).items() if i in ranges}
    wanted = set()
    for pattern in layers:
        fitting = fnmatch.filter(found, pattern)
        if not fitting:
            raise InputError(f"{pattern}: not a range; there are {', '.join(found)}.")
        wanted.update(found[name] for name in fitting)
    wanted -= _sum_of_output(graph)
    dropped = {i for group in shared(graph, ranges) if wanted & {*group} for i in group}
    return {i: bounds for i, bounds in ranges.items() if i not in dropped}


def _sum_of_output(graph):
    """Returns the position of the sum that becomes the output, if it is one."""
    made_by = {id(x): i for i, node in enumerate(graph.nodes) for x in node.outputs}
    position = made_by[id(graph.outputs[0])]
    while _moves(node := graph.nodes[position]):
        position = made_by[id(node.input_tensors[0])]
    return {position} if isinstance(node.operation, SUMS) else set()


def _moves(node):
    """Returns whether a node only moves values or takes some among them.

    TFLite demands one quantization of its inputs and outputs then.
    """
    known = operator_of(node.operation)
    return known is not None and known.moves


def _shift_of_input(graph, position):
    """Returns what a node adds to the input, 0 if it copies it, None if neither."""
    node = graph.nodes[position]
    if not (node.input_tensors and is_input(node.input_tensors[0])):
        return None
    if _copies_channels(node.operation):
        return 0.0
    if not isinstance(node.operation, ChannelShift):
        return None
    (offset, *others) = set(node.operation.offset)
    return None if others else offset


def _copies_channels(operation):
    if not isinstance(operation, GroupedConv2D) or operation.kernel_size > 1:
        return False
    kernel, bias = weights_of(operation)
    one_each = np.isin(kernel, (0, 1)).all() and (kernel.sum(axis=2) == 1).all()
    return bool(one_each and not bias.any())


def _same_range(graph: Graph):
    """Returns groups of positions, each linked by operations that only move values."""
    producer = {id(x): i for i, node in enumerate(graph.nodes) for x in node.outputs}
    group = {i: {i} for i in range(len(graph.nodes))}
    for i, node in enumerate(graph.nodes):
        if _moves(node):
            for x in node.input_tensors:
                if id(x) in producer:  # not the model's input
                    merged = group[i] | group[producer[id(x)]]
                    group.update(dict.fromkeys(merged, merged))
    return list({id(g): g for g in group.values()}.values())
