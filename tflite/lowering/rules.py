"""Exact rewrites of a graph into an equal one that runs faster, each a short function.

`engine.py` says what a rule is, and applies them. Each docstring begins with the rule's
identity: * is convolution, k and b are kernel and bias.
"""

import functools
import itertools

import keras
import numpy as np

from tfsr.graph import operations as op
from tfsr.graph.operators import CONCATENATIONS, clip_bounds
from tfsr.layers import (
    BicubicEnlarge,
    ChannelShift,
    CollapsibleConv2D,
    ColorDifferences,
    GroupedConv2D,
    Luma,
    WeightedAverage,
    WeightNormConv2D,
)
from tfsr.layers.bicubic_enlarge import mirror
from tfsr.layers.color_differences import KERNEL
from tfsr.layers.luma import BLACK, WEIGHTS
from tfsr.tflite.lowering.affine import (
    affine_after_convolution,
    affine_as_depthwise,
    affine_before_convolution,
    affine_before_shuffle,
    factor_before_moves,
    shift_of_input,
)
from tfsr.tflite.lowering.convolutions import (
    pointwise_after_convolution,
    pointwise_before_convolution,
    slopes_as_two_relus,
    transposed_as_shuffle,
    unused_channels,
)
from tfsr.tflite.lowering.engine import (
    built,
    convolution,
    is_input,
    name_of,
    node_of,
    producer,
    values_of,
    weights_of,
    with_weights,
)
from tfsr.tflite.lowering.plain import PLAIN

MAX_FILTERS_IN_BLOCKS = 4
MAX_CHANNELS_POOLED_DENSELY = 4
MOST_AT_BORDER = 0.05  # that a shift of the input may add to the zeros around it


