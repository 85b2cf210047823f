"""CARN as the MS3-Conv paper has it, with multi-scale convolutions.

Feng, Guan, Qiao and Dong, "Exploring Multi-Scale Feature Propagation and Communication
for Image Super Resolution", ECCV 2020, https://arxiv.org/abs/2008.00239

It differs from `carn.py` in three ways: it is for one scale, it has one more
convolution at the HR resolution (the paper's supplement), and its residual units and
1x1 fusions are multi-scale. A fusion concatenates its inputs level by level. `ms3.py`
has the layers around the body.
"""

import keras

from tfsr.models.ms3 import add, concatenate, ms3_network, relu
from tfsr.models.sizes import check_positive


def ms3_carn(
    scale: int = 4,
    conv: str = "standard",
    levels: int | None = None,
    filters: int = 64,
    blocks: int = 3,
    units: int = 3,
    channels: int = 3,
) -> keras.Model:
    """Builds CARN, `(B, H, W, channels)` to `(B, H * scale, W * scale, channels)`.

    Args:
        scale: Upscaling factor 2, 3 or 4.
        conv: Convolution of the body and of the upsampler, a key of
            `tfsr.layers.CONVS`.
        levels: Number of levels, 1 to 4; `None` for as many as the equation of `conv`
            has.
        filters: Channels of the standard network; a level has half of them if there are
            several.
        blocks: Number of cascading blocks.
        units: Number of residual units in a block.
        channels: 3 for RGB, 1 for grayscale.
    """
    check_positive(blocks=blocks, units=units)

    def cascade(x, parts, conv2d, name):
        """Returns `x` after `parts`; a fusion of all outputs so far follows each."""
        seen = [x]
        for i, part in enumerate(parts):
            seen.append(part(x, f"{name}_{i}"))
            x = relu(conv2d(filters, 1, name=f"{name}_{i}_fuse")(concatenate(seen)))
        return x

    def body(x, conv2d):
        def unit(x, name):
            y = relu(conv2d(filters, name=f"{name}_conv_0")(x))
            return relu(add(x, conv2d(filters, name=f"{name}_conv_1")(y)))

        def block(x, name):
            return cascade(x, [unit] * units, conv2d, f"{name}_unit")

        return cascade(x, [block] * blocks, conv2d, "block")

    return ms3_network("ms3_carn", body, scale, conv, levels, filters, channels)
