"""Rules that move convolutions and activations through pixel shuffles."""

import keras
import numpy as np

from tfsr.graph import operations as op
from tfsr.graph.operators import CONCATENATIONS, clip_bounds
from tfsr.layers import GroupedConv2D
from tfsr.tflite.lowering.engine import (
    built,
    convolution,
    name_of,
    node_of,
    producer,
    weights_of,
    with_weights,
)

MAX_FILTERS_IN_BLOCKS = 4


def activation_before_shuffle(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """a(shuffle(x)) = shuffle(a(x)) for a clip, sigmoid or tanh.

    In 8 bits the range of what is before a clip does its work: if that is a
    convolution, it costs nothing.
    """
    of_any_map = isinstance(operation, op.Sigmoid | op.Tanh)
    if not of_any_map and clip_bounds(operation) is None:
        return None
    shuffle, x = producer(args[0])
    return shuffle(operation(x)) if isinstance(shuffle, op.DepthToSpace) else None


def convolve_before_shuffle(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """k * shuffle(y) = crop(shuffle(k' * y)) for a 3x3 convolution k.

    Along an axis, pixel r p + a of shuffle(y) is channel block a of y at p. The r
    outputs r p + 1 ... r p + r read the pixels r p ... r p + r + 1, all of which are in
    y at p and p + 1. So k' is 2x2 with r^2 times the filters: the taps of k at their
    places and zeros elsewhere. It starts at p = -1, so its shuffled result begins r - 1
    pixels before the output and ends one pixel after it; both are cropped. The rule
    applies where k narrows: there the wide map at the higher resolution costs more than
    the zeros.
    """
    if not isinstance(operation, GroupedConv2D) or operation.groups > 1:
        return None
    found = _shuffled(args[0])
    narrows = operation.filters < args[0].shape[-1]
    if found is None or not narrows or operation.kernel_size != 3:
        return None
    y, r, groups = found
    kernel, bias = weights_of(operation)
    channels, filters = kernel.shape[2:]
    grouped = kernel.reshape(3, 3, groups, channels // groups, filters)
    low = np.zeros((2, 2, groups, r, r, channels // groups, r, r, filters))
    for i, j, u, v in np.ndindex(r, r, 3, 3):
        (dy, a), (dx, b) = divmod(i + u, r), divmod(j + v, r)
        low[dy, dx, :, a, b, :, i, j] = grouped[u, v]
    low = low.reshape(2, 2, channels * r**2, filters * r**2)
    conv = convolution(name_of(operation), low, np.tile(bias, r**2))
    sr = _convolve_from_minus_one(conv, y)
    return keras.ops.depth_to_space(sr, r)[:, r - 1 : -1, r - 1 : -1]


def _convolve_from_minus_one(conv, y):
    """Returns a 2x2 convolution of zero-padded y at the positions -1 ... H - 1.

    That is `(B, H + 1, W + 1, filters)`. "same" padding gives the positions from 0 on.
    Those at -1 are computed from the first row and column alone, so no padded copy of y
    is needed.
    """
    left = keras.ops.pad(y[:, :, :1], ((0, 0), (0, 0), (1, 0), (0, 0)))
    top = keras.ops.pad(y[:, :1], ((0, 0), (1, 0), (1, 0), (0, 0)))
    rest = keras.ops.concatenate([conv(left)[:, :, :1], conv(y)], axis=2)
    return keras.ops.concatenate([conv(top)[:, :1], rest], axis=1)


def convolve_in_blocks(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """k * x = shuffle(k' * x) for a 3x3 convolution k, k' 4x4 with stride 2.

    One output of k' holds the four outputs of k in a block of 2x2 pixels. These read
    4x4 pixels, so k' has the filters of k at four places with zeros around them. The
    runtime computes 16 filters at a time (with AVX-512), of which an RGB image needs
    three. The rule applies only to maps whose sides are even for every image size:
    graphs for a fixed and an open size must have the same nodes, because ranges are
    stored by a node's position.
    """
    if not isinstance(operation, GroupedConv2D) or not _has_even_sides(args[0]):
        return None
    dense = operation.kernel_size == 3 and operation.groups == 1
    if not dense or operation.filters > MAX_FILTERS_IN_BLOCKS:
        return None
    (x,) = args
    kernel, bias = weights_of(operation)
    blocks = np.zeros((4, 4, x.shape[-1], 2, 2, operation.filters))
    for i, j in np.ndindex(2, 2):
        blocks[i : i + 3, j : j + 3, :, i, j] = kernel
    filters, name = 4 * operation.filters, name_of(operation)
    layer = keras.layers.Conv2D(filters, 4, strides=2, padding="same", name=name)
    weights = [blocks.reshape(4, 4, x.shape[-1], -1), np.tile(bias, 4)]
    return keras.ops.depth_to_space(built(layer, x, weights)(x), 2)


def shuffle_at_once(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """Pixel shuffles within g groups become one shuffle of reordered filters.

    A grouped convolution has the filters (g, i, j, c), which are shuffled by group and
    concatenated. One shuffle of the filters (i, j, g, c) gives the same. A grouped
    convolution for each (i, j) puts them in that order, so one copy at the low
    resolution replaces three.
    """
    if not isinstance(operation, CONCATENATIONS):
        return None
    y, r, groups = _shuffled_by_group(args[0]) or (None, 0, 1)
    if groups == 1:
        return None
    relu, z = producer(y)
    if not isinstance(relu, op.Relu):
        return None
    conv, x = producer(z)
    if not isinstance(conv, GroupedConv2D) or conv.groups != groups:
        return None
    kernel, bias = weights_of(conv)
    kernel = kernel.reshape(*kernel.shape[:3], groups, r**2, -1)
    bias = bias.reshape(groups, r**2, -1)
    parts = [
        keras.ops.relu(
            with_weights(
                conv,
                kernel[..., i, :].reshape(*kernel.shape[:3], -1),
                bias[:, i].reshape(-1),
            )(x)
        )
        for i in range(r**2)
    ]
    return keras.ops.depth_to_space(keras.ops.concatenate(parts, axis=-1), r)


def stride_in_convolution(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """k * space_to_depth(x, s) = k' * x for a convolution k of an odd side n.

    k' has the side n s and stride s: the taps of k, each a block of s x s pixels. The
    8-bit delegate has no space to depth.
    """
    if not isinstance(operation, GroupedConv2D) or operation.groups > 1:
        return None
    n = operation.kernel_size
    if n % 2 == 0:
        return None
    shuffle, x = producer(args[0])
    if not isinstance(shuffle, op.SpaceToDepth):
        return None
    s = shuffle.block_size
    kernel, bias = weights_of(operation)
    blocks = kernel.reshape(n, n, s, s, x.shape[-1], -1).swapaxes(1, 2)
    kernel = blocks.reshape(n * s, n * s, *blocks.shape[4:])
    layer = keras.layers.Conv2D(
        operation.filters,
        n * s,
        strides=s,
        padding="same",
        use_bias=operation.use_bias,
        name=name_of(operation),
    )
    return built(layer, x, [kernel, bias] if operation.use_bias else [kernel])(x)


def _has_even_sides(x):
    """Returns whether the height and width of `x` are even for every input size."""
    operation, before = producer(x)
    if isinstance(operation, op.DepthToSpace):
        return operation.block_size % 2 == 0
    keeps_sides = isinstance(operation, GroupedConv2D | op.Add | op.Relu)
    return keeps_sides and _has_even_sides(before)


def _shuffled(x):
    """Returns y, block size and groups if x is a pixel shuffle of y; else None."""
    operation, y = producer(x)
    if isinstance(operation, op.DepthToSpace):
        return y, operation.block_size, 1
    if isinstance(operation, CONCATENATIONS):
        return _shuffled_by_group(node_of(x).input_tensors)
    return None


def _shuffled_by_group(parts):
    """Returns as `_shuffled` does, for the concatenated parts of shuffles by group."""
    blocks, sources = set(), set()
    for part in parts:
        shuffle, piece = producer(part)
        if not isinstance(shuffle, op.DepthToSpace):
            return None
        split, y = producer(piece)
        if not isinstance(split, op.Split):
            return None
        blocks.add(shuffle.block_size)
        sources.add(id(y))
    if len(blocks) != 1 or len(sources) != 1:
        return None
    return y, blocks.pop(), len(parts)
