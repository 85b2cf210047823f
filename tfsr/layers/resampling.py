"""Resampling between the levels of a feature pyramid."""

from fractions import Fraction

import keras
from keras import ops

from tfsr.layers.padding import CropToScale, crop, pad_to_multiple

RATIOS = ("1/2", "2/3", "3/4")


@keras.saving.register_keras_serializable(package="tfsr")
class BilinearResize(keras.layers.Layer):
    """Resizes by a fraction p/q, bilinear with half-pixel centers.

    Output pixel i lies at (i + 1/2) q/p - 1/2 in the input; beyond the border, the
    outermost pixels repeat. Sizes are rounded up, which does not move the pixels.

    Args:
        ratio: Output size over input size, such as `"2/3"` or `"2"`.

    Input shape:
        `(B, H, W, C)`.

    Output shape:
        `(B, H * ratio, W * ratio, C)`, rounded up.
    """

    def __init__(self, ratio, **kwargs):
        super().__init__(**kwargs)
        self.ratio = ratio
        self.fraction = Fraction(ratio)

    def call(self, inputs):
        return self.resize_by(_bilinear, inputs)

    def resize_by(self, resize, x):
        """Returns `x` resized by the function `resize(x, (height, width))`.

        `x` is padded first, so that `resize` enlarges by exactly `ratio`.
        """
        wanted = self._sizes(ops.shape(x))
        x = pad_to_multiple(x, self.fraction.denominator)
        return crop(resize(x, self._sizes(ops.shape(x))), *wanted)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *self._sizes(input_shape), input_shape[-1])

    def get_config(self):
        return {**super().get_config(), "ratio": self.ratio}

    def _sizes(self, shape):
        p, q = self.fraction.numerator, self.fraction.denominator
        return tuple(n if n is None else -(-n * p // q) for n in shape[1:3])


def _bilinear(x, sizes):
    if all(isinstance(size, int) for size in sizes):
        return ops.image.resize(x, sizes)
    # Keras' own resizing needs known sizes, which a graph for any size does not have.
    _, height, width, _ = ops.shape(x)
    rows = ops.cast(_weights(height, sizes[0]), x.dtype)
    columns = ops.cast(_weights(width, sizes[1]), x.dtype)
    return ops.einsum("yh,xw,bhwc->byxc", rows, columns, x)


def _weights(size, wanted):
    """Returns the `(wanted, size)` weights of bilinear resizing along one axis."""
    step = ops.cast(size, "float32") / ops.cast(wanted, "float32")
    position = (ops.cast(ops.arange(wanted), "float32") + 0.5) * step - 0.5
    pixel = ops.cast(ops.arange(size), "float32")
    position = ops.clip(position, 0.0, pixel[-1])
    return ops.relu(1 - ops.abs(position[:, None] - pixel))


def check_ratio(ratio: str, resampling: str = "bilinear") -> None:
    """Raises `ValueError` unless `resampling` can be used between levels of `ratio`."""
    if ratio not in RATIOS:
        raise ValueError(f"`ratio` must be one of {RATIOS}. Received: ratio={ratio}.")
    if ratio != "1/2" and resampling != "bilinear":
        raise ValueError(
            f'`ratio` must be "1/2" for {resampling} resampling. '
            f"Received: ratio={ratio}."
        )


def downsample(x: keras.KerasTensor, ratio: str, **kwargs) -> keras.KerasTensor:
    """Returns the next coarser level of `x` by bilinear resizing.

    `(B, H, W, C)` to `(B, H * ratio, W * ratio, C)`.

    At "1/2" this averages 2x2 pixels, and H and W must be even. At other ratios the
    sizes are rounded up.
    """
    if ratio == "1/2":
        return keras.layers.AveragePooling2D(2, **kwargs)(x)
    return BilinearResize(ratio, **kwargs)(x)


def upsample(
    x: keras.KerasTensor,
    like: keras.KerasTensor,
    ratio: str,
    interpolation: str = "bilinear",
    **kwargs,
) -> keras.KerasTensor:
    """Returns `x` enlarged to the size of `like`, the next finer level.

    Args:
        x: A level, `(B, H, W, C)`.
        like: The next finer level.
        ratio: Size of `x` over the size of `like`: `"1/2"`, `"2/3"` or `"3/4"`.
        interpolation: `"bilinear"`, or `"nearest"` at 1/2.
        **kwargs: Arguments of the layer that resizes, such as its name.
    """
    if interpolation == "nearest":
        return keras.layers.UpSampling2D(2, **kwargs)(x)
    x = BilinearResize(str(1 / Fraction(ratio)), **kwargs)(x)
    return x if ratio == "1/2" else CropToScale(1)([x, like])


def feature_pyramid(x: keras.KerasTensor, levels: int, ratio: str) -> list:
    """Returns the list of `levels` levels: `x`, `x` downsampled once, twice and so on.

    Fan et al., AAAI 2020, Section 3.2, https://arxiv.org/abs/1912.09028
    """
    pyramid = [x]
    for s in range(1, levels):
        pyramid.append(downsample(pyramid[-1], ratio, name=f"pyramid_{s}"))
    return pyramid
