import keras
from keras import ops

from tfsr.layers.grouped_conv import GroupedConv2D

FIXED = ("initializer", "use_bias")


@keras.saving.register_keras_serializable(package="tfsr")
class WeightNormConv2D(GroupedConv2D):
    """Convolves with weight-normalized filters: length and direction train separately.

    The kernel of output channel f is gain_f * v_f / |v_f|, with the gain and the
    direction v trained. Directions start uniform like the kernels of `GroupedConv2D`,
    gains at `gain`, biases at 0.

    Args:
        filters: Channels of the output.
        kernel_size: Side k of the square kernel.
        gain: Initial length of every filter.
        groups: As for `GroupedConv2D`.
        lowering: As for `GroupedConv2D`.

    Input shape:
        `(B, H, W, C)`.

    Output shape:
        `(B, H, W, filters)`.

    Reference:
        Salimans and Kingma, NeurIPS 2016, https://arxiv.org/abs/1602.07868
    """

    def __init__(
        self, filters, kernel_size, gain=1.0, groups=1, lowering="split", **kwargs
    ):
        self._refuse(kwargs, FIXED)
        super().__init__(filters, kernel_size, groups, lowering, **kwargs)
        self.gain = gain

    @property
    def kernel(self):
        """The `(k, k, C / groups, filters)` kernel that the layer convolves with."""
        direction = ops.convert_to_tensor(self.direction)
        square = ops.sum(ops.square(direction), axis=(0, 1, 2))
        kernel = direction * (ops.convert_to_tensor(self.length) * ops.rsqrt(square))
        return ops.cast(kernel, self.compute_dtype)

    def get_config(self):
        config = super().get_config()
        for name in FIXED:
            del config[name]
        return {**config, "gain": self.gain}

    def _add_weights(self, shape, uniform):
        # Not cast: normalizing in 16 bits would miss the length by up to 1 %.
        self.direction = self.add_weight(
            name="direction", shape=shape, initializer=uniform(), autocast=False
        )
        self.length = self.add_weight(
            name="length",
            shape=shape[-1:],
            initializer=keras.initializers.Constant(self.gain),
            autocast=False,
        )
        self.bias = self.add_weight(name="bias", shape=shape[-1:], initializer="zeros")
