"""Computes what the 8-bit runtime computes, integer by integer.

XNNPACK runs TFLite models on the CPU. In a deep network, a single value rounded
differently changes what follows. So `UNARY`, `BINARY`, `INTERPOLATING`, convolutions
and ReLUs reproduce its arithmetic to the bit. Other operations run in real numbers and
are rounded once.
"""

import dataclasses
import functools
import math

import keras
import numpy as np
import tensorflow as tf

from tfsr.data.degradation_type import Degradation
from tfsr.graph import operations as op
from tfsr.graph.graph import Graph
from tfsr.graph.operators import is_convolution, is_relu, moves
from tfsr.layers import BilinearResize, ChannelShift, GroupedConv2D
from tfsr.layers.fake_quantized_conv import other_axes
from tfsr.tflite.lowering.engine import producer
from tfsr.tflite.quantization.aware import strip_fake_quantization
from tfsr.tflite.quantization.constraints import Ranges, free_clips, fused_into_relu
from tfsr.tflite.quantization.observers import min_max
from tfsr.upscaling.upscalers import KerasUpscaler, as_floats, from_uint8, to_uint8

LOWEST, HIGHEST = -128, 127


@dataclasses.dataclass(frozen=True)
class Centered:
    """Integers less the zero point; `values * scale` are the real numbers."""

    values: np.ndarray  # float32, as exact as integers up to 2^24
    step: float
    zero_point: int

    @property
    def scale(self) -> np.float32:
        """The step as a file holds it."""
        return np.float32(self.step)


class IntegerUpscaler(KerasUpscaler):
    """Runs a quantization-aware model as its 8-bit conversion would run.

    Args:
        model: What `quantization_aware` returned, perhaps loaded.
        scale: The scale to use.
        name: As for `KerasUpscaler`.
        task: As for `KerasUpscaler`.
    """

    depth = 8
    bytes_of_value = 32  # float32 and float64, of a map, of its sums and beside them

    def __init__(
        self,
        model: keras.Model,
        scale: int,
        name: str | None = None,
        task: Degradation | None = None,
    ):
        super().__init__(model, scale, name=name, task=task)
        self.graph, self.ranges = strip_fake_quantization(self.model)

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        pixels = to_uint8(as_floats(lr))[None]
        return from_uint8(run_integers(self.graph, self.ranges, pixels)[0])


def run_integers(graph: Graph, ranges: Ranges, pixels: np.ndarray) -> np.ndarray:
    """Returns the output of the 8-bit model for images, uint8 `(B, H, W, C)`.

    Args:
        graph: A graph of one input.
        ranges: Its ranges, as for `export.int8`.
        pixels: uint8 `(B, H, W, C)`.
    """
    fused = {i for i, clip in fused_into_relu(graph).items() if clip in ranges}
    free = free_clips(graph)

    def call(node, *args, **kwargs):
        bounds = ranges.get(graph.position[id(node)])
        operation = node.operation
        first = keras.tree.flatten(args)[1 if isinstance(operation, op.Where) else 0]
        waits = graph.position[id(node)] in fused or moves(node)
        if bounds is None and (not waits or keras.ops.is_tensor(first)):  # in float32
            real = keras.tree.map_structure(_real, args)
            return keras.tree.map_structure(
                keras.ops.convert_to_tensor, operation(*real, **kwargs)
            )
        if moves(node):
            if type(operation) in INTERPOLATING:
                return INTERPOLATING[type(operation)](operation, *args)
            return _move(operation, *args, **kwargs)
        if is_convolution(operation):
            requantize = _convolve(operation, *args)
        elif graph.position[id(node)] in free and not keras.ops.is_tensor(first):
            requantize = _requantizer(first)
        elif is_relu(operation) and (callable(first) or _is_pooled(node)):
            requantize = functools.partial(_relu, _requantizer(first))
        elif type(operation) in BINARY and _are_integers(args := _rounded(node, args)):
            requantize = functools.partial(BINARY[type(operation)], *args)
        elif type(operation) in UNARY and isinstance(first, Centered):
            requantize = functools.partial(UNARY[type(operation)], operation, first)
        elif isinstance(operation, keras.layers.Identity):
            requantize = functools.partial(_quantize, *args)
        elif isinstance(operation, op.Multiply) and isinstance(args[1], float):
            requantize = functools.partial(_multiply, *args)
        else:
            requantize = _compute(operation, *args, **kwargs)
        return requantize if bounds is None else _round(requantize, *bounds)

    image = Centered(pixels.astype(np.float32), 1 / 255, LOWEST)
    (sr,) = graph.run([image], call)
    if not isinstance(sr, Centered):
        sr = _round(functools.partial(_quantize, sr), 0, 1)
    elif sr.scale != image.scale:
        sr = _round(_real_numbers(_real(sr)), 0, 1)
    return sr.values.astype(np.uint8)


