"""Measures the receptive field of an unknown operation, by changing its input."""

import itertools
import math
from fractions import Fraction
from typing import Any

import keras
import numpy as np

from tfsr.graph.receptive_field import NOT_SPATIAL, ReceptiveField

SIDES = (24, 36)  # of the test maps; multiples of 2, 3 and 4
CHANGES = (0.05, -0.05, 1.0, -1.0)
INPUTS = ((0.5, 0.15), (0.0, 0.02), (0.0, 1.0), (2.0, 0.5), (-2.0, 0.5))  # mean, spread


def probed(node: Any, field: ReceptiveField) -> ReceptiveField:
    """Returns the receptive field of an unknown operation's outputs.

    The operation runs alone on random maps, then again with one row or column changed:
    the output pixels that differ depend on it. The maps have several ranges, so that a
    saturated activation cannot hide a dependency. The field is unbounded if the
    operation does not run alone, sees more than a third of the map, or computes
    differently from place to place.

    Args:
        node: The call of the operation.
        field: The joined receptive field of its inputs.
    """
    if len(node.outputs) > 1:
        return field.unbounded()
    if len(node.outputs[0].shape) != 4:
        return NOT_SPATIAL
    found = {_look(node, side) for side in SIDES}
    if len(found) > 1 or None in found:
        return field.unbounded()
    ((factor, beyond),) = found
    if math.isinf(beyond):
        return field.resized(factor).unbounded()
    return field.with_neighbours(beyond).resized(factor)


def _look(node, side):
    """Returns an operation's scaling factor, and how many pixels it reads on each side.

    The pixels are counted from the input pixel that holds an output pixel; infinity
    means that the test could not tell. Returns None if the operation cannot be tested.
    """
    maps = [x for x in node.input_tensors if len(x.shape) == 4]
    if not maps or len(maps) < len(node.input_tensors):
        return None
    if any(not _fits(n, side) for x in maps for n in x.shape[1:3]):
        return None
    try:
        return _look_at(node, maps, side)
    except _Untried:
        return None


class _Untried(Exception):
    """An unknown operation does not run alone, or not image by image."""


def _look_at(node, maps, side):
    """Returns the same as `_look`, for an operation on the symbolic inputs `maps`."""
    outputs = [
        _changed_rows(node, maps, side, across, mean, spread)
        for across in (False, True)
        for mean, spread in INPUTS
    ]
    if len({changed.shape for changed in outputs}) > 1:
        return None
    by_row = np.any(outputs[: len(INPUTS)], axis=0)
    by_column = np.any(outputs[len(INPUTS) :], axis=0)
    factor = Fraction(by_row.shape[1], side)
    beyond = max(_beyond(changed, factor) for changed in (by_row, by_column))
    if beyond > side // 3 or not _is_alike_everywhere(node, maps, side, factor, beyond):
        return factor, math.inf
    return factor, beyond


def _is_alike_everywhere(node, maps, side, factor, beyond):
    """Returns whether an operation commutes with translation.

    It does not if it cuts the map into windows, or adds something that depends on the
    position.
    """
    step = factor.denominator  # then the output moves by whole pixels
    moved = int(step * factor)
    margin = math.ceil(factor) * (beyond + 1) + moved
    rng = np.random.default_rng(0)
    shapes = [(1, side + step, side + step, x.shape[-1]) for x in maps]
    values = [rng.normal(0.5, 0.3, shape).astype("float32") for shape in shapes]
    here = _run(node, [x[:, :side, :side] for x in values])
    there = _run(node, [x[:, step:, step:] for x in values])
    inside = slice(margin, here.shape[1] - margin - moved)
    ours = here[:, moved:, moved:][:, inside, inside]
    theirs = there[:, inside, inside]
    return ours.size > 0 and np.allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def _fits(n, side):
    return n is None or n == side


def _changed_rows(node, maps, side, across, mean, spread):
    """Returns which output rows change with which input row, bool `(rows, rows out)`.

    Args:
        node: The call of the operation.
        maps: Its symbolic inputs.
        side: Height and width of the maps to try.
        across: Whether to change columns instead of rows.
        mean: Mean of the maps' values.
        spread: Standard deviation of the maps' values.
    """
    rng = np.random.default_rng(side)
    axis = 2 if across else 1
    shapes = [(1, side, side, x.shape[-1]) for x in maps]
    values = [rng.normal(mean, spread, shape).astype("float32") for shape in shapes]
    # One batch: first the unchanged maps, then one copy for each row and change.
    copies = 1 + side * len(CHANGES)
    batch = [np.repeat(x, copies, axis=0) for x in values]
    for i, (row, change) in enumerate(itertools.product(range(side), CHANGES), 1):
        for x in batch:
            place = (i, slice(None), row) if across else (i, row)
            x[place] += change * rng.uniform(0.5, 1.5, x[place].shape)
    outputs = _run(node, batch)
    away = tuple(a for a in (1, 2, 3) if a != axis)
    differs = np.any(outputs[1:] != outputs[:1], axis=away)
    return differs.reshape(side, len(CHANGES), -1).any(axis=1)


def _run(node, values):
    """Returns the first output of a call, with `values` for its input tensors.

    Raises:
        _Untried: If the call fails, or its output is no map for each image.
    """
    known = {
        id(x): keras.ops.convert_to_tensor(value)
        for x, value in zip(node.input_tensors, values, strict=True)
    }
    args, kwargs = node.arguments.fill_in(known)
    try:
        outputs = keras.tree.flatten(node.operation(*args, **kwargs))
        output = keras.ops.convert_to_numpy(outputs[0])
    except Exception as error:  # an unknown operation may raise anything
        raise _Untried from error
    if output.ndim != 4 or len(output) != len(values[0]):
        raise _Untried
    return output


def _beyond(changed, factor):
    """Returns how many pixels on each side of its own an output pixel reads at most.

    It is infinite if an output pixel in the middle third depends on no input.

    Args:
        changed: Whether an output row depends on an input row, `(rows, rows out)`.
        factor: Output size over input size.
    """
    columns = changed.shape[1]
    inside = slice(columns // 3, columns - columns // 3)
    seen = [np.flatnonzero(changed[:, o]) for o in range(columns)]
    if any(len(s) == 0 for s in seen[inside]):
        return math.inf
    beyond = 0
    for o, rows_seen in enumerate(seen):
        if not len(rows_seen):
            continue
        first = math.floor(o / factor)
        last = math.ceil((o + 1) / factor) - 1
        beyond = max(beyond, first - rows_seen[0], rows_seen[-1] - last)
    return beyond
