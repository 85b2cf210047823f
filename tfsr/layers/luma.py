import keras
from keras import ops

from tfsr.data.bt601 import LUMA_BLACK, LUMA_WEIGHTS

WEIGHTS = tuple(weight / 255 for weight in LUMA_WEIGHTS)
BLACK = LUMA_BLACK / 255


@keras.saving.register_keras_serializable(package="tfsr")
class Luma(keras.layers.Layer):
    """Computes BT.601 luma from RGB in [0, 1], as MATLAB's `rgb2ycbcr` does.

    Input shape:
        `(B, H, W, 3)`.

    Output shape:
        `(B, H, W, 1)` in [16 / 255, 235 / 255].
    """

    def call(self, inputs):
        weights = ops.convert_to_tensor(WEIGHTS, inputs.dtype)
        return ops.sum(inputs * weights, axis=-1, keepdims=True) + BLACK

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 1)
