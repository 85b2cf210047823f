import keras
from keras import ops

from tfsr.layers.grouped_conv import GroupedConv2D


@keras.saving.register_keras_serializable(package="tfsr")
class WeightNormConv2D(GroupedConv2D):
    """Convolves with a kernel whose filters have a length and a direction of their own.

    The kernel of output channel f is gain_f * v_f / |v_f|, and trained are the gain and
    the direction v. Directions start uniform as the kernels of `GroupedConv2D` do, all
    gains at one value, biases at 0.

    Args:
        filters: Channels of the output.
        kernel_size: Side k of the square kernel.
        gain: Initial length of every filter.

    Input shape:
        `(B, H, W, C)`.

    Output shape:
        `(B, H, W, filters)`.

    Reference:
        Salimans and Kingma, NeurIPS 2016, https://arxiv.org/abs/1602.07868
    """

    def __init__(self, filters, kernel_size, gain=1.0, **kwargs):
        super().__init__(filters, kernel_size, **kwargs)
        self.gain = gain

    @property
    def kernel(self):
        """The `(k, k, C, filters)` kernel that the layer convolves with."""
        direction = ops.convert_to_tensor(self.direction)
        square = ops.sum(ops.square(direction), axis=(0, 1, 2))
        return direction * (ops.convert_to_tensor(self.length) * ops.rsqrt(square))

    def get_config(self):
        return {**super().get_config(), "gain": self.gain}

    def _add_weights(self, shape, uniform):
        self.direction = self.add_weight(
            name="direction", shape=shape, initializer=uniform()
        )
        self.length = self.add_weight(
            name="length",
            shape=shape[-1:],
            initializer=keras.initializers.Constant(self.gain),
        )
        self.bias = self.add_weight(name="bias", shape=shape[-1:], initializer="zeros")