def _rounded(node, args):
    """Returns the arguments of a node with constants of several values rounded."""
    symbols = node.arguments.args
    return [
        x if isinstance(symbol, keras.KerasTensor) or not np.ndim(x) else _constant(x)
        for x, symbol in zip(args, symbols, strict=True)
    ]


def _constant(x):
    """Returns a constant as a file holds it, in the range of its values."""
    values = np.asarray(keras.ops.convert_to_numpy(x), np.float64)
    low, high = min_max(values)
    return _round(lambda scale: _to_nearest(values / np.float64(scale)), low, high or 1)


def _to_nearest(x):
    """Returns the nearest integers, halves away from 0, as the converter does."""
    return np.sign(x) * np.floor(np.abs(x) + 0.5)


def _are_integers(values):
    return all(isinstance(x, Centered) for x in values)


def _is_pooled(node):
    """Returns whether a node reads a pooling, with which TFLite fuses a ReLU."""
    pools = keras.layers.AveragePooling2D | keras.layers.MaxPooling2D
    return isinstance(producer(node.input_tensors[0])[0], pools)


def _round(requantize, low, high):
    """Returns the integers of a range, each less the zero point.

    `requantize` is a result before requantization: a function from the output step to
    integers.
    """
    low, high = map(float, np.float32([low, high]))  # as a file holds them
    step = (high - low) / 255
    zero_point = LOWEST + math.floor(-low / step + 0.5)
    scale = np.float32(step)
    levels = np.clip(requantize(scale), LOWEST - zero_point, HIGHEST - zero_point)
    return Centered(levels.astype(np.float32), step, zero_point)


def _convolve(conv, x):
    kernel = keras.ops.convert_to_numpy(conv.kernel).astype(np.float64)
    axes = other_axes(conv)
    largest = np.abs(kernel).max(axis=axes, keepdims=True)
    largest = np.where(largest, largest, 1)
    # The converter rounds kernels and biases by steps that are not float32 yet.
    steps = largest / 127
    scales = x.scale * np.float32(steps.ravel())
    weights = _to_nearest(kernel / steps)
    values = tf.constant(x.values, tf.float64)
    sums = _sums(conv, values, weights).numpy()
    if conv.bias is not None:
        bias = keras.ops.convert_to_numpy(conv.bias).astype(np.float64)
        sums = sums + _to_nearest(bias / (x.step * steps.ravel()))
    return lambda scale: np.rint(np.float32(sums) * (scales / scale))


def _sums(conv, x, kernel):
    """Returns what a convolution without bias gives for these weights."""
    if isinstance(conv, GroupedConv2D):
        return _convolve_groups(x, kernel, conv.groups)
    padding, dilation = conv.padding.upper(), conv.dilation_rate
    if isinstance(conv, keras.layers.DepthwiseConv2D):
        strides = (1, *conv.strides, 1)
        return tf.nn.depthwise_conv2d(x, kernel, strides, padding, dilations=dilation)
    if isinstance(conv, keras.layers.Conv2DTranspose):
        shape = conv.compute_output_shape(x.shape)
        return tf.nn.conv2d_transpose(x, kernel, shape, conv.strides, padding)
    return tf.nn.conv2d(x, kernel, conv.strides, padding, dilations=dilation)


