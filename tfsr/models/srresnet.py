"""SRResNet with multi-scale convolutions.

Feng, Guan, Qiao and Dong, "Exploring Multi-Scale Feature Propagation and Communication
for Image Super Resolution", ECCV 2020, https://arxiv.org/abs/2008.00239

The paper has 16 residual blocks and no batch normalization; its tables count 34
convolutions at the LR resolution and one at the HR resolution before the last. Where
the paper is silent this follows the SRResNet of Ledig et al.,
https://arxiv.org/abs/1609.04802: the two convolutions beyond the blocks end the body,
with a ReLU between them, and a ReLU follows the first convolution. `ms3.py` has the
layers around the body.
"""

from collections.abc import Sequence

import keras

from tfsr.models.ms3 import add, ms3_network, relu


def srresnet(
    scale: int = 4,
    conv: str | Sequence[str] = "standard",
    levels: int | None = None,
    filters: int = 64,
    blocks: int = 16,
    channels: int = 3,
    start: str = "carn",
) -> keras.Model:
    """Builds SRResNet, `(B, H, W, channels)` to `(B, H * scale, W * scale, channels)`.

    Args:
        scale: Upscaling factor 2, 3 or 4.
        conv: Convolution of the body and of the upsampler, a key of
            `tfsr.layers.CONVS`; or a list of them, one for each block, whose first is
            that of the upsampler and of the two convolutions beyond the blocks.
        levels: Number of levels, 1 to 4; `None` for as many as the equation of `conv`
            has.
        filters: Channels of the standard network; a level has half of them if there are
            several.
        blocks: Number of residual blocks.
        channels: 3 for RGB, 1 for grayscale.
        start: `"carn"`, or `"mmsr"` for the initial values of mmsr's SRResNet, whose
            output is added to the enlarged image; see `ms3.py`.
    """

    def body(x, conv2ds):
        x = long_skip = relu(x)
        for b, conv2d in enumerate(conv2ds):
            y = relu(conv2d(filters, name=f"block_{b}_conv_0")(x))
            x = add(x, conv2d(filters, name=f"block_{b}_conv_1")(y))
        x = relu(conv2ds[0](filters, name="body_conv_0")(x))
        return add(long_skip, conv2ds[0](filters, name="body_conv_1")(x))

    return ms3_network(
        "srresnet", body, scale, conv, levels, filters, blocks, channels, start
    )
