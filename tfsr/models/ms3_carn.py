"""CARN with multi-scale convolutions, as in the MS3-Conv paper.

Feng, Guan, Qiao and Dong, "Exploring Multi-Scale Feature Propagation and Communication
for Image Super Resolution", ECCV 2020, https://arxiv.org/abs/2008.00239

It differs from `carn.py` in three ways: it is for one scale, it has one more
convolution at the HR resolution (the paper's supplement), and its residual units and
1x1 fusions are multi-scale. A fusion concatenates its inputs level by level. `ms3.py`
has the layers around the body.
"""

from collections.abc import Sequence

import keras

from tfsr.models.ms3 import add, concatenate, ms3_network, relu
from tfsr.models.sizes import check_positive


def ms3_carn(
    scale: int = 4,
    conv: str | Sequence[str] = "standard",
    levels: int | None = None,
    filters: int = 64,
    blocks: int = 3,
    units: int = 3,
    channels: int = 3,
    start: str = "carn",
) -> keras.Model:
    """Builds CARN, `(B, H, W, channels)` to `(B, H * scale, W * scale, channels)`.

    Args:
        scale: Upscaling factor 2, 3 or 4.
        conv: Convolution of the body and of the upsampler, a key of
            `tfsr.layers.CONVS`; or a list of them, one for each block, whose first is
            that of the upsampler and of the fusions of blocks.
        levels: Number of levels, 1 to 4; `None` for as many as the equation of `conv`
            has.
        filters: Channels of the standard network; a level has half of them if there are
            several.
        blocks: Number of cascading blocks.
        units: Number of residual units in a block.
        channels: 3 for RGB, 1 for grayscale.
        start: `"carn"`, or `"mmsr"` for the initial values of mmsr's SRResNet, whose
            output is added to the enlarged image; see `ms3.py`.
    """
    check_positive(units=units)

    def cascade(x, part, conv2ds, conv2d, name):
        """Returns `x` after a part of each of `conv2ds`; a fusion follows each."""
        seen = [x]
        for i, inner in enumerate(conv2ds):
            seen.append(part(x, inner, f"{name}_{i}"))
            x = relu(conv2d(filters, 1, name=f"{name}_{i}_fuse")(concatenate(seen)))
        return x

    def unit(x, conv2d, name):
        y = relu(conv2d(filters, name=f"{name}_conv_0")(x))
        return relu(add(x, conv2d(filters, name=f"{name}_conv_1")(y)))

    def block(x, conv2d, name):
        return cascade(x, unit, [conv2d] * units, conv2d, f"{name}_unit")

    def body(x, conv2ds):
        return cascade(x, block, conv2ds, conv2ds[0], "block")

    return ms3_network(
        "ms3_carn", body, scale, conv, levels, filters, blocks, channels, start
    )
