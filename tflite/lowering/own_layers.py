"""Rules that write layers of `tfsr.layers`, and what equals them, as convolutions."""

import functools

import keras
import numpy as np

from tfsr.graph import operations as op
from tfsr.layers import (
    BicubicEnlarge,
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
from tfsr.tflite.lowering.engine import (
    built,
    convolution,
    name_of,
    node_of,
    producer,
    values_of,
    weights_of,
    with_weights,
)


def fold_kernels(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """A kernel that is computed from weights is computed once, when training is over.

    For example g v / |v| of lengths g and directions v, or the product of two kernels.
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


def fold_weighted_average(
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
