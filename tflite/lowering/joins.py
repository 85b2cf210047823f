"""Rules for concatenations, splits and copies of channels, and for sums that cancel."""

import itertools

import keras
import numpy as np

from tfsr.graph import operations as op
from tfsr.graph.operators import CONCATENATIONS
from tfsr.tflite.lowering.engine import convolution, name_of, node_of, producer


def copies_as_convolution(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """[x, x, x] = k * x for a 1x1 convolution k of zeros and ones.

    So are `tile` and `repeat` of channels. The 8-bit delegate copies 16 small inputs in
    four times the time, and does not take tiles.
    """
    found = _copied(operation, args)
    if found is None:
        return None
    x, order = found
    kernel = np.eye(x.shape[-1])[None, None, :, order]
    conv = convolution(name_of(operation), kernel, np.zeros(len(order)))
    conv.trainable = False
    return conv(x)


def _copied(operation, args):
    """Returns x and the order in which its channels are copied; else None."""
    (x, *others) = args[0] if isinstance(args[0], list | tuple) else [args[0]]
    if isinstance(operation, CONCATENATIONS):
        copies = 1 + len(others)
        if operation.axis not in (-1, 3) or any(other is not x for other in others):
            return None
    elif isinstance(operation, op.Tile):
        *pixels, copies = np.ravel(operation.repeats)
        if {*pixels} - {1}:
            return None
    elif isinstance(operation, op.Repeat):
        copies = operation.repeats
        if operation.axis not in (-1, 3) or not isinstance(copies, int):
            return None
    else:
        return None
    if copies == 1 or len(x.shape) != 4:
        return None
    channels = np.arange(x.shape[-1])
    if isinstance(operation, op.Repeat):
        return x, np.repeat(channels, copies)
    return x, np.tile(channels, copies)


def concatenate_onto(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """[a, b, c] = [[a, b], c] if the graph has the concatenation [a, b] already.

    The 8-bit delegate copies two inputs much faster than three or four.
    """
    if not isinstance(operation, CONCATENATIONS) or len(args[0]) < 3:
        return None
    *first, last = args[0]
    joined = _joined(first)
    return None if joined is None else operation([joined, last])


def _joined(parts):
    """Returns the graph's concatenation of `parts`, or None if it has none.

    It may be built from the first part on, by concatenations of two.
    """
    if len(parts) == 1:
        return parts[0]
    *first, last = parts
    joined = _joined(first)
    if joined is not None:
        for node in joined._keras_history.operation._outbound_nodes:
            same = [id(x) for x in node.input_tensors] == [id(joined), id(last)]
            if same and isinstance(node.operation, CONCATENATIONS):
                return node.outputs[0]
    return None


def split_as_slices(
    operation: keras.Operation, *args
) -> list[keras.KerasTensor] | None:
    """The parts of a split of the channels are slices, x[..., i:j].

    LiteRT's GPU engine computes some operators that read the parts wrongly.
    """
    if not isinstance(operation, op.Split) or operation.axis not in (-1, 3):
        return None
    (x,) = args
    parts = np.split(np.empty(x.shape[-1]), operation.indices_or_sections)
    bounds = itertools.accumulate(map(len, parts), initial=0)
    return [x[..., i:j] for i, j in itertools.pairwise(bounds)]


def cancel_add_subtract(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """(x + y) - y = x."""
    if not isinstance(operation, op.Subtract):
        return None
    total, y = args
    if not all(isinstance(x, keras.KerasTensor) for x in args):
        return None
    if not isinstance(producer(total)[0], op.Add):
        return None
    x, *others = node_of(total).input_tensors
    return x if others and others[0] is y else None
