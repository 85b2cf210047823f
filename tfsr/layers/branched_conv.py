"""MS3-Conv's study of the low branch, with both branches at full resolution."""

import keras
from keras import ops

from tfsr.layers.multi_scale_conv import MultiScaleConv2D


def _down():  # D_2
    return keras.layers.MaxPooling2D(1, strides=2, name="down")


def _up():  # U_2
    return keras.layers.UpSampling2D(2, name="up")


def _pool():  # Pool_s=1: a 2x2 window at each pixel; every second output is Pool_s=2
    return keras.layers.AveragePooling2D(2, strides=1, padding="same", name="pool")


FUNCTIONS = {  # Table 1: the layers of the low branch, given its convolution W
    "w_d1": lambda conv: [conv],
    "w_d2": lambda conv: [Dilated(conv)],
    "w_d2_shared": lambda conv: [Dilated(conv)],
    "w_d2_d2u2": lambda conv: [Dilated(conv), _down(), _up()],
    "pool_w_d2_d2u2": lambda conv: [_pool(), Dilated(conv), _down(), _up()],
}


@keras.saving.register_keras_serializable(package="tfsr")
class BranchedConv2D(MultiScaleConv2D):
    """Convolves two branches of one resolution, each into both, as in Fig. 2 (a).

    The four convolutions together equal one ordinary convolution of all channels. A
    function of Table 1, at the same mult-adds, then replaces the convolution from the
    low branch to itself.

    Args:
        filters: Channels of each output branch, the high one first.
        kernel_size: Side of the kernels.
        function: `"w_d1"` is an ordinary convolution; `"w_d2"` has dilation 2;
            `"w_d2_shared"` also has the high branch's kernel; `"w_d2_d2u2"` is
            `"w_d2"`, then nearest down- and upsampling by 2; `"pool_w_d2_d2u2"`
            averages 2x2 pixels with stride 1 before `"w_d2_d2u2"`.
        initializer: As for `MultiScaleConv2D`.

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
        unknown = kwargs.keys() - {"trainable", "initializer"}
        if unknown:  # arguments of the base class that do not apply here
            raise ValueError(
                f"`{min(unknown)}` does not apply to branches of one resolution. "
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
            "initializer": self.initializer,
        }

    def _between(self, i, j, channels):
        return [self._conv(j, self.kernel_size, channels, f"conv_{i}_{j}")]

    def _within(self, j, channels):
        (conv,) = super()._within(j, channels)
        return FUNCTIONS[self.function](conv) if j else [conv]


class Dilated(keras.layers.Layer):
    """Runs a convolution with dilation 2: its taps read every second pixel.

    The map is split into four grids, each of every second pixel of every second row.
    The ordinary convolution runs on each grid.

    Args:
        conv: A built convolution with "same" padding; other layers may use it too.

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