def _convolve_groups(x, kernel, groups):
    parts = zip(tf.split(x, groups, -1), np.split(kernel, groups, -1), strict=True)
    return tf.concat([tf.nn.conv2d(a, k, 1, "SAME") for a, k in parts], -1)


def _add(a, b, scale, sign=1):
    """Returns a sum by multipliers of 21 bits, halves up."""
    ratios = a.scale / scale, b.scale / scale
    shift = 21 - math.frexp(max(ratios))[1]
    by_a, by_b = (round(math.ldexp(float(ratio), shift)) for ratio in ratios)
    total = a.values.astype(np.int64) * by_a + b.values.astype(np.int64) * by_b * sign
    return (total + (1 << (shift - 1))) >> shift


def _product(a, b, scale):
    """Returns a product of two maps, to the nearest even."""
    return np.rint(a.values * b.values * (a.scale * b.scale / scale))


def _matmul(a, b, scale):
    """Returns products of matrices by a multiplier of 31 bits, rounded twice."""
    sums = np.matmul(a.values.astype(np.float64), b.values.astype(np.float64))
    ratio = float(a.scale) * float(b.scale) / float(scale)
    multiplier, exponent = _multiplier(ratio)
    products = _scaled(sums.astype(np.int64) << max(exponent, 0), multiplier, 31)
    return _rounding_shift(products, max(-exponent, 0))


BINARY = {
    op.Add: _add,
    op.Subtract: functools.partial(_add, sign=-1),
    op.Multiply: _product,
    op.Matmul: _matmul,
}


def _multiplier(ratio):
    """Returns m of 31 bits and e with m 2^(e - 31) nearest to a ratio."""
    fraction, exponent = math.frexp(float(ratio))
    multiplier = math.floor(math.ldexp(fraction, 31) + 0.5)
    return (multiplier, exponent) if multiplier < 2**31 else (2**30, exponent + 1)


def _scaled(x, multiplier, bits):
    """Returns x multiplier / 2^bits, halves up."""
    return (x * multiplier + (1 << (bits - 1))) >> bits


def _rounding_shift(x, times):
    """Returns x / 2^times, halves away from 0."""
    return np.sign(x) * ((np.abs(x) + (1 << times >> 1)) >> times)


def _quantize(x, scale):
    """Returns the integers of real numbers, to the nearest even."""
    return np.rint(keras.ops.convert_to_numpy(x) * (np.float32(1) / scale))


def _multiply(x, factor, scale):
    """Returns x times a number, which is quantized to 255 steps of its own."""
    step = np.float32(abs(factor) / 255)
    products = np.float32(x.values * math.copysign(255, factor))
    return np.rint(products * (x.scale * step / scale))


