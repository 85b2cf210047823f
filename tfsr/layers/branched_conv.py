"""Multi-scale convolution without the smaller maps: what its low branch computes."""

import keras
from keras import ops

from tfsr.layers.multi_scale_conv import MultiScaleConv2D


def _down():  # D_2
    return keras.layers.MaxPooling2D(1, strides=2, name="down")


def _up():  # U_2
    return keras.layers.UpSampling2D(2, name="up")


def _pool():  # Pool_s=1: 2x2 pixels from each one on, so that every second is Pool_s=2
    return keras.layers.AveragePooling2D(2, strides=1, padding="same", name="pool")


FUNCTIONS = {  # Table 1; what the low branch makes of its convolution W
    "w_d1": lambda conv: [conv],
    "w_d2": lambda conv: [Dilated(conv)],
    "w_d2_shared": lambda conv: [Dilated(conv)],
    "w_d2_d2u2": lambda conv: [Dilated(conv), _down(), _up()],
    "pool_w_d2_d2u2": lambda conv: [_pool(), Dilated(conv), _down(), _up()],
}


@keras.saving.register_keras_serializable(package="tfsr")
class BranchedConv2D(MultiScaleConv2D):
    """Convolves two branches of one resolution, all with all, as in Fig. 2 (a).

    All four convolutions together are one ordinary convolution of the branches'
    channels. One of Table 1's functions takes the place of the low branch's own, at the
    same mult-adds.

    Args:
        filters: Channels of each output branch, the high one first.
        kernel_size: Side of the kernels.
        function: `"w_d1"` for an ordinary convolution; `"w_d2"` for one of dilation
            2; `"w_d2_shared"` for that with the kernel of the high branch;
            `"w_d2_d2u2"` for nearest down- and upsampling by 2 after it;
            `"pool_w_d2_d2u2"` for an average of 2x2 pixels before that, stride 1.

    Input shape:
        A list of `(B, H, W, C_i)`, H and W even.

    Output shape:
        A list of `(B, H, W, filters[j])`.

    Reference:
        Feng et al., ECCV 2020, Table 1 and Fig. 4, https://arxiv.org/abs/2008.00239
    """

    def __init__(
        self, filters, kernel_size=3, function="w_d1", name=None, dtype=None, **kwargs
    ):
        if function not in FUNCTIONS:
            raise ValueError(
                f"`function` must be one of {tuple(FUNCTIONS)}. "
                f"Received: function={function}."
            )
        unknown = kwargs.keys() - {"trainable"}
        if unknown:  # of the base class, but without a meaning here
            raise ValueError(
                f"`{min(unknown)}` is no argument of branches of one resolution. "
                f"Received: {min(unknown)}={kwargs[min(unknown)]}."
            )
        intra = "shared" if function == "w_d2_shared" else "own"
        super().__init__(filters, kernel_size, intra, name=name, dtype=dtype, **kwargs)
        self.function = function

    def compute_output_shape(self, input_shape):
        return [(*input_shape[0][:-1], filters) for filters in self.filters]

    def get_config(self):
        return {
            **keras.layers.Layer.get_config(self),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "function": self.function,
        }

    def _between(self, i, j, channels):
        return [self._conv(j, self.kernel_size, channels, f"conv_{i}_{j}")]

    def _within(self, j, channels):
        (conv,) = super()._within(j, channels)
        return FUNCTIONS[self.function](conv) if j else [conv]


class Dilated(keras.layers.Layer):
    """Gives a convolution a dilation of 2: its taps read every second pixel.

    Every second pixel of every second row is one of four grids, and within each of
    them the convolution is an ordinary one.

    Args:
        conv: A built convolution with "same" padding, which may serve elsewhere too.

    Input shape:
        `(B, H, W, C)`, H and W even.

    Output shape:
        `(B, H, W, conv.filters)`.
    """

    def __init__(self, conv, **kwargs):
        super().__init__(**kwargs)
        self.conv = conv

    def call(self, inputs):
        grids = ops.split(ops.space_to_depth(inputs, 2), 4, axis=-1)
        outputs = [self.conv(grid) for grid in grids]
        return ops.depth_to_space(ops.concatenate(outputs, axis=-1), 2)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.conv.filters)
