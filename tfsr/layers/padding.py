"""Images of any size through a network that wants multiples: padded, then cropped."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfsr")
class PadToMultiple(keras.layers.Layer):
    """Repeats the last row and column until height and width are multiples.

    Args:
        multiple: What height and width become multiples of.

    Input shape:
        `(B, H, W, C)`.

    Output shape:
        `(B, H', W', C)`, H' and W' being H and W rounded up.
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
    """Cuts an enlarged image to the size that its original gives.

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


def pad_to_multiple(x, multiple):
    """Returns `x` with its last row and column repeated as in `PadToMultiple`."""
    _, height, width, _ = ops.shape(x)
    # Whether a multiple or not may be unknown until the graph runs, so the most that
    # can be missing is added and the rest is cut off.
    if not _is_multiple(height, multiple):
        x = ops.concatenate([x, *[x[:, -1:]] * (multiple - 1)], axis=1)
        x = x[:, : height + -height % multiple]
    if not _is_multiple(width, multiple):
        x = ops.concatenate([x, *[x[:, :, -1:]] * (multiple - 1)], axis=2)
        x = x[:, :, : width + -width % multiple]
    return x


def crop(x, height, width):
    """Returns the top left part of `x`, which is all of it where that is known."""
    return x if x.shape[1:3] == (height, width) else x[:, :height, :width]


def _is_multiple(size, multiple):
    """Returns whether `size` is known to be a multiple; unknown ones are tensors."""
    return isinstance(size, int) and size % multiple == 0
