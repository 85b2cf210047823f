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

import keras

from tfsr.models.ms3 import add, ms3_network, relu
from tfsr.models.sizes import check_positive


def srresnet(
    scale: int = 4,
    conv: str = "standard",
    levels: int | None = None,
    filters: int = 64,
    blocks: int = 16,
    channels: int = 3,
) -> keras.Model:
    """Builds SRResNet, `(B, H, W, channels)` to `(B, H * scale, W * scale, channels)`.

    Args:
        scale: Upscaling factor 2, 3 or 4.
        conv: Convolution of the body and of the upsampler, a key of
            `tfsr.layers.CONVS`.
        levels: Number of levels, 1 to 4; `None` for as many as the equation of `conv`
            has.
        filters: Channels of the standard network; a level has half of them if there are
            several.
        blocks: Number of residual blocks.
        channels: 3 for RGB, 1 for grayscale.
    """
    check_positive(blocks=blocks)

    def body(x, conv2d):
        x = long_skip = relu(x)
        for b in range(blocks):
            y = relu(conv2d(filters, name=f"block_{b}_conv_0")(x))
            x = add(x, conv2d(filters, name=f"block_{b}_conv_1")(y))
        x = relu(conv2d(filters, name="body_conv_0")(x))
        return add(long_skip, conv2d(filters, name="body_conv_1")(x))

    return ms3_network("srresnet", body, scale, conv, levels, filters, channels)
