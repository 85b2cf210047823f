"""Rules that move scales and shifts, a x + s, into the convolutions beside them.

a and s are constants, one number a channel or one for all: batch normalization after
training, `Rescaling`, products and sums with numbers.
"""

from typing import Any

import keras
import numpy as np
from keras import layers

from tfsr.graph import operations as op
from tfsr.graph.operators import is_convolution, operator_of
from tfsr.layers import ChannelShift, GroupedConv2D
from tfsr.tflite.lowering.engine import (
    built,
    is_input,
    is_linear,
    name_of,
    node_of,
    producer,
    read_once,
    values_of,
    weights_of,
    with_weights,
)


def affine_after_convolution(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """a (k * x + b) + s = (a k) * x + (a b + s)."""
    found = _affine_alone(operation, args)
    if found is None or not _is_convolution(found[0]):
        return None
    conv, x, factor, shift = found
    kernel, bias = weights_of(conv)
    kernel = kernel * by_output(conv, kernel, factor)
    return with_weights(conv, kernel, factor * bias + shift)(x)


def affine_before_shuffle(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """a shuffle(x) + s = shuffle(a' x + s'), where each block has the same a and s."""
    found = _affine_alone(operation, args)
    if found is None or not isinstance(found[0], op.DepthToSpace):
        return None
    shuffle, x, *affine = found
    factor, shift = (
        np.tile(values, shuffle.block_size**2).astype("float32") for values in affine
    )
    return shuffle(x * factor + shift)


def factor_before_moves(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """a move(x) = move(a x) for one number a, and moves that only rearrange values."""
    if not isinstance(operation, op.Multiply):
        return None
    tensors = [x for x in args if isinstance(x, keras.KerasTensor)]
    numbers = [x for x in args if not isinstance(x, keras.KerasTensor | keras.Variable)]
    if len(tensors) != 1 or len(numbers) != 1 or np.size(numbers[0]) != 1:
        return None
    (x,), moves = tensors, []
    while operator_of(producer(x)[0]).rearranges and read_once(x):
        move, x = producer(x)
        moves.append(move)
    if not moves:
        return None
    x = x * float(np.ravel(numbers[0])[0])
    for move in reversed(moves):
        x = move(x)
    return x


def affine_before_convolution(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """k * (a x + s) + b = (k a) * x + (b + sum(k s)) where no zeros are padded.

    Where they are, it is (k a) * (x + s / a) + b, and a shift stays.
    """
    if not _is_convolution(operation):
        return None
    x, factor, shift = _chain(args[0])
    if x is args[0]:
        return None
    kernel, bias = weights_of(operation)
    scaled = kernel * by_input(operation, kernel, factor)
    if not shift.any():
        return with_weights(operation, scaled, bias)(x)
    if _pads_nothing(operation):
        shifts = kernel * by_input(operation, kernel, shift)
        if isinstance(operation, layers.DepthwiseConv2D):
            bias = bias + shifts.sum(axis=(0, 1)).ravel()
        else:
            bias = bias + shifts.sum(axis=(0, 1, 2))
        return with_weights(operation, scaled, bias)(x)
    if (factor == 1).all() or not factor.all():
        return None
    shifted = ChannelShift((shift / factor).tolist())(x)
    return with_weights(operation, scaled, bias)(shifted)


def affine_as_depthwise(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """a x + s = k * x + s for a depthwise 1x1 convolution k of a.

    In 8 bits it rounds once, and each channel has a step of its own. A product with one
    positive number stays, and so does a shift of the input, which `center_input` moves.
    """
    found = affine_in(operation, args)
    if found is None:
        return None
    y, a, s = found
    x, factor, shift = _chain(y)
    factor, shift = a * factor, a * shift + s
    if (factor == 1).all() and is_input(x):
        return None if y is x else ChannelShift(shift.tolist())(x)
    if (factor == abs(factor[0])).all() and not shift.any():
        return None
    layer = layers.DepthwiseConv2D(1, name=name_of(operation))
    return built(layer, x, [factor[None, None, :, None], shift])(x)


def _affine_alone(operation, args):
    """Returns y's producer, its input, a and s if only a y + s reads y; else None."""
    found = affine_in(operation, args)
    if found is None or not read_once(found[0]):
        return None
    y, factor, shift = found
    return *producer(y), factor, shift


def affine_in(operation: Any, args: Any) -> tuple | None:
    """Returns x, a and s, each `(C,)`, if an operation gives a x + s; else None."""
    tensors = [x for x in args if isinstance(x, keras.KerasTensor)]
    if len(tensors) != 1:
        return None
    (x,) = tensors
    if len(x.shape) != 4 or x.shape[-1] is None:
        return None
    ones = np.ones(x.shape[-1])
    if isinstance(operation, ChannelShift):
        return x, ones, np.array(operation.offset, np.float64)
    if type(operation) is layers.BatchNormalization and operation.axis in (-1, 3):
        return x, *_normalization(operation, ones)
    if type(operation) is layers.Normalization:
        return _of_data(operation, x, ones)
    if type(operation) is layers.Rescaling:
        return x, operation.scale * ones, operation.offset * ones
    if isinstance(operation, op.Negative):
        return x, -ones, 0 * ones
    if not isinstance(operation, ARITHMETIC) or len(args) != 2:
        return None
    constant = _by_channel(args[1] if args[0] is x else args[0], len(ones))
    if constant is None:
        return None
    if isinstance(operation, op.Multiply):
        return x, constant, 0 * ones
    if isinstance(operation, op.Add):
        return x, ones, constant
    if isinstance(operation, op.Subtract):
        return (x, ones, -constant) if args[0] is x else (x, -ones, constant)
    return (x, 1 / constant, 0 * ones) if args[0] is x and constant.all() else None


ARITHMETIC = (op.Multiply, op.Add, op.Subtract, op.Divide, op.TrueDivide)


def _normalization(norm, ones):
    """Returns scale and shift of batch normalization after training."""
    mean, variance = map(values_of, (norm.moving_mean, norm.moving_variance))
    factor = ones / np.sqrt(variance + norm.epsilon)
    factor = factor * values_of(norm.gamma) if norm.scale else factor
    offset = values_of(norm.beta) if norm.center else 0
    return factor, offset - factor * mean


def _of_data(norm, x, ones):
    """Returns x, scale and shift of a normalization by the mean of a data set."""
    mean, variance = (
        _by_channel(values, len(ones)) for values in (norm.mean, norm.variance)
    )
    if mean is None or variance is None:
        return None
    deviation = np.maximum(np.sqrt(variance), keras.config.epsilon())
    if norm.invert:
        return x, deviation, mean
    return x, 1 / deviation, -mean / deviation


def _by_channel(constant, channels):
    """Returns `(C,)` of a constant that is the same at every pixel; else None."""
    if isinstance(constant, keras.Variable | keras.KerasTensor):
        return None
    values = np.asarray(keras.ops.convert_to_numpy(constant), np.float64)
    last = values.shape[-1:] or (1,)
    if values.ndim > 4 or values.size != last[0] or last[0] not in (1, channels):
        return None
    return np.broadcast_to(values.ravel(), (channels,))


def _chain(x):
    """Returns y, a and s where x = a y + s, by all scales and shifts before x."""
    factor, shift = np.ones(x.shape[-1]), np.zeros(x.shape[-1])
    while len(x.shape) == 4:
        node = node_of(x)
        found = affine_in(node.operation, node.arguments.args)
        if found is None:
            break
        x, a, s = found
        factor, shift = factor * a, factor * s + shift
    return x, factor, shift


def _is_convolution(operation):
    return is_convolution(operation) and is_linear(operation)


def _pads_nothing(conv):
    """Returns whether every output reads as many pixels as the kernel has."""
    if isinstance(conv, GroupedConv2D):
        return conv.kernel_size == 1
    transposed = isinstance(conv, layers.Conv2DTranspose)
    return not transposed and (conv.padding == "valid" or {*conv.kernel_size} == {1})


def by_output(
    conv: keras.layers.Layer, kernel: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Returns `(filters,)` in a shape that multiplies a kernel filter by filter."""
    if isinstance(conv, layers.DepthwiseConv2D):
        return values.reshape(kernel.shape[2:])
    return values[:, None] if isinstance(conv, layers.Conv2DTranspose) else values


def by_input(
    conv: keras.layers.Layer, kernel: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """Returns `(C,)` in a shape that multiplies a kernel by the channels it reads."""
    if isinstance(conv, layers.DepthwiseConv2D):
        return values[:, None]
    if isinstance(conv, layers.Conv2DTranspose):
        return values
    groups = len(values) // kernel.shape[2]
    return np.repeat(values.reshape(groups, -1).T, kernel.shape[-1] // groups, axis=1)
