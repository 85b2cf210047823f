"""Steps between the levels of a feature pyramid."""

from fractions import Fraction

import keras
from keras import ops

from tfsr.layers.padding import CropToScale, PadToMultiple

RATIOS = ("1/2", "2/3", "3/4")


@keras.saving.register_keras_serializable(package="tfsr")
class BilinearResize(keras.layers.Layer):
    """Resizes by a fraction p/q, bilinear with half-pixel centers.

    Output pixel i is at (i + 1/2) q/p - 1/2 of the input, whose border goes on, for any
    size: sizes are rounded up, and the positions of the other pixels do not change.

    Args:
        ratio: Output size over input size, such as `"2/3"`.

    Input shape:
        `(B, H, W, C)`.

    Output shape:
        `(B, H * ratio, W * ratio, C)`, rounded up.
    """

    def __init__(self, ratio, **kwargs):
        super().__init__(**kwargs)
        self.ratio = ratio
        self.fraction = Fraction(ratio)
        self.pad = PadToMultiple(self.fraction.denominator)

    def call(self, inputs):
        wanted = self._sizes(ops.shape(inputs))
        x = self.pad(inputs)
        sizes = self._sizes(ops.shape(x))
        return ops.image.resize(x, sizes)[:, : wanted[0], : wanted[1]]

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self._sizes(input_shape), input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio}

    def _sizes(self, shape):
        p, q = self.fraction.numerator, self.fraction.denominator
        return tuple(n if n is None else -(-n * p // q) for n in shape[1:3])


def downsample(x, ratio, **kwargs):
    """Returns the next coarser level of `x`, bilinear; a 2x2 average at 1/2.

    Sizes are rounded up; at 1/2 they must be even.
    """
    if ratio == "1/2":
        return keras.layers.AveragePooling2D(2, **kwargs)(x)
    return BilinearResize(ratio, **kwargs)(x)


def upsample(x, like, ratio, interpolation="bilinear", **kwargs):
    """Returns `x` at the size of `like`, the next finer level."""
    if ratio == "1/2":
        return keras.layers.UpSampling2D(2, interpolation=interpolation, **kwargs)(x)
    x = BilinearResize(str(1 / Fraction(ratio)), **kwargs)(x)
    return CropToScale(1)([x, like])


def feature_pyramid(x, levels, ratio):
    """Returns a list of `levels` levels, `x` the finest, each downsampled to the next.

    Fan et al., AAAI 2020, Section 3.2, https://arxiv.org/abs/1912.09028
    """
    pyramid = [x]
    for s in range(1, levels):
        pyramid.append(downsample(pyramid[-1], ratio, name=f"pyramid_{s}"))
    return pyramid
