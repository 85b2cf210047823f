import keras
import numpy as np
from keras import ops

KERNEL = np.array([[1, 0], [-1, -1], [0, 1]], np.float32)


@keras.saving.register_keras_serializable(package="tfsr")
class ColorDifferences(keras.layers.Layer):
    """Computes R - G and B - G from RGB: exactly 0 where a pixel is gray.

    Input shape:
        `(B, H, W, 3)`.

    Output shape:
        `(B, H, W, 2)`.
    """

    def call(self, inputs):
        return ops.matmul(inputs, ops.convert_to_tensor(KERNEL, inputs.dtype))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], 2)
