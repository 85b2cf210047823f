"""Rules that make one convolution of several, or another of one."""

import keras
import numpy as np
from keras import layers

from tfsr.graph import operations as op
from tfsr.layers import GroupedConv2D
from tfsr.tflite.lowering.engine import (
    convolution,
    is_linear,
    is_shared,
    name_of,
    producer,
    read_once,
    values_of,
    weights_of,
    with_weights,
)

# What 16 filters cost at a time, the runtime's tile. A multiply-add of a transposed
# convolution took about twice as long as an ordinary one's (int8, one thread, AVX-512).
TILE, TRANSPOSED_COST = 16, 2
MAX_CHANNELS_TWICE = 64


def pointwise_after_convolution(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """k' * (k * x + b) + b' = (k' k) * x + (k' b + b') for a 1x1 convolution k'.

    It applies where k' k has no more weights than both, and levels share neither.
    """
    if not _is_dense(operation) or operation.kernel_size != 1:
        return None
    conv, x = producer(args[0])
    if not (_is_dense(conv) or _is_dense_layer(conv)) or not read_once(args[0]):
        return None
    (first, bias), (second, more) = weights_of(conv), weights_of(operation)
    kernel = first @ second[0, 0]
    if kernel.size > first.size + second.size or is_shared(args[0], operation):
        return None
    return with_weights(conv, kernel, bias @ second[0, 0] + more)(x)


def pointwise_before_convolution(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """k * (k' * x) + b = (k k') * x + b for a 1x1 convolution k' without bias.

    With a bias it would not be so at the border, where k reads zeros. It applies where
    k k' has no more weights than both, and levels share neither.
    """
    if not _is_dense(operation):
        return None
    conv, x = producer(args[0])
    pointwise = _is_dense(conv) and conv.kernel_size == 1
    if not pointwise or not read_once(args[0]):
        return None
    (first, before), (second, bias) = weights_of(conv), weights_of(operation)
    kernel = np.einsum("cm,yxmf->yxcf", first[0, 0], second)
    if before.any() or kernel.size > first.size + second.size:
        return None
    if is_shared(args[0], operation):
        return None
    return with_weights(operation, kernel, bias)(x)


def transposed_as_shuffle(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """k * x = shuffle(k' * x) for a transposed k of stride s; k' has s^2 its filters.

    Along an axis, the output s q + r sums the taps t = r + p - s d of the inputs q + d,
    where "same" padding cuts p = (k - s) // 2 outputs off. So k' has at d, for each r,
    the tap t, and zeros where k has none (Shi et al., "Is the deconvolution layer the
    same as a convolutional layer?", https://arxiv.org/abs/1609.07009). It applies where
    that is faster: an RGB image's three filters leave most of a transposed tile empty.
    """
    if type(operation) is not layers.Conv2DTranspose or not is_linear(operation):
        return None
    (k, other), (s, step) = operation.kernel_size, operation.strides
    plain = {*operation.dilation_rate} == {1} and operation.output_padding is None
    if k != other or s != step or s == 1 or not plain:
        return None
    if operation.padding == "valid" and k > s:  # whose output is larger
        return None
    kernel, bias = weights_of(operation)
    cut = max(k - s, 0) // 2
    reach = max((s - 1 + cut) // s, (k - 1 - cut) // s)
    side = 2 * reach + 1
    filters, channels = kernel.shape[2:]
    ours, theirs = (-(-n // TILE) * TILE for n in (s**2 * filters, filters))
    if side**2 * ours > TRANSPOSED_COST * k**2 * theirs:
        return None
    low = np.zeros((side, side, channels, s, s, filters))
    for i, j in np.ndindex(s, s):
        for dy, dx in np.ndindex(side, side):
            y, x = (r + cut - s * (d - reach) for r, d in ((i, dy), (j, dx)))
            if 0 <= y < k and 0 <= x < k:
                low[dy, dx, :, i, j] = kernel[y, x].T
    low = low.reshape(side, side, channels, -1)
    conv = convolution(name_of(operation), low, np.tile(bias, s**2))
    return keras.ops.depth_to_space(conv(*args), s)


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


def slopes_as_two_relus(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """k' * prelu(k * x + b) = [k', -a k'] * relu([k, -k] * x + [b, -b]).

    For prelu(y) = relu(y) - a relu(-y) has a slope a for each channel. The 8-bit
    delegate takes no PReLU, and a ReLU costs it nothing; up to 64 channels the twice
    as large convolutions are no slower than it.
    """
    if not _is_dense(operation):
        return None
    prelu, y = producer(args[0])
    if type(prelu) is not layers.PReLU:
        return None
    conv, x = producer(y)
    if not _is_dense(conv) or not read_once(y) or not read_once(args[0]):
        return None
    slopes = values_of(prelu.alpha)
    if slopes.shape[:-1] != (1, 1):
        return None
    if y.shape[-1] > MAX_CHANNELS_TWICE:
        return None
    (first, bias), (second, more) = weights_of(conv), weights_of(operation)
    first, bias = (np.concatenate([w, -w], axis=-1) for w in (first, bias))
    second = np.concatenate([second, -slopes[..., None] * second], axis=2)
    both = keras.ops.relu(with_weights(conv, first, bias)(x))
    return with_weights(operation, second, more)(both)


def prune_unused_channels(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """(k * x + b)[i:j] = k[i:j] * x + b[i:j], if nothing reads the other channels."""
    if not isinstance(operation, op.GetItem):
        return None
    y, key = args
    conv, x = producer(y)
    if not _is_dense(conv) or not read_once(y) or not isinstance(key, tuple | list):
        return None
    *whole, channels = key
    of_channels = len(key) == 4 or Ellipsis in whole
    if not of_channels or any(part not in (Ellipsis, slice(None)) for part in whole):
        return None
    if not isinstance(channels, slice):
        return None
    kernel, bias = weights_of(conv)
    return with_weights(conv, kernel[..., channels], bias[channels])(x)


def _is_dense(conv):
    return isinstance(conv, GroupedConv2D) and conv.groups == 1


def _is_dense_layer(conv):
    return type(conv) is layers.Conv2D and conv.groups == 1 and is_linear(conv)
