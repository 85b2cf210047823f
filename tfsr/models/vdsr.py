"""VDSR: very deep super-resolution.

Kim, Lee and Lee, "Accurate Image Super-Resolution Using Very Deep Convolutional
Networks", CVPR 2016, https://arxiv.org/abs/1511.04587
"""

from collections.abc import Sequence

import keras

from tfsr.layers import GroupedConv2D
from tfsr.models.luminance import check_channels, luminance_input
from tfsr.models.sizes import check_positive


def vdsr(
    scale: int | Sequence[int] = (2, 3, 4),
    layers: int = 20,
    filters: int = 64,
    channels: int = 1,
) -> keras.Model:
    """Builds VDSR, from bicubic to refined luma, both `(B, H, W, 1)` in [0, 1].

    Args:
        scale: Upscaling factor 2, 3 or 4, or several of them.
        layers: Number of convolutions.
        filters: Channels of all convolutions but the last.
        channels: Must be 1.
    """
    check_positive(layers=layers, filters=filters)
    check_channels(channels)
    x = lr = luminance_input(scale)
    for i in range(layers - 1):
        conv = GroupedConv2D(filters, 3, initializer="he_normal", name=f"body_{i}")
        x = keras.ops.relu(conv(x))
    residual = GroupedConv2D(1, 3, initializer="he_normal", name="tail")(x)
    return keras.Model(lr, keras.ops.add(residual, lr), name="vdsr")
