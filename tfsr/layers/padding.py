"""Padding to a multiple and cropping back, for networks that need such sizes."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfsr")
class PadToMultiple(keras.layers.Layer):
    """Repeats the last row and column until both sides are multiples of a number.

    Args:
        multiple: Height and width of the output are multiples of this.

    Input shape:
        `(B, H, W, C)`.

    Output shape:
        `(B, H', W', C)`, where H' and W' are H and W rounded up to multiples.
    """

    def __init__(self, multiple, **kwargs):
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, inputs):
        return pad_to_multiple(inputs, self.multiple)

    def compute_output_shape(self, input_shape):
        b, h, w, c = input_shape
        return (b, h and h + -h % self.multiple, w and w + -w % self.multiple, c)

    def get_config(self):
        return {**super().get_config(), "multiple": self.multiple}


@keras.saving.register_keras_serializable(package="tfsr")
class CropToScale(keras.layers.Layer):
    """Crops an enlarged image to `scale` times the size of its original.

    Args:
        scale: The upscaling factor.

    Input shape:
        A list of the enlarged `(B, H', W', C)` and the original `(B, H, W, K)`.

    Output shape:
        `(B, H * scale, W * scale, C)`.
    """

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        self.scale = scale

    def call(self, inputs):
        sr, lr = inputs
        _, height, width, _ = ops.shape(lr)
        return crop(sr, height * self.scale, width * self.scale)

    def compute_output_shape(self, input_shape):
        (b, *_, c), (_, h, w, _) = input_shape
        return (b, h and h * self.scale, w and w * self.scale, c)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}


def pad_to_multiple(x: keras.KerasTensor, multiple: int) -> keras.KerasTensor:
    """Returns `x` with its last row and column repeated as in `PadToMultiple`."""
    _, height, width, _ = ops.shape(x)
    # A size may be unknown until the graph runs. So this adds as many rows as can be
    # missing, multiple - 1, and then crops to the multiple.
    if not _is_multiple(height, multiple):
        x = ops.concatenate([x, *[x[:, -1:]] * (multiple - 1)], axis=1)
        x = x[:, : height + -height % multiple]
    if not _is_multiple(width, multiple):
        x = ops.concatenate([x, *[x[:, :, -1:]] * (multiple - 1)], axis=2)
        x = x[:, :, : width + -width % multiple]
    return x


def crop(x: keras.KerasTensor, height: Any, width: Any) -> keras.KerasTensor:
    """Returns the top left `height` x `width` pixels of `x`.

    Where `x` is known to have that size, it is returned as it is.
    """
    return x if x.shape[1:3] == (height, width) else x[:, :height, :width]


def _is_multiple(size, multiple):
    """Returns whether `size` is known (an integer, not a tensor) and a multiple."""
    return isinstance(size, int) and size % multiple == 0