def fold_kernels(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """A kernel that is computed from weights is computed once, when training is over.

    Such as g v / |v| of lengths g and directions v, or the product of two kernels.
    """
    if not isinstance(operation, WeightNormConv2D | CollapsibleConv2D):
        return None
    return with_weights(operation, *weights_of(operation))(*args)


def colors_as_convolution(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """luma(x) = k * x + b, and differences of colours are k * x, for 1x1 kernels k."""
    if isinstance(operation, Luma):
        kernel, bias = np.reshape(WEIGHTS, (3, 1)), np.array([BLACK])
    elif isinstance(operation, ColorDifferences):
        kernel, bias = KERNEL, None
    else:
        return None
    conv = convolution(name_of(operation), kernel[None, None], bias)
    conv.trainable = False
    return conv(*args)


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


def enlarge_as_convolution(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """bicubic(x) = shuffle(k * mirror(x)) for a 5x5 convolution k."""
    if not isinstance(operation, BicubicEnlarge):
        return None
    x = mirror(*args)
    kernel = operation.kernel(x.shape[-1])
    conv = keras.layers.Conv2D(
        kernel.shape[-1],
        5,
        use_bias=False,
        trainable=False,
        name=name_of(operation),
    )
    return keras.ops.depth_to_space(built(conv, x, [kernel])(x), operation.scale)


def resize_as_enlarge(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """Keras' bicubic(x) by a whole factor is `BicubicEnlarge`, but at the border.

    Within two pixels of it Keras reads fewer pixels, and this mirrored ones; elsewhere
    TensorFlow's weights are off by up to 1/1000. TFLite has no bicubic resizing.
    """
    if getattr(operation, "interpolation", None) != "bicubic":
        return None
    (x,) = args
    if isinstance(operation, keras.layers.UpSampling2D):
        factors = {*operation.size}
    elif isinstance(operation, op.Resize):
        sides = zip(operation.size, x.shape[1:3], strict=True)
        factors = {size / side if side else 0 for size, side in sides}
    else:
        return None
    (factor, *others) = factors
    if others or factor not in (2, 3, 4):
        return None
    return BicubicEnlarge(int(factor))(x)


def subtract_nothing(operation: keras.Operation, *args) -> keras.KerasTensor | None:
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


def pool_in_convolution(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """k * mean(x) = k' * x for a 1x1 convolution k of the means of s x s pixels.

    k' is s x s with stride s and has k / s^2 at every tap. In 8 bits this saves one
    rounding. In float32 `pool_as_convolution` followed by k is faster.
    """
    if not _is_pointwise(operation):
        return None
    pool, x = producer(args[0])
    if not _is_block_mean(pool):
        return None
    s = pool.pool_size[0]
    kernel, bias = weights_of(operation)
    kernel = np.tile(kernel / s**2, (s, s, 1, 1))
    name = name_of(operation)
    layer = keras.layers.Conv2D(operation.filters, s, strides=s, name=name)
    return built(layer, x, [kernel, bias])(x)


def pool_as_convolution(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """mean(x) = k * x for n x n pixels and a depthwise k, all 1 / n^2.

    The 8-bit delegate has no average pooling, and in float32 this is faster.
    """
    if not _is_mean(operation):
        return None
    (x,) = args
    n, stride = operation.pool_size[0], operation.strides
    kernel = np.full((n, n, x.shape[-1], 1), 1 / n**2)
    layer = keras.layers.DepthwiseConv2D(
        n, strides=stride, use_bias=False, trainable=False, name=name_of(operation)
    )
    return built(layer, x, [kernel])(x)


def pool_as_dense_convolution(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """mean(x) = k * x for s x s pixels and a dense k of stride s, I / s^2 at each tap.

    I is the identity: each channel reads itself. For up to four channels in 8 bits,
    where Qualcomm's compiler for Hexagon gives -128 for every output of the depthwise
    `pool_as_convolution`.
    """
    if not _is_block_mean(operation):
        return None
    (x,) = args
    channels, s = x.shape[-1], operation.pool_size[0]
    if channels > MAX_CHANNELS_POOLED_DENSELY:
        return None
    kernel = np.tile(np.eye(channels) / s**2, (s, s, 1, 1))
    layer = keras.layers.Conv2D(
        channels,
        s,
        strides=s,
        use_bias=False,
        trainable=False,
        name=name_of(operation),
    )
    return built(layer, x, [kernel])(x)


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


def average_in_convolutions(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """sum w_q (k_q * x_q + y) = sum (w_q k_q) * x_q + (sum w_q - 1) y + y."""
    if not isinstance(operation, WeightedAverage):
        return None
    terms, originals = [], {}
    for share, prediction in zip(values_of(operation.shares), args[0], strict=True):
        if not isinstance(producer(prediction)[0], op.Add):
            return None
        residual, original = node_of(prediction).input_tensors
        conv, x = producer(residual)
        if not isinstance(conv, GroupedConv2D):
            return None
        kernel, bias = weights_of(conv)
        terms.append(with_weights(conv, share * kernel, share * bias)(x))
        originals[id(original)] = original
    if len(originals) > 1:
        return None
    (y,) = originals.values()
    rest = float(values_of(operation.shares).sum() - 1)
    return functools.reduce(keras.ops.add, [*terms, rest * y, y])


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


def concatenate_onto(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """[a, b, c] = [[a, b], c] if the graph has the concatenation [a, b] already.

    The 8-bit delegate copies two inputs much faster than three or four.
    """
    if not isinstance(operation, CONCATENATIONS) or len(args[0]) < 3:
        return None
    *first, last = args[0]
    joined = _joined(first)
    return None if joined is None else operation([joined, last])


def slopes_as_one(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """max(x, 0) + a min(x, 0) is a leaky ReLU if a is one number for all channels.

    And a ReLU if a is 0. The 8-bit delegate takes these and no PReLU.
    """
    if not isinstance(operation, keras.layers.PReLU):
        return None
    slope, *others = np.unique(values_of(operation.alpha))
    if others:
        return None
    (x,) = args
    return keras.ops.leaky_relu(x, float(slope)) if slope else keras.ops.relu(x)


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


def center_input(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """x + s = (x + m) + (s - m), where m is the same for all channels.

    In 8 bits, the shift s of each channel would cost up to half a quantization step. m
    is the mean of s in whole steps of 1 / 255, which costs nothing. Two other rules,
    `shift_after_blocks` and `shift_out_of_convolution`, move s - m on.
    """
    if not isinstance(operation, ChannelShift) or not is_input(args[0]):
        return None
    center = float(np.rint(255 * np.mean(operation.offset)) / 255)
    rest = np.array(operation.offset) - center
    centered = ChannelShift((center,) * len(rest))(args[0])
    return ChannelShift(rest.tolist())(centered)


def shift_after_blocks(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """mean(x + s) = mean(x) + s; space_to_depth(x + s) = space_to_depth(x) + [s, s].

    That is s once for each pixel of a block.
    """
    pixels = _pixels_as_channels(operation)
    if pixels is None:
        return None
    shift, x = producer(args[0])
    if not isinstance(shift, ChannelShift):
        return None
    return ChannelShift(list(shift.offset) * pixels)(operation(x))


def shift_out_of_convolution(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """k * (x + s) + b = k * x + (b + sum(k s)) for the shift s of `center_input`.

    This is the only inexact rule: at the outermost pixels, where the convolution reads
    zeros beyond the border, it adds s to these zeros too. With CARN's means s is at
    most 0.027; more than `MOST_AT_BORDER` stays.
    """
    if not isinstance(operation, GroupedConv2D):
        return None
    shift, x = producer(args[0])
    if not isinstance(shift, ChannelShift) or not _is_shifted_input(x):
        return None
    if np.abs(shift.offset).max() > MOST_AT_BORDER:
        return None
    kernel, bias = weights_of(operation)
    bias = bias + np.einsum("yxcf,c->f", kernel, np.array(shift.offset))
    return with_weights(operation, kernel, bias)(x)


def hard_silu_as_gate(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """hard_silu(x) = x clip(x / 6 + 1/2, 0, 1).

    The 8-bit delegate takes these and no hard swish, and LiteRT's own needs an output
    step of more than 1/128 of the input's.
    """
    if not isinstance(operation, op.HardSilu):
        return None
    (x,) = args
    return x * keras.ops.clip(x * (1 / 6) + 0.5, 0.0, 1.0)


def split_as_slices(
    operation: keras.Operation, *args
) -> list[keras.KerasTensor] | None:
    """The parts of a split of the channels are slices, x[..., i:j].

    LiteRT's GPU engine computes wrongly some of what reads the parts.
    """
    if not isinstance(operation, op.Split) or operation.axis not in (-1, 3):
        return None
    (x,) = args
    parts = np.split(np.empty(x.shape[-1]), operation.indices_or_sections)
    bounds = itertools.accumulate(map(len, parts), initial=0)
    return [x[..., i:j] for i, j in itertools.pairwise(bounds)]


_RULES = (
    slopes_as_one,
    activation_before_shuffle,
    fold_kernels,
    factor_before_moves,
    affine_before_shuffle,
    affine_after_convolution,
    affine_before_convolution,
    average_in_convolutions,
    subtract_nothing,
    colors_as_convolution,
    copies_as_convolution,
    resize_as_enlarge,
    enlarge_as_convolution,
    transposed_as_shuffle,
    unused_channels,
    pointwise_after_convolution,
    pointwise_before_convolution,
    pool_as_convolution,
    stride_in_convolution,
    convolve_before_shuffle,
    convolve_in_blocks,
    shuffle_at_once,
    concatenate_onto,
    split_as_slices,  # after those that look for splits
)
EXACT = (*PLAIN, *_RULES)
FOR_INT8 = (
    *PLAIN,
    hard_silu_as_gate,
    shift_of_input,
    affine_before_convolution,
    center_input,
    shift_after_blocks,
    shift_out_of_convolution,
    pool_in_convolution,
    pool_as_dense_convolution,
    *_RULES,
    slopes_as_two_relus,
    affine_as_depthwise,
)


def _joined(parts):
    """Returns the concatenation of `parts` that the graph has, or None.

    It may consist of concatenations of two, from the first part on.
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


def _has_even_sides(x):
    """Returns whether the height and width of `x` are even for every input size."""
    operation, before = producer(x)
    if isinstance(operation, op.DepthToSpace):
        return operation.block_size % 2 == 0
    keeps_sides = isinstance(operation, GroupedConv2D | op.Add | op.Relu)
    return keeps_sides and _has_even_sides(before)


def _is_shifted_input(x):
    """Returns whether `x` is the input shifted by `center_input`, perhaps in blocks."""
    operation, before = producer(x)
    if _pixels_as_channels(operation) is not None:
        return _is_shifted_input(before)
    return isinstance(operation, ChannelShift) and is_input(before)


def _pixels_as_channels(operation):
    """Returns how many pixels' channels a block has: of a mean 1. Else None."""
    if _is_block_mean(operation):
        return 1
    is_moved = isinstance(operation, op.SpaceToDepth)
    return operation.block_size**2 if is_moved else None


def _is_pointwise(operation):
    conv = isinstance(operation, GroupedConv2D)
    return conv and operation.kernel_size == operation.groups == 1


def _is_mean(operation):
    """Returns whether an operation is the mean of square windows, each a whole one."""
    if not isinstance(operation, keras.layers.AveragePooling2D):
        return False
    height, width = operation.pool_size
    strides = {*operation.strides}
    return operation.padding == "valid" and height == width and len(strides) == 1


def _is_block_mean(operation):
    return _is_mean(operation) and operation.strides == operation.pool_size


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
