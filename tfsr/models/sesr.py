"""SESR: a plain chain of 3x3 convolutions that are overparameterized in training.

Bhardwaj et al., "Collapsible Linear Blocks for Super-Efficient Super Resolution",
MLSys 2022, https://arxiv.org/abs/2103.09404
Authors' code: https://github.com/ARM-software/sesr

Departures, so that a chain of plain convolutions remains, which is what runs fastest in
8 bits (docs/sesr.md):
- RGB where the paper has luma. The chain reads RGB and gives a residual of luma, as in
  the paper, which R, G and B share; a small colour part adds the rest
  (`tfsr/models/colors.py`), so gray stays gray.
- The mean is subtracted before the first convolution. Without that a chain beside an
  anchor hardly learns.
- ReLU where the paper has PReLU, which XNNPACK does not compute in 8 bits: a network of
  10 blocks fell into 12 parts and took 4.9 times as long.
- The first and the last convolution are 3x3, not 5x5.
- No skip from the output of the first convolution to the input of the last.
- One pixel shuffle at every scale, where the paper shuffles twice for x4.
"""

import keras

from tfsr.layers import ChannelShift, CollapsibleConv2D, ColorDifferences
from tfsr.models.carn import LUMA_MEAN, RGB_MEAN
from tfsr.models.colors import color_residual
from tfsr.models.sizes import check_channels, check_positive

COLORS = 16  # channels of the colour part


def sesr(
    scale: int = 2,
    filters: int = 16,
    blocks: int = 11,
    channels: int = 3,
    color_blocks: int = 0,
    expanded: int = 256,
    edges: bool = False,
) -> keras.Model:
    """Builds SESR, `(B, H, W, channels)` to `(B, H * scale, W * scale, channels)`.

    Args:
        scale: Upscaling factor 2, 3 or 4.
        filters: Channels of the body.
        blocks: Number of collapsible blocks between the first and the last convolution.
        channels: 3 for RGB, 1 for grayscale.
        color_blocks: Convolutions of the colour part before it meets the chain. Clean
            LR needs none, but JPEG spreads colours over many pixels.
        expanded: Inner channels of a block in training.
        edges: Whether the chain has ECBSR's edge filters in training.
    """
    if type(scale) is not int or scale not in (2, 3, 4):
        raise ValueError(f"`scale` must be 2, 3 or 4. Received: scale={scale}.")
    check_channels(channels)
    check_positive(filters=filters, blocks=blocks)
    if type(color_blocks) is not int or color_blocks < 0:
        raise ValueError(
            "`color_blocks` must be an integer of 0 or more. "
            f"Received: color_blocks={color_blocks}."
        )
    mean = RGB_MEAN if channels == 3 else LUMA_MEAN

    lr = keras.Input((None, None, channels), name=f"lr_x{scale}")
    # Pixels stay float32 in mixed precision, which would round them.
    x = ChannelShift([-m for m in mean], dtype="float32", name="sub_mean")(lr)
    x = collapsible_chain(x, filters, blocks, expanded, edges)
    tail = CollapsibleConv2D(scale**2, expanded, edges=edges, name=f"tail_x{scale}")
    residual = tail(x)
    if channels == 3:
        differences = ColorDifferences(dtype="float32", name="differences")(lr)
        residual = color_residual(residual, differences, x, COLORS, color_blocks)
    anchor = keras.layers.Concatenate(dtype="float32", name="anchor")([lr] * scale**2)
    x = keras.layers.Add(dtype="float32", name="long_skip")([residual, anchor])
    sr = keras.ops.depth_to_space(x, scale)
    return keras.Model(lr, sr, name="sesr")


def collapsible_chain(
    x: keras.KerasTensor, filters: int, blocks: int, expanded: int, edges: bool = False
) -> keras.KerasTensor:
    """Returns the features of SESR's chain, `(B, H, W, C)` to `(B, H, W, filters)`.

    Args:
        x: Pixels minus their mean.
        filters: Channels of the chain.
        blocks: Number of blocks with a short skip, after the first convolution.
        expanded: Inner channels of a convolution in training.
        edges: As for `sesr`.
    """

    def conv(name, skip):
        return CollapsibleConv2D(filters, expanded, skip, edges, name=name)

    x = conv("head", False)(x)
    x = keras.layers.ReLU(name="head_relu")(x)
    for b in range(blocks):
        x = conv(f"block_{b}", True)(x)
        x = keras.layers.ReLU(name=f"relu_{b}")(x)
    return x
