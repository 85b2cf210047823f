"""TensorFlow calls for operations that Keras exports badly to TFLite, or not at all.

Each function takes an operation and its argument, and returns its output.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tfsr.layers import BilinearResize, GroupedConv2D


def grouped(operation: Any, x: Any) -> Any:
    """Runs a grouped convolution by `tf.nn`; Keras' XLA call cannot be converted."""
    x = tf.nn.conv2d(x, operation.kernel, strides=1, padding="SAME")
    if operation.bias is None:
        return x
    return tf.nn.bias_add(x, _unequal(operation.bias))


def conv(operation: Any, x: Any) -> Any:
    """Runs a Keras convolution without XLA, which Keras uses for grouped ones."""
    x = tf.nn.conv2d(
        x,
        operation.kernel,
        operation.strides,
        operation.padding.upper(),
        dilations=operation.dilation_rate,
    )
    if operation.bias is not None:
        x = tf.nn.bias_add(x, _unequal(operation.bias))
    return operation.activation(x)


def _unequal(bias):
    """Returns a bias; if all values are equal, the first is changed in its last bit.

    TensorFlow's converter (2.21) stores equal values as a single integer in the first
    filter's quantization steps, though each filter has steps of its own.
    """
    with tf.init_scope():  # the graph being built has no values yet
        values = keras.ops.convert_to_numpy(bias)
    if len(values) > 1 and (values == values[0]).all():
        values = values.copy()
        values[0] = np.nextafter(values[0], np.float32(np.inf))
    return values


def upsampling(operation: Any, x: Any) -> Any:
    """Runs nearest upsampling by a power of two as pixel shuffles of copied channels.

    Keras' own upsampling would become five-dimensional tiles, which no delegate takes.
    After a 1x1 convolution, one transposed convolution gives the same, but is slower.
    """
    factor, other = operation.size
    steps = factor.bit_length() - 1
    if operation.interpolation != "nearest":  # Keras' own needs known sizes
        sides = tf.shape(x)[1:3] * operation.size
        return tf.image.resize(x, sides, operation.interpolation)
    if (factor, other) != (2**steps, 2**steps):
        return operation(x)
    for _ in range(steps):
        x = tf.nn.depth_to_space(tf.concat([x] * 4, axis=-1), 2)
    return x


def bilinear(operation: Any, x: Any) -> Any:
    """Runs bilinear resizing by `tf.image.resize`; Keras' own needs known sizes."""
    return operation.resize_by(tf.image.resize, x)


EMITTERS: dict[type, Callable] = {
    GroupedConv2D: grouped,
    keras.layers.Conv2D: conv,
    keras.layers.UpSampling2D: upsampling,
    BilinearResize: bilinear,
}
