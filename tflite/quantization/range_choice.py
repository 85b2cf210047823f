"""Chooses the range of each activation of a graph."""

from collections.abc import Callable

import keras
import numpy as np

from tfsr.graph import operations as op
from tfsr.graph.graph import Graph
from tfsr.graph.operators import SUMS, clip_bounds, is_convolution
from tfsr.layers import ChannelShift
from tfsr.tflite.lowering.engine import copies_channels, is_input
from tfsr.tflite.quantization.constraints import (
    Ranges,
    arguments,
    fixed_range,
    free_clips,
    fused_into_relu,
    is_of_pixels,
    quantization_groups,
    read_by_poles,
)
from tfsr.tflite.quantization.observers import Samples, least_squares

WHOLE_LEVELS = (-128 / 255, 127 / 255)  # the range in steps of a pixel's
STEPS_FROM_POLE = 16  # of 8 bits: rounding moves what is farther by up to 3 %
MASKS = 1e4  # a constant as large hides values, as -1e9 does before a softmax


def choose_ranges(
    graph: Graph,
    samples: Samples,
    choose: Callable = least_squares,
    bits: int = 8,
) -> Ranges:
    """Returns the range of every operation that TFLite quantizes.

    - TFLite fuses an operation with a ReLU that alone reads it: only the ReLU has a
      range then.
    - Tensors that meet in a concatenation share a range, in which each counts by its
      influence on the output.
    - The output has [0, 1], and a copy of the input too. The input shifted by one
      constant s has [s, 1 + s], as has what is concatenated with it, if that clips
      nothing.
    - Sigmoid, softmax and tanh have their `Operator.fixed_range`.
    - In 8 bits, terms that are added to the input to give the output have the steps of
      pixels: see `_in_whole_levels`.

    These have no range and stay in float32:

    - nodes whose values come too near a pole, and nodes that only they read: see
      `_near_poles`;
    - nodes with the constant of a mask, which would take all levels;
    - in 16 bits, whose ranges are symmetric, `free_clips` to a lower bound other than
      0.

    Args:
        graph: The observed graph.
        samples: What `observe` returned for it.
        choose: Function of values and their weights that returns a range: `min_max`,
            `percentile` or `least_squares`.
        bits: Of the integers.
    """
    chosen = {}
    fused = fused_into_relu(graph)
    outputs = {id(x) for x in graph.outputs}
    last = {i for i, n in enumerate(graph.nodes) if id(n.outputs[0]) in outputs}
    residuals = _added_to_pixels(graph, last) if bits == 8 else set()
    for group in quantization_groups(graph):
        members = [i for i in group if i in samples.values and i not in fused]
        if not members:
            continue
        shifts = {i: s for i in members if (s := _shift_of_input(graph, i)) is not None}
        fixed = fixed_range(graph.nodes[members[0]])
        if fixed and len(members) == 1:
            shared = fixed
        elif last & set(group):
            shared = (0.0, 1.0)
        else:
            found = {i: samples.values[i] for i in members}
            values = np.concatenate([*found.values()])
            influence = [samples.influence.get(i, 1.0) for i in members]
            weights = np.repeat(influence, [*map(len, found.values())])
            others = [x for i, x in found.items() if i not in shifts]
            shared = _range_of_input({*shifts.values()}, others)
            shared = shared or choose(values, weights)
            shared = shared if any(shared) else (0.0, 1.0)  # of zeros alone
            if residuals & set(group):
                shared = _in_whole_levels(values, shared)
        chosen.update(dict.fromkeys(members, shared))
    for i in _near_poles(graph, samples, chosen) | _masked(graph):
        chosen.pop(i, None)
    for i in free_clips(graph) & chosen.keys() if bits == 16 else ():
        bounds = clip_bounds(graph.nodes[i].operation)
        if bounds and bounds[0] != 0 and not is_of_pixels(chosen[i]):
            del chosen[i]
    return chosen


def _range_of_input(shifts, others):
    """Returns the range of the input plus the only shift in `shifts`.

    None if there is not exactly one, or if its range clips the values in `others` by
    more than two steps.
    """
    if len(shifts) != 1:
        return None
    (low,) = shifts
    clipped = [max(low - x.min(), x.max() - low - 1) for x in others]
    return None if max(clipped, default=0) > 2 / 255 else (low, 1.0 + low)


def _in_whole_levels(values, bounds):
    """Returns `WHOLE_LEVELS` for values that are added to pixels.

    Pixels and whole levels add up exactly. So the values are rounded once, as a float
    network's output is, and finer steps would only add a rounding. If `WHOLE_LEVELS`
    clip more than the rounding to `bounds` costs, this returns `bounds`.
    """
    clipped = np.maximum(np.abs(values) - WHOLE_LEVELS[1], 0)
    step = (bounds[1] - bounds[0]) / 255
    return bounds if np.mean(clipped**2) > step**2 / 12 else WHOLE_LEVELS


def _near_poles(graph, samples, ranges):
    """Returns nodes too close to a pole for 8 bits, and nodes that only they read.

    A pole is 0 of a divisor or of a logarithm.
    """
    readers: dict[int, set[int]] = {}
    for i, node in enumerate(graph.nodes):
        for x in node.input_tensors:
            readers.setdefault(graph.producer_index.get(id(x), -1), set()).add(i)
    found: set[int] = set()
    read = read_by_poles(graph)
    for group in quantization_groups(graph):
        members = group & ranges.keys()
        if not members or not group & read:
            continue
        values = np.concatenate([samples.values[i] for i in members])
        low, high = ranges[min(members)]
        if np.abs(values).min() < STEPS_FROM_POLE * (high - low) / 255:
            found |= group
    left = [*found]
    while left:
        node = graph.nodes[left.pop()]
        made = {graph.producer_index.get(id(x)) for x in node.input_tensors}
        for i in made - found - {None}:
            operation = graph.nodes[i].operation
            scales = isinstance(operation, keras.layers.DepthwiseConv2D)
            if readers[i] <= found and (scales or not is_convolution(operation)):
                found.add(i)
                left.append(i)
    return found


def _masked(graph):
    """Returns the nodes in which `MASKS` hide values, and those that `where` reads.

    TFLite gives a selection the range of the tensors that it selects from.
    """
    found = set()
    for i, node in enumerate(graph.nodes):
        if _hides(node):
            found.add(i)
            if isinstance(node.operation, op.Where):
                sources = (graph.producer_index.get(id(x)) for x in node.input_tensors)
                found.update(source for source in sources if source is not None)
    return {i for group in quantization_groups(graph) if group & found for i in group}


def _hides(node):
    """Returns whether a node hides values by a constant of `MASKS` or more."""
    if not isinstance(node.operation, op.Add | op.Subtract | op.Where):
        return False
    constants = (x for x in arguments(node) if not isinstance(x, keras.KerasTensor))
    return any(np.abs(np.asarray(x, np.float32)).max() >= MASKS for x in constants)


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
    """Returns the positions of terms that are added to the input to give the output.

    Args:
        graph: A graph.
        last: The positions of its outputs.
    """

    def is_of_input(x):
        return is_input(x) or _shift_of_input(graph, graph.producer_index[id(x)]) == 0

    found = set()
    for group in (group for group in quantization_groups(graph) if group & last):
        for node in (graph.nodes[i] for i in group):
            terms = node.input_tensors
            if isinstance(node.operation, SUMS) and any(map(is_of_input, terms)):
                added = (x for x in terms if not is_of_input(x))
                found.update(graph.producer_index[id(x)] for x in added)
    return found
