"""Rules that compute means of pixels by convolutions."""

import keras
import numpy as np

from tfsr.layers import GroupedConv2D
from tfsr.tflite.lowering.engine import built, name_of, producer, weights_of

MAX_CHANNELS_POOLED_DENSELY = 4


def pool_in_convolution(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """k * mean(x) = k' * x for a 1x1 convolution k of the means of s x s pixels.

    k' is s x s with stride s and has k / s^2 at every tap. In 8 bits this saves one
    rounding. In float32 `pool_as_convolution` followed by k is faster.
    """
    if not _is_pointwise(operation):
        return None
    pool, x = producer(args[0])
    if not is_block_mean(pool):
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
    if not is_block_mean(operation):
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


def is_block_mean(operation: keras.Operation) -> bool:
    """Returns whether an operation is the mean of square blocks, side by side."""
    return _is_mean(operation) and operation.strides == operation.pool_size
