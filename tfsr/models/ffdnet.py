"""FFDNet: restoration by a chain at half the resolution, on blocks of 2x2 pixels.

Zhang, Zuo and Zhang, "FFDNet: Toward a Fast and Flexible Solution for CNN based Image
Denoising", TIP 2018, https://arxiv.org/abs/1710.04026
Authors' code: https://github.com/cszn/FFDNet

Departures:
- It is blind: it reads no map of the noise level, so it can also learn to remove JPEG
  artifacts.
- The chain gives a residual that is added to the input, as in DnCNN.
- Collapsible convolutions, as in SESR, replace batch normalization.
- In colour, R, G and B share the residual of luma; a chain without biases adds colour
  (`tfsr/models/colors.py`), so gray stays gray.
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

BLOCK = 2  # side in pixels of the blocks that become pixels of the chain


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
        scale: Must be 1, since the network restores.
        filters: Channels of the chain.
        blocks: Convolutions of the chain between its first and its last.
        channels: 3 for RGB, 1 for grayscale.
        colors: Channels of the colour chain.
        color_blocks: Convolutions of that chain before both chains meet.
        expanded: Inner channels of a convolution in training.
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
