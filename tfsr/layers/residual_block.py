import keras
from keras import ops

from tfsr.layers.grouped_conv import GroupedConv2D


@keras.saving.register_keras_serializable(package="tfsr")
class ResidualBlock(keras.layers.Layer):
    """Two 3x3 convolutions and a shortcut, with a ReLU after the addition.

    Args:
        filters: Channels of the convolutions and of the input.
        initializer: As for `GroupedConv2D`.

    Input shape:
        `(B, H, W, filters)`.

    Output shape:
        `(B, H, W, filters)`.

    Reference:
        Ahn et al., ECCV 2018, equation (1), https://arxiv.org/abs/1803.08664
    """

    def __init__(self, filters, initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.initializer = initializer
        self.conv_0 = GroupedConv2D(filters, 3, initializer=initializer, name="conv_0")
        self.conv_1 = GroupedConv2D(filters, 3, initializer=initializer, name="conv_1")

    def build(self, input_shape):
        self.conv_0.build(input_shape)
        self.conv_1.build(input_shape)

    def call(self, inputs):
        x = ops.relu(self.conv_0(inputs))
        return ops.relu(self.conv_1(x) + inputs)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "initializer": self.initializer,
        }
