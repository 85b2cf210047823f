import keras
from keras import ops

from tfsr.layers.grouped_conv import GroupedConv2D


@keras.saving.register_keras_serializable(package="tfsr")
class ResidualEBlock(keras.layers.Layer):
    """Efficient residual block: two 3x3 group convolutions, then a pointwise one.

    Args:
        filters: Channels of the convolutions and of the input.
        groups: Groups of the 3x3 convolutions; must divide `filters`.
        initializer: As for `GroupedConv2D`.

    Input shape:
        `(B, H, W, filters)`.

    Output shape:
        `(B, H, W, filters)`.

    Reference:
        Ahn et al., ECCV 2018, section 3.2 and Fig. 3 (b),
        https://arxiv.org/abs/1803.08664
    """

    def __init__(self, filters, groups, initializer=None, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.groups = groups
        self.initializer = initializer
        self.conv_0 = GroupedConv2D(
            filters, 3, groups, initializer=initializer, name="conv_0"
        )
        self.conv_1 = GroupedConv2D(
            filters, 3, groups, initializer=initializer, name="conv_1"
        )
        self.pointwise = GroupedConv2D(
            filters, 1, initializer=initializer, name="pointwise"
        )

    def build(self, input_shape):
        self.conv_0.build(input_shape)
        self.conv_1.build(input_shape)
        self.pointwise.build(input_shape)

    def call(self, inputs):
        x = ops.relu(self.conv_0(inputs))
        x = ops.relu(self.conv_1(x))
        return ops.relu(self.pointwise(x) + inputs)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "groups": self.groups,
            "initializer": self.initializer,
        }
