"""Observes a graph's activations, and chooses a range from the values they take."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import keras
import numpy as np

from tfsr.graph.graph import Graph
from tfsr.graph.operators import moves
from tfsr.tflite.quantization.constraints import (
    fused_into_relu,
    quantization_groups,
    read_by_poles,
)

VALUES_PER_PATCH = 4000
BINS = 2048
BATCH = 8  # patches run at once
FOR_INFLUENCE = 2  # patches; few, since each activation runs what follows again
NOISE = 0.01  # standard deviation, as a share of the root mean square of the values
LEAST_INFLUENCE = 1e-5  # of the largest, so that clipping always costs something


@dataclass(frozen=True)
class Samples:
    """What was observed of a graph's activations, by their positions in `graph.nodes`.

    Attributes:
        values: Random values of each activation, and its extremes, 1-D arrays.
        influence: By how much the squared error of the output grows with that of an
            activation, relative to the largest among those that must share its range.
            Activations with a range of their own have none.
    """

    values: dict[int, np.ndarray]
    influence: dict[int, float]


def observe(graph: Graph, patches: Iterable[np.ndarray]) -> Samples:
    """Returns the values and the influence of each activation on `patches`.

    The float graph is run, so many or large patches are quick, and the values hold for
    any exported size. What others divide by is observed on black and white too, where a
    variance is 0. For the influence, evenly spaced ones of the patches are enough.

    Args:
        graph: The graph to export, of open size.
        patches: LR images, float32 `(H, W, C)` in [0, 1].
    """
    patches = list(patches)
    values = _values(graph, patches)
    flat = [np.full_like(patches[0], value) for value in (0, 1)]
    read = read_by_poles(graph)
    at_poles = {i for g in quantization_groups(graph) if g & read for i in g}
    for i, found in (_values(graph, flat) if at_poles else {}).items():
        if i in at_poles:
            values[i] = np.concatenate([values[i], found[np.isfinite(found)]])
    few = patches[:: max(1, len(patches) // FOR_INFLUENCE)]
    return Samples(values, _influence(graph, few, values))


def _values(graph, patches):
    rng = np.random.default_rng(0)
    samples: dict[int, list] = {}

    def call(node, *args, **kwargs):
        outputs = node.operation(*args, **kwargs)
        if not moves(node) and _is_of_floats(node):
            (values,) = map(keras.ops.convert_to_numpy, keras.tree.flatten(outputs))
            count = VALUES_PER_PATCH * len(values)
            kept = rng.choice(values.ravel(), count)
            kept = np.concatenate([kept, [values.min(), values.max()]])
            samples.setdefault(graph.position[id(node)], []).append(kept)
        return outputs

    for batch in batches(patches):
        graph.run([batch] * len(graph.inputs), call)
    return {i: np.concatenate(kept) for i, kept in samples.items()}


def _influence(graph, patches, values):
    """Returns `Samples.influence`, by noise in one activation after another."""
    given = {id(x) for x in graph.outputs}
    ranged = values.keys() - fused_into_relu(graph)
    groups = [
        sorted(group & ranged)
        for group in quantization_groups(graph)
        if not any(id(graph.nodes[i].outputs[0]) in given for i in group)
    ]
    groups = [group for group in groups if len(group) > 1]
    effects = {i: 0.0 for group in groups for i in group}
    for batch in batches(patches) if groups else ():
        for i, effect in _effects(graph, batch, values, [*effects]):
            effects[i] += effect
    influence = {}
    for group in groups:
        found = np.array([effects[i] for i in group])
        finite = np.isfinite(found)  # what is not may matter most
        largest = found[finite].max(initial=0) or 1.0
        relative = np.where(finite, found, largest) / largest
        relative = np.maximum(relative, LEAST_INFLUENCE)
        influence.update(zip(group, relative.tolist(), strict=True))
    return influence


def _effects(graph, batch, values, positions):
    """Yields each position and the output's squared error per squared error there."""
    exact: list = []  # what each node computes

    def keep(node, *args, **kwargs):
        exact.append(node.operation(*args, **kwargs))
        return exact[-1]

    inputs = [batch] * len(graph.inputs)
    outputs = graph.run(inputs, keep)
    rng = np.random.default_rng(0)
    for i in positions:
        low, high = values[i].min(), values[i].max()
        size = np.sqrt(np.mean(np.square(values[i], dtype=np.float64)))
        (before,) = map(_as_floats, keras.tree.flatten(exact[i]))
        noise = NOISE * size * rng.standard_normal(before.shape, np.float32)
        # As in 8 bits, no value leaves the range, so a logarithm keeps its domain.
        disturbed = np.clip(before + noise, low, high)
        squared = np.mean(np.square(disturbed - before, dtype=np.float64))
        if not squared:  # a constant
            yield i, math.inf
            continue
        disturbed = keras.ops.convert_to_tensor(
            disturbed, graph.nodes[i].outputs[0].dtype
        )

        def call(node, *args, i=i, disturbed=disturbed, **kwargs):
            position = graph.position[id(node)]
            if position > i:
                return node.operation(*args, **kwargs)
            return exact[position] if position < i else disturbed

        pairs = zip(graph.run(inputs, call), outputs, strict=True)
        errors = (np.mean((_as_floats(x) - _as_floats(y)) ** 2) for x, y in pairs)
        yield i, sum(map(float, errors)) / squared


def _as_floats(x):
    return keras.ops.convert_to_numpy(x).astype(np.float32)


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


def min_max(
    values: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, float]:
    """Returns the range from the smallest to the largest value, extended to hold 0.

    Args:
        values: Values of an activation.
        weights: Not used, since no value is clipped.
    """
    return min(0.0, float(values.min())), max(0.0, float(values.max()))


def percentile(
    values: np.ndarray, weights: np.ndarray | None = None, share: float = 99.99
) -> tuple[float, float]:
    """Returns the range between two percentiles of the values, extended to hold 0.

    Args:
        values: Values of an activation.
        weights: Not used.
        share: The upper percentile; the lower one is 100 - `share`.
    """
    low, high = np.percentile(values, [100 - share, share])
    return min(0.0, float(low)), max(0.0, float(high))


def least_squares(
    values: np.ndarray, weights: np.ndarray | None = None
) -> tuple[float, float]:
    """Returns the range for which 8 bits have the least squared error on the values.

    It clips rare large values if the finer steps gain more on all others. The search
    tries a grid of shrunken `min_max` ranges on a histogram of the values. It leaves
    out those that clip more than the rounding to `min_max` costs.

    Args:
        values: Values of one or several activations.
        weights: Of the squared error of each value; all alike by default.
    """
    low, high = min_max(values)
    if low == high:
        return low, high
    counts, edges = np.histogram(values, BINS, (low, high), weights=weights)
    centers = (edges[1:] + edges[:-1]) / 2
    shares = np.linspace(0.04, 1, 49)
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
