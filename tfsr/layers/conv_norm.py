import keras
from keras import ops

from tfsr.layers.grouped_conv import GroupedConv2D


@keras.saving.register_keras_serializable(package="tfsr")
class ConvNorm(keras.layers.Layer):
    """A convolution with He-normal initial values, then batch normalization.

    Args:
        filters: Channels of the output.
        kernel_size: Side of the square kernel.

    Input shape:
        `(B, H, W, C)`.

    Output shape:
        `(B, H, W, filters)`.
    """

    def __init__(self, filters, kernel_size, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.kernel_size = kernel_size
        self.conv = GroupedConv2D(
            filters, kernel_size, initializer="he_normal", name="conv"
        )
        # PyTorch's defaults, which the authors used: its momentum 0.1 is Keras' 0.9.
        self.norm = keras.layers.BatchNormalization(
            momentum=0.9, epsilon=1e-5, name="norm"
        )

    def build(self, input_shape):
        self.conv.build(input_shape)
        self.norm.build(self.compute_output_shape(input_shape))

    def call(self, inputs):
        return self.norm(self.conv(inputs))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.filters)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
        }


def leaky_relu(x):
    """Returns x where it is positive and 0.2 x elsewhere."""
    return ops.leaky_relu(x, 0.2)
