import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfsr")
class SquareRoot(keras.layers.Layer):
    """Computes the square root, with a gradient of 0 instead of infinity at 0.

    The standard deviation of a flat field needs it.

    Input shape:
        Any.

    Output shape:
        The input's.
    """

    def call(self, inputs):
        positive = inputs > 0
        root = ops.sqrt(ops.where(positive, inputs, 1))
        return ops.where(positive, root, 0)

    def compute_output_shape(self, input_shape):
        return input_shape