def _mean(operation, x, scale):
    """Returns means of the integers in a file, to the nearest even."""
    axes = None if operation.axis is None else tuple(np.ravel(operation.axis))
    sums = x.values.sum(axes, keepdims=operation.keepdims, dtype=np.float64)
    ratio = x.scale / scale / np.float32(x.values.size // sums.size)
    zero_point = x.zero_point if scale == x.scale else 0
    return np.rint(np.float32(sums) * ratio + zero_point) - zero_point


def _shift(operation, x, scale):
    return _add(x, _constant(np.array(operation.offset)), scale)


def _leaky_relu(operation, x, scale):
    return _by_slopes(x, operation.negative_slope, scale)


def _by_slopes(x, slope, scale):
    """Returns x times 1 or `slope` by multipliers with 8 fractional bits, halves up."""
    ratio = x.scale / scale
    above, below = (np.rint(256 * ratio * np.float32(s)) for s in (1, slope))
    return np.floor((x.values * np.where(x.values < 0, below, above) + 128) / 256)


def _requantizer(x):
    """Returns `x`, or a function that requantizes it."""
    return functools.partial(_by_slopes, x, 1) if isinstance(x, Centered) else x


def _sqrt(operation, x, scale):
    """Returns roots, rounded down."""
    return np.floor(np.sqrt(_real(x)) / np.float64(scale))


UNARY = {
    ChannelShift: _shift,
    op.LeakyRelu: _leaky_relu,
    op.Mean: _mean,
    op.Sqrt: _sqrt,
}


def _relu(requantize, scale):
    """Returns requantized integers cut at 0, which a shared range may go below."""
    return np.maximum(requantize(scale), 0)


def _compute(operation, *args, **kwargs):
    """Returns what an operation gives in real numbers."""
    real = keras.tree.map_structure(_real, args)
    return _real_numbers(keras.ops.convert_to_numpy(operation(*real, **kwargs)))


def _real_numbers(values):
    return lambda scale: np.floor(values / np.float64(scale) + 0.5)


def _move(operation, *args, **kwargs):
    first = keras.tree.flatten(args)[0]
    values = keras.tree.map_structure(
        lambda x: x.values if isinstance(x, Centered) else x, args
    )
    moved = operation(*values, **kwargs)
    return keras.tree.map_structure(
        lambda x: Centered(keras.ops.convert_to_numpy(x), first.step, first.zero_point),
        moved,
    )


def _upsample(operation, x):
    """Returns an enlarged map, interpolated by weights of 11 bits, halves up."""
    if operation.interpolation == "nearest":
        return _move(operation, x)
    height, width = x.values.shape[1:3]
    sizes = (height * operation.size[0], width * operation.size[1])
    return dataclasses.replace(x, values=_interpolate(x.values, sizes))


def _resize(operation, x):
    """Returns a map resized by a fraction, as `_upsample` does."""
    resized = operation.resize_by(_interpolate, x.values)
    return dataclasses.replace(x, values=keras.ops.convert_to_numpy(resized))


def _resize_to(operation, x):
    """Returns a map resized to a number of pixels, as `_upsample` does."""
    if operation.interpolation == "nearest":
        return _move(operation, x)
    return dataclasses.replace(x, values=_interpolate(x.values, operation.size))


def _interpolate(values, sizes):
    values = np.asarray(values).astype(np.int64)
    for axis, size in ((2, sizes[1]), (1, sizes[0])):
        length = values.shape[axis]
        position = np.clip((np.arange(size) + 0.5) * length / size - 0.5, 0, length - 1)
        first = np.floor(position).astype(int)
        weight = np.rint((position - first) * 2048).astype(np.int64)
        below, above = (
            values.take(np.minimum(first + i, length - 1), axis) for i in (0, 1)
        )
        column = [-1 if i == axis else 1 for i in range(4)]
        values = below * 2048 + (above - below) * weight.reshape(column)
    return ((values + (1 << 21)) >> 22).astype(np.float32)


def _average(pool, x):
    """Returns means of windows of the integers in a file, halves away from 0."""
    levels = tf.constant(x.values + x.zero_point, tf.float64)
    ones = np.ones((*pool.pool_size, levels.shape[-1], 1))
    sums, counts = (
        tf.nn.depthwise_conv2d(y, ones, (1, *pool.strides, 1), pool.padding.upper())
        for y in (levels, tf.ones_like(levels))
    )
    sums, counts = sums.numpy(), counts.numpy()
    means = np.sign(sums) * ((np.abs(sums) + counts // 2) // counts)
    return dataclasses.replace(x, values=np.float32(means - x.zero_point))


def _where(operation, condition, a, b):
    """Returns the values of `a` where `condition` is true, else those of `b`."""
    condition = keras.ops.convert_to_numpy(condition)
    return dataclasses.replace(a, values=np.where(condition, a.values, b.values))


# Moves that compute new values.
INTERPOLATING = {
    keras.layers.AveragePooling2D: _average,
    keras.layers.UpSampling2D: _upsample,
    BilinearResize: _resize,
    op.Resize: _resize_to,
    op.Where: _where,
}


def _real(x):
    if isinstance(x, Centered):
        return x.values * x.scale
    return x
