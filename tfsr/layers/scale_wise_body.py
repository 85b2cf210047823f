from typing import NamedTuple

import keras

from tfsr.layers.resampling import check_ratio, feature_pyramid
from tfsr.layers.scale_wise_block import ScaleWiseBlock
from tfsr.layers.scale_wise_conv import PATH_GAIN


class Gains(NamedTuple):
    """Factors on initial gains where levels meet.

    Attributes:
        block: Factor on 1/sqrt(blocks), the gain of a block's second convolution.
        path: Factor on `PATH_GAIN`, the gain of pointwise convolutions between levels.
    """

    block: float
    path: float


GAINS = {"fair": Gains(0.5, 0.1), "authors": Gains(1.0, 1.0)}


@keras.saving.register_keras_serializable(package="tfsr")
class ScaleWiseBody(keras.layers.Layer):
    """Runs SCN's residual blocks on a feature pyramid of a map; returns level 0.

    Each block computes only the levels that later blocks read. With shared weights, a
    call may use another pyramid: `body(x, levels=5, ratio="2/3")`.

    Args:
        filters: Channels of the input and of the output.
        blocks: Number of blocks.
        width: As for `ScaleWiseBlock`.
        levels: Levels of the pyramid; 1 for residual blocks on the map itself.
        ratio: Size of a level over the size of the next finer one: `"1/2"`, `"2/3"` or
            `"3/4"`.
        level_kernel_size: As for `ScaleWiseConv2D`.
        resampling: As for `ScaleWiseConv2D`.
        shared: Whether all levels share their weights.
        gains: Initial gains where levels meet. `"authors"`: 1/sqrt(blocks) for a
            block's second convolution, whose output the finest and the coarsest level
            add twice, once for the neighbour they lack. `"fair"`: half of that, and a
            tenth of the paths', so that a block starts like one of a single level.

    Input shape:
        `(B, H, W, filters)`; at 1/2, H and W are multiples of 2^(levels - 1).

    Output shape:
        `(B, H, W, filters)`.

    Reference:
        Fan et al., AAAI 2020, Section 3.2, https://arxiv.org/abs/1912.09028
    """

    def __init__(
        self,
        filters,
        blocks,
        width=4,
        levels=3,
        ratio="1/2",
        level_kernel_size=3,
        resampling="bilinear",
        shared=True,
        gains="fair",
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_ratio(ratio, resampling)
        if gains not in GAINS:
            raise ValueError(
                f"`gains` must be one of {tuple(GAINS)}. Received: gains={gains}."
            )
        self.filters = filters
        self.width = width
        self.levels = levels
        self.ratio = ratio
        self.level_kernel_size = level_kernel_size
        self.resampling = resampling
        self.shared = shared
        self.gains = gains
        factors = GAINS[gains if levels > 1 else "authors"]
        self.blocks = [
            ScaleWiseBlock(
                filters,
                width,
                factors.block * blocks**-0.5,
                level_kernel_size,
                resampling,
                shared,
                outputs=self._reach(blocks - 1 - b),
                path_gain=factors.path * PATH_GAIN,
                name=f"block_{b}",
            )
            for b in range(blocks)
        ]

    def levels_seen(self, levels=None):
        """Returns how many levels of the pyramid the output depends on."""
        return min(levels or self.levels, self._reach(len(self.blocks)))

    def build(self, input_shape):
        for block in self.blocks:
            levels = min(self.levels, block.outputs + self._reach(1) - 1)
            block.build([input_shape] * levels)

    def call(self, inputs, levels=None, ratio=None):
        ratio = ratio or self.ratio
        x = feature_pyramid(inputs, self.levels_seen(levels), ratio)
        for block in self.blocks:
            x = block(x, ratio=ratio)
        return x[0]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "blocks": len(self.blocks),
            "width": self.width,
            "levels": self.levels,
            "ratio": self.ratio,
            "level_kernel_size": self.level_kernel_size,
            "resampling": self.resampling,
            "shared": self.shared,
            "gains": self.gains,
        }

    def _reach(self, blocks):
        """Returns how many input levels `blocks` blocks need for the finest output."""
        return 1 + blocks * (self.level_kernel_size // 2)
