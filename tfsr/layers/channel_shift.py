import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tfsr")
class ChannelShift(keras.layers.Layer):
    """Adds a constant to every channel, such as the negative mean of an image set.

    Args:
        offset: One number a channel.

    Input shape:
        `(B, H, W, len(offset))`.

    Output shape:
        `(B, H, W, len(offset))`.
    """

    def __init__(self, offset, **kwargs):
        super().__init__(**kwargs)
        self.offset = tuple(offset)

    def call(self, inputs):
        return inputs + ops.convert_to_tensor(self.offset, dtype=inputs.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "offset": self.offset}
