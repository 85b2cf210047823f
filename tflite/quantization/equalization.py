"""Merges chains of additions and equalizes channels, so that 8 bits round sums finely.

TFLite rounds every addition to the step of its result. So a network that adds to the
same map in every block, as SCN does, rounds it again and again, and quiet channels by
the step of the loud ones. Two exact rewrites help, in this order:

- a + b + b + c = [I, 2 I, I] * [a, b, c] for the concatenation of the terms and a 1x1
  convolution. Its accumulator has 32 bits, so a sum of any length is rounded once.
- Between convolutions a channel may have any scale, k * x = (k / d) * (d x). So each
  channel is scaled to the same magnitude and has all 256 steps. Additions prevent that,
  because all their terms and their sum must have one scale.

A sum that is left, such as one of pixels, becomes one convolution if all its terms are
outputs of convolutions: k * a + l * b = [k, l] * [a, b]. So no term is rounded.
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from tfsr.graph.graph import Graph
from tfsr.graph.operators import (
    CONCATENATIONS,
    SUMS,
    is_convolution,
    is_relu,
    operator_of,
)
from tfsr.layers import GroupedConv2D
from tfsr.tflite.lowering.affine import by_input, by_output
from tfsr.tflite.lowering.engine import (
    convolution,
    is_linear,
    name_of,
    weights_of,
    with_weights,
)
from tfsr.tflite.quantization.observers import batches

# Factors of a convolution's input and output channels, by its position in the graph.
ChannelScales = dict[int, tuple[np.ndarray, np.ndarray]]

PERCENTILE = 99.9  # of the absolute values of a channel: its magnitude
QUIETEST = 1 / 64  # of the map's largest magnitude: no channel counts as less


def with_fine_sums(graph: Graph, patches: Iterable[np.ndarray]) -> Graph:
    """Returns `graph` with both rewrites: sums as convolutions, channels scaled.

    Args:
        graph: A lowered graph, of open size.
        patches: LR images, float32 `(H, W, C)` in [0, 1], that give the scales.
    """
    merged = as_convolutions(graph)
    return rescaled(merged, channel_scales(merged, patches))


def as_convolutions(graph: Graph) -> Graph:
    """Returns `graph` with its sums as convolutions, where channels may be scaled.

    Sums of pixels stay, and so do sums that anything but convolutions reads, unless all
    their terms are outputs of convolutions.

    Args:
        graph: A lowered graph.
    """
    left = _sums(graph)
    while True:
        merged, made = _merged(graph, left)
        channels = ScaleGroups(merged)
        fixed = {
            root
            for root, node in made.items()
            if any(map(channels.is_fixed, (*node.input_tensors, *node.outputs)))
        }
        if not fixed:
            return _joined(merged)
        left = {root: terms for root, terms in left.items() if root not in fixed}


def _sums(graph):
    """Returns the terms of each sum, by the position of its last addition."""
    additions = {id(n.outputs[0]): n for n in graph.nodes if _is_addition(n)}
    readers = Counter(id(x) for node in graph.nodes for x in node.input_tensors)
    readers.update(id(x) for x in graph.outputs)
    inside = {
        id(x)
        for node in additions.values()
        for x in node.input_tensors
        if id(x) in additions and readers[id(x)] == 1
    }

    def terms(node):
        for x in node.input_tensors:
            if id(x) in inside:
                yield from terms(additions[id(x)])
            else:
                yield x

    return {
        i: [*terms(node)]
        for i, node in enumerate(graph.nodes)
        if id(node.outputs[0]) in additions.keys() - inside
    }


def _is_addition(node):
    shapes = {tuple(x.shape) for x in node.input_tensors}
    several = len(node.input_tensors) > 1 and len(shapes) == 1
    return (
        isinstance(node.operation, SUMS) and several and len(node.outputs[0].shape) == 4
    )


def _merged(graph, sums):
    """Returns `graph` with `sums` as convolutions, and their nodes by old positions."""

    def convolve(i, values):
        factors = Counter(id(x) for x in sums[i])
        terms = [values[x] for x in factors]
        eye = np.eye(terms[0].shape[-1])
        kernel = np.concatenate([count * eye for count in factors.values()])
        layer = convolution(f"sum_{i}", kernel[None, None], np.zeros(len(eye)))
        return layer(ops.concatenate(terms, axis=-1) if len(terms) > 1 else terms[0])

    return _replaced(graph, sums, convolve)


def _joined(graph):
    """Returns `graph` with each sum of convolutions as one convolution."""
    readers = Counter(id(x) for node in graph.nodes for x in node.input_tensors)
    readers.update(id(x) for x in graph.outputs)
    calls = Counter(id(node.operation) for node in graph.nodes)
    channels = ScaleGroups(graph)

    def producer(x):
        return graph.nodes[graph.producer_index[id(x)]]

    def is_alone(x):
        if id(x) not in graph.producer_index:
            return False
        conv = producer(x).operation
        plain = isinstance(conv, GroupedConv2D) and conv.groups == 1
        return plain and is_linear(conv) and readers[id(x)] == calls[id(conv)] == 1

    joined = {}
    for i, terms in _sums(graph).items():
        if not all(map(is_alone, terms)):
            continue
        convs = [producer(x) for x in terms]
        if sum(channels.is_fixed(conv.input_tensors[0]) for conv in convs) < 2:
            joined[i] = convs

    def convolve(i, values):
        weights = [weights_of(conv.operation) for conv in joined[i]]
        side = max(len(kernel) for kernel, _ in weights)
        kernel = np.concatenate([_in_square(k, side) for k, _ in weights], axis=2)
        layer = convolution(f"sum_{i}", kernel, sum(bias for _, bias in weights))
        read = [values[id(conv.input_tensors[0])] for conv in joined[i]]
        return layer(ops.concatenate(read, axis=-1))

    return _replaced(graph, joined, convolve)[0] if joined else graph


def _in_square(kernel, side):
    """Returns a kernel with zeros around it, `side` high and wide."""
    around = (side - len(kernel)) // 2
    return np.pad(kernel, ((around, around), (around, around), (0, 0), (0, 0)))


def _replaced(graph, positions, compute):
    """Returns `graph` with other nodes at some positions, and these by old positions.

    Args:
        graph: The graph.
        positions: The positions.
        compute: Function of a position and of the new tensors by the ids of the old
            ones; returns the output.
    """
    values: dict[int, Any] = {}
    made = {}

    def call(node, *args, **kwargs):
        i = graph.position[id(node)]
        if i in positions:
            outputs = made[i] = compute(i, values)
        else:
            outputs = node.operation(*args, **kwargs)
        for x, y in zip(node.outputs, keras.tree.flatten(outputs), strict=True):
            values[id(x)] = y
        return outputs

    inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype) for x in graph.inputs]
    values.update((id(x), y) for x, y in zip(graph.inputs, inputs, strict=True))
    replaced = Graph(inputs, graph.run(inputs, call))
    found = {i: replaced.producer_index.get(id(x)) for i, x in made.items()}
    return replaced, {i: replaced.nodes[n] for i, n in found.items() if n is not None}


class ScaleGroups:
    """Groups the channels of a graph's maps that must have the same scale.

    Channels are numbered; those with the same `root` form a group. The channels of the
    group 0 must keep their scale. All calls of a layer, and of the copies that lowering
    makes of it, have the same scales.

    Args:
        graph: A lowered graph.
    """

    def __init__(self, graph: Graph):
        self._parent: list[int] = [0]  # 0 is the group that keeps its scale
        self._numbers: dict[int, np.ndarray] = {}  # by the id of a tensor
        self._calls: dict[tuple, tuple] = {}
        for x in graph.inputs:
            self._numbers[id(x)] = np.zeros(x.shape[-1], int)
        for node in graph.nodes:
            self._add(node)
        for x in graph.outputs:
            self._join(self._numbers[id(x)], 0)

    def roots(self, x: keras.KerasTensor) -> np.ndarray:
        """Returns the number of the group of each channel of `x`."""
        return np.array([self._root(n) for n in self._numbers[id(x)]])

    def is_fixed(self, x: keras.KerasTensor) -> bool:
        """Returns whether some channel of `x` must keep its scale."""
        return not self.roots(x).all()

    def _add(self, node):
        operation, (y, *others) = node.operation, node.outputs
        before = [self._numbers[id(x)] for x in node.input_tensors]
        if is_convolution(operation) and is_linear(operation):
            numbers = self._new(y)
            kernel = weights_of(operation)[0].tobytes()
            first = self._calls.setdefault(
                (type(operation), name_of(operation), kernel), (before[0], numbers)
            )
            self._join(first[0], before[0])
            self._join(first[1], numbers)
        elif is_relu(operation) or operator_of(operation).by_channel:
            numbers = before[0]
        elif _is_addition(node):
            numbers = before[0]
            for other in before[1:]:
                self._join(numbers, other)
        elif isinstance(operation, CONCATENATIONS) and len(y.shape) == 4:
            numbers = np.concatenate(before)
            if len(numbers) != y.shape[-1]:  # not along the channels
                numbers = self._fixed(node, before)
        else:
            numbers = self._fixed(node, before)
        self._numbers[id(y)] = numbers
        for x in others:
            self._numbers[id(x)] = np.zeros(x.shape[-1] or 1, int)

    def _new(self, x):
        numbers = np.arange(x.shape[-1]) + len(self._parent)
        self._parent.extend(numbers.tolist())
        return numbers

    def _fixed(self, node, before):
        for numbers in before:
            self._join(numbers, 0)
        return np.zeros(node.outputs[0].shape[-1] or 1, int)

    def _join(self, ours, theirs):
        for a, b in np.broadcast(ours, theirs):
            low, high = sorted((self._root(int(a)), self._root(int(b))))
            self._parent[high] = low

    def _root(self, number):
        while self._parent[number] != number:
            number = self._parent[number]
        return number


def channel_scales(graph: Graph, patches: Iterable[np.ndarray]) -> ChannelScales:
    """Returns the factors that give channels the same magnitude, where they are free.

    Channels that are concatenated with channels of a fixed scale get the magnitude of
    these, since a concatenation has one range.

    Args:
        graph: The graph to export, of open size.
        patches: LR images, float32 `(H, W, C)` in [0, 1].
    """
    channels = ScaleGroups(graph)
    roots = {id(x): channels.roots(x) for n in graph.nodes for x in n.outputs}
    roots.update((id(x), channels.roots(x)) for x in graph.inputs)
    count = 1 + max(r.max(initial=0) for r in roots.values())
    magnitudes, largest, allowed = np.zeros((3, count))

    def call(node, *args, **kwargs):
        outputs = node.operation(*args, **kwargs)
        found = roots[id(node.outputs[0])]
        if found.any():
            values = np.abs(keras.ops.convert_to_numpy(outputs))
            values = values.reshape(-1, values.shape[-1])
            found_here = np.percentile(values, PERCENTILE, axis=0)
            floor = QUIETEST * found_here.max()
            np.maximum.at(magnitudes, found, np.maximum(found_here, floor))
            np.maximum.at(largest, found, values.max(axis=0))
            if not found.all():  # a concatenation with fixed channels has one range
                np.maximum.at(allowed, found, values[:, found == 0].max())
        return outputs

    for batch in batches(patches):
        graph.run([batch] * len(graph.inputs), call)
    beside = allowed > 0
    magnitudes[beside] = largest[beside] / allowed[beside]
    magnitudes[magnitudes == 0] = 1
    magnitudes[0] = 1
    return {
        i: tuple(
            1 / magnitudes[roots[id(x)]]
            for x in (node.input_tensors[0], node.outputs[0])
        )
        for i, node in enumerate(graph.nodes)
        if is_convolution(node.operation) and is_linear(node.operation)
    }


def rescaled(graph: Graph, scales: ChannelScales) -> Graph:
    """Returns `graph`, an equal one, with the channels of its maps scaled.

    Args:
        graph: The graph of `scales`, of any size.
        scales: What `channel_scales` returned for it.
    """

    def call(node, *args, **kwargs):
        before, after = scales.get(graph.position[id(node)], (np.ones(1), np.ones(1)))
        if (before == 1).all() and (after == 1).all():
            return node.operation(*args, **kwargs)
        conv = node.operation
        kernel, bias = weights_of(conv)
        kernel = kernel * by_input(conv, kernel, 1 / before)
        kernel = kernel * by_output(conv, kernel, after)
        return with_weights(conv, kernel, bias * after)(*args, **kwargs)

    return graph.map(call)
