import keras
from keras import ops

from tfsr.layers.lists import check_list
from tfsr.layers.scale_wise_conv import PATH_GAIN, ScaleWiseConv2D
from tfsr.layers.weight_norm_conv import WeightNormConv2D


@keras.saving.register_keras_serializable(package="tfsr")
class ScaleWiseBlock(keras.layers.Layer):
    """A residual block on a feature pyramid, wide before its activation.

    It computes x + c(relu(e(x))): the convolution e widens the features at each level,
    the scale-wise convolution c narrows them. Both are weight-normalized.

    Args:
        filters: Channels of the input and of the output.
        width: Channels before the ReLU as a multiple of `filters`.
        gain: Initial gain of the second convolution; the first one's is 2.
        level_kernel_size: As for `ScaleWiseConv2D`.
        resampling: As for `ScaleWiseConv2D`.
        shared: Whether all levels share their weights.
        outputs: How many levels to compute, from the finest; `None` for all.
        path_gain: As for `ScaleWiseConv2D`.

    Input shape:
        A list of `(B, H_s, W_s, filters)`, the levels.

    Output shape:
        A list of `(B, H_s, W_s, filters)`.

    Reference:
        Fan et al., AAAI 2020, Section 3.2, https://arxiv.org/abs/1912.09028
    """

    def __init__(
        self,
        filters,
        width=4,
        gain=1.0,
        level_kernel_size=3,
        resampling="bilinear",
        shared=True,
        outputs=None,
        path_gain=PATH_GAIN,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if filters * width != round(filters * width) or filters * width < 1:
            raise ValueError(
                "`width` must give a whole number of channels. "
                f"Received: width={width}, filters={filters}."
            )
        self.filters = filters
        self.width = width
        self.gain = gain
        self.level_kernel_size = level_kernel_size
        self.resampling = resampling
        self.shared = shared
        self.outputs = outputs
        self.path_gain = path_gain
        self.conv = ScaleWiseConv2D(
            filters,
            3,
            level_kernel_size,
            resampling,
            shared,
            outputs,
            gain,
            path_gain,
            name="conv",
        )

    def build(self, input_shape):
        check_list(input_shape)
        wide = round(self.filters * self.width)
        self.expand = [
            WeightNormConv2D(wide, 3, gain=2.0, name=f"expand_{s}")
            for s in range(1 if self.shared else len(input_shape))
        ]
        for conv in self.expand:
            conv.build((None, None, None, self.filters))
        self.conv.build([(*shape[:-1], wide) for shape in input_shape])

    def call(self, inputs, ratio="1/2"):
        wide = [
            ops.relu(self.expand[0 if self.shared else s](x))
            for s, x in enumerate(inputs)
        ]
        residuals = self.conv(wide, ratio=ratio)
        return [ops.add(x, r) for x, r in zip(inputs, residuals, strict=False)]

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(input_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "width": self.width,
            "gain": self.gain,
            "level_kernel_size": self.level_kernel_size,
            "resampling": self.resampling,
            "shared": self.shared,
            "outputs": self.outputs,
            "path_gain": self.path_gain,
        }
