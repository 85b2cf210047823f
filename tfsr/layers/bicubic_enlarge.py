import keras
import numpy as np
from keras import ops

from tfsr.data.resize import cubic


@keras.saving.register_keras_serializable(package="tfsr")
class BicubicEnlarge(keras.layers.Layer):
    """Enlarges images as MATLAB's bicubic `imresize` does on floats.

    Args:
        scale: Upscaling factor, 2, 3 or 4.

    Input shape:
        `(B, H, W, C)`, H and W at least 2.

    Output shape:
        `(B, H * scale, W * scale, C)`.

    Reference:
        Keys, IEEE Transactions on Acoustics, Speech, and Signal Processing 1981.
    """

    def __init__(self, scale, **kwargs):
        super().__init__(**kwargs)
        if scale not in (2, 3, 4):
            raise ValueError(f"`scale` must be 2, 3 or 4. Received: scale={scale}.")
        self.scale = scale

    def call(self, inputs):
        kernel = ops.convert_to_tensor(self.kernel(inputs.shape[-1]), inputs.dtype)
        x = ops.conv(mirror(inputs), kernel, padding="valid")
        return ops.depth_to_space(x, self.scale)

    def compute_output_shape(self, input_shape):
        b, h, w, c = input_shape
        return (b, h and h * self.scale, w and w * self.scale, c)

    def get_config(self):
        return {**super().get_config(), "scale": self.scale}

    def kernel(self, channels):
        """Returns the kernel that enlarges if a pixel shuffle follows the convolution.

        `(5, 5, channels, channels * scale^2)`. The map must be padded with two mirrored
        pixels on each side.
        """
        weights = enlarging_weights(self.scale)
        pixels = np.einsum("iu,jv->uvij", weights, weights)
        kernel = np.einsum("uvij,cd->uvcijd", pixels, np.eye(channels))
        return kernel.reshape(5, 5, channels, -1).astype("float32")


def mirror(x):
    """Returns `x` padded with two mirrored pixels a side, `(B, H + 4, W + 4, C)`.

    It concatenates slices because TFLite's delegates have no mirror padding.
    """
    x = ops.concatenate([x[:, 1:2], x[:, :1], x], axis=1)
    x = ops.concatenate([x, x[:, -1:], x[:, -2:-1]], axis=1)
    x = ops.concatenate([x[:, :, 1:2], x[:, :, :1], x], axis=2)
    return ops.concatenate([x, x[:, :, -1:], x[:, :, -2:-1]], axis=2)


def enlarging_weights(scale: int) -> np.ndarray:
    """Returns the bicubic weights along one axis, `(scale, 5)`.

    Row i has the weights of input pixels p - 2 ... p + 2 in output pixel scale * p + i.
    """
    offsets = (np.arange(scale) + 0.5) / scale - 0.5
    return cubic(offsets[:, None] - np.arange(-2, 3))
