import functools
import itertools

import keras
from keras import ops

from tfsr.layers.lists import check_list
from tfsr.layers.resampling import check_ratio, downsample, upsample
from tfsr.layers.weight_norm_conv import WeightNormConv2D

RESAMPLINGS = ("bilinear", "average", "conv")
UP = {"bilinear": "bilinear", "average": "nearest"}
PATH_GAIN = 3**-0.5  # mean length of a filter that is uniform in +-1/sqrt(fan_in)


@keras.saving.register_keras_serializable(package="tfsr")
class ScaleWiseConv2D(keras.layers.Layer):
    """Convolves a feature pyramid along its levels and within each of them.

    Output level s is the sum over i = -k ... k of f_i(x_{s+i}), where f_i applies:

        p, a spatial convolution, the same for every i;
        q_i, a pointwise convolution, none for i = 0;
        h_i, resampling to the size of level s, one level after another.

    Where level s+i does not exist, p(x_s) replaces f_i(x_{s+i}); a pyramid of one level
    gives p(x). All convolutions are weight-normalized. Downsampling runs before q_i:
    its weights sum to one, so the result is the same and costs less.

    Pyramids may differ in the ratio of their levels, so each call names it, as in
    `layer(pyramid, ratio="2/3")`; 1/2 by default.

    Args:
        filters: Channels of the output.
        kernel_size: Side of the kernel of p.
        level_kernel_size: 2k + 1, the levels that an output level sees; 1 for its own.
        resampling: `"bilinear"`; `"average"`, which averages down and repeats pixels
            up; or `"conv"`, where strided 2x2 convolutions and deconvolutions replace
            h_i q_i. Ratios other than 1/2 need `"bilinear"`.
        shared: Whether p and q_i serve all levels; otherwise each has its own.
        outputs: How many levels to compute, from the finest; `None` for all.
        gain: Initial gain of p.
        path_gain: Initial gain of q_i; by default the mean length of a filter that is
            uniform in +-1/sqrt(fan_in).

    Input shape:
        A list of `(B, H_s, W_s, C)`, the levels, as `feature_pyramid` gives them.

    Output shape:
        A list of `(B, H_s, W_s, filters)`.

    Raises:
        ValueError: If called on more levels than it has weights for. Shared weights
            serve any number of levels if built for more than k; all others serve as
            many as they were built for.

    Reference:
        Fan et al., AAAI 2020, Section 3.1, https://arxiv.org/abs/1912.09028
    """

    def __init__(
        self,
        filters,
        kernel_size=3,
        level_kernel_size=3,
        resampling="bilinear",
        shared=True,
        outputs=None,
        gain=1.0,
        path_gain=PATH_GAIN,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if type(level_kernel_size) is not int or level_kernel_size not in (1, 3, 5):
            raise ValueError(
                "`level_kernel_size` must be 1, 3 or 5. "
                f"Received: level_kernel_size={level_kernel_size}."
            )
        if outputs is not None and outputs < 1:
            raise ValueError(
                f"`outputs` must be at least 1 or None. Received: outputs={outputs}."
            )
        if resampling not in RESAMPLINGS:
            raise ValueError(
                f"`resampling` must be one of {RESAMPLINGS}. "
                f"Received: resampling={resampling}."
            )
        self.filters = filters
        self.kernel_size = kernel_size
        self.level_kernel_size = level_kernel_size
        self.resampling = resampling
        self.shared = shared
        self.outputs = outputs
        self.gain = gain
        self.path_gain = path_gain

    def build(self, input_shape):
        check_list(input_shape)
        levels, channels = len(input_shape), input_shape[0][-1]
        self.within = [  # p, by level
            _built(self.filters, self.kernel_size, self.gain, f"conv_{s}", channels)
            for s in range(1 if self.shared else levels)
        ]
        self.between = {}  # q_i, by name
        for s, i in itertools.product(
            range(self._finest(levels)), self._offsets(levels)
        ):
            for name in self._conv_names(s, i) if 0 <= s + i < levels else ():
                if name not in self.between:
                    self.between[name] = self._pointwise(i, name)
        serves_any = self.shared and levels > self.level_kernel_size // 2
        self.most_levels = None if serves_any else levels

    def call(self, inputs, ratio="1/2"):
        check_ratio(ratio, self.resampling)
        levels = len(inputs)
        if self.most_levels and levels > self.most_levels:
            raise ValueError(
                f"`inputs` must have at most {self.most_levels} levels, which there "
                f"are weights for. Received: {levels} levels."
            )
        maps = [self.within[0 if self.shared else s](x) for s, x in enumerate(inputs)]
        outputs = []
        for s in range(self._finest(levels)):
            total = maps[s]
            for i in self._offsets(levels):
                inside = 0 <= s + i < levels
                term = self._resampled(maps, s, i, ratio) if inside else maps[s]
                total = ops.add(total, term)
            outputs.append(total)
        return outputs

    def compute_output_shape(self, input_shape):
        shapes = input_shape[: self._finest(len(input_shape))]
        return [(*shape[:-1], self.filters) for shape in shapes]

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "level_kernel_size": self.level_kernel_size,
            "resampling": self.resampling,
            "shared": self.shared,
            "outputs": self.outputs,
            "gain": self.gain,
            "path_gain": self.path_gain,
        }

    def _finest(self, levels):
        """Returns how many output levels are computed for `levels` input levels."""
        return min(self.outputs or levels, levels)

    def _offsets(self, levels):
        """Returns all i except 0; none for a pyramid of one level."""
        k = self.level_kernel_size // 2 if levels > 1 else 0
        return [i for i in range(-k, k + 1) if i]

    def _conv_names(self, s, i):
        """Returns the names of the convolutions of h_i q_i to level s, in order."""
        name = f"{'down' if i < 0 else 'up'}_{abs(i)}"
        name = name if self.shared else f"{name}_to_{s}"
        if self.resampling == "conv":
            return [f"{name}_{step}" for step in range(abs(i))]
        return [name]

    def _resampled(self, maps, s, i, ratio):
        """Returns h_i q_i of the map at level s + i."""
        x = maps[s + i]
        convs = [self.between[name] for name in self._conv_names(s, i)]
        if self.resampling == "conv":
            return functools.reduce(_stride if i < 0 else _unstride, convs, x)
        (conv,) = convs
        if i < 0:
            for _ in range(-i):
                x = downsample(x, ratio)
            return conv(x)
        x = conv(x)
        for like in reversed(maps[s : s + i]):
            x = upsample(x, like, ratio, UP[self.resampling])
        return x

    def _pointwise(self, i, name):
        """Returns q_i; for `"conv"`, one of its steps, which resample too."""
        square = 4 if self.resampling == "conv" else 1
        channels, filters = self.filters, self.filters
        if i < 0:
            channels *= square
        else:
            filters *= square
        return _built(filters, 1, self.path_gain, name, channels)


def _stride(x, conv):
    """Runs a 2x2 convolution of stride 2 as a pointwise one on blocks of 2x2 pixels."""
    return conv(ops.space_to_depth(x, 2))


def _unstride(x, conv):
    """Runs a 2x2 deconvolution of stride 2 as a pointwise one to blocks of pixels."""
    return ops.depth_to_space(conv(x), 2)


def _built(filters, kernel_size, gain, name, channels):
    conv = WeightNormConv2D(filters, kernel_size, gain, name=name)
    conv.build((None, None, None, channels))
    return conv
