"""FFDNet: restoration by a chain at half the resolution, on blocks of 2x2 pixels.

Zhang, Zuo and Zhang, "FFDNet: Toward a Fast and Flexible Solution for CNN based Image
Denoising", TIP 2018, https://arxiv.org/abs/1710.04026
Authors' code: https://github.com/cszn/FFDNet

Departures:
- Blind: no map of the noise's level is read, so JPEG's artifacts are its task as well.
- The chain gives a residual, and the input is added, as in DnCNN.
- Collapsible convolutions, as in SESR, in place of batch normalization.
- In colour, R, G and B share the residual of luma; colours have a chain of their own
  without biases (`tfsr/models/colors.py`), so gray stays gray.
- The image is padded to even sides by repeating its last row and column.
"""

import keras
from keras import ops

from tfsr.layers import (
    ChannelShift,
    CollapsibleConv2D,
    ColorDifferences,
    CropToScale,
    PadToMultiple,
)
from tfsr.models.carn import LUMA_MEAN, RGB_MEAN
from tfsr.models.colors import color_residual
from tfsr.models.sesr import collapsible_chain
from tfsr.models.sizes import check_channels, check_positive

BLOCK = 2  # pixels, the side of what becomes one pixel of the chain


def ffdnet(
    scale: int = 1,
    filters: int = 64,
    blocks: int = 13,
    channels: int = 3,
    colors: int = 32,
    color_blocks: int = 4,
    expanded: int = 256,
) -> keras.Model:
    """Builds FFDNet, `(B, H, W, channels)` to `(B, H, W, channels)`.

    Args:
        scale: 1, as it restores and does not enlarge.
        filters: Channels of the chain.
        blocks: Convolutions of the chain between its first and its last.
        channels: 3 for RGB, 1 for grayscale.
        colors: Channels of the chain of colours.
        color_blocks: Convolutions of that chain before it meets the other.
        expanded: Channels that a convolution has inside, in training.
    """
    if scale != 1:
        raise ValueError(f"`scale` must be 1. Received: scale={scale}.")
    check_channels(channels)
    check_positive(
        filters=filters, blocks=blocks, colors=colors, color_blocks=color_blocks
    )
    mean = RGB_MEAN if channels == 3 else LUMA_MEAN

    image = keras.Input((None, None, channels), name="lr_x1")
    padded = PadToMultiple(BLOCK, dtype="float32", name="pad")(image)
    x = ChannelShift([-m for m in mean], dtype="float32", name="sub_mean")(padded)
    x = ops.space_to_depth(x, BLOCK)
    x = collapsible_chain(x, filters, blocks, expanded)
    residual = CollapsibleConv2D(BLOCK**2, expanded, name="tail")(x)
    if channels == 3:
        differences = ColorDifferences(dtype="float32", name="differences")(padded)
        differences = ops.space_to_depth(differences, BLOCK)
        residual = color_residual(residual, differences, x, colors, color_blocks)
    residual = ops.depth_to_space(residual, BLOCK)
    x = keras.layers.Add(dtype="float32", name="long_skip")([residual, padded])
    x = CropToScale(1, dtype="float32", name="crop")([x, image])
    return keras.Model(image, x, name="ffdnet")
