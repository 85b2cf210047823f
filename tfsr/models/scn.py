"""SCN: scale-wise convolution for image restoration.

Fan, Yu, Liu and Huang, "Scale-Wise Convolution for Image Restoration", AAAI 2020,
https://arxiv.org/abs/1912.09028
Authors' code: https://github.com/ychfan/scn

Where the paper is silent this follows the authors' code: every convolution is weight-
normalized, with initial gain 1 at both ends and in the global skip, 2 where a block
widens and 1/sqrt(blocks) where it narrows; the mean 0.5 is
subtracted; the global skip is one 5x5 convolution to the pixels before the shuffle, or
the input itself where nothing is enlarged; beyond the ends of the pyramid a level's own
residual replaces the missing neighbour's; images are padded by repeating their last row
and column, and the result is cropped. The paper's text has 8 blocks in its ablations,
but its 1.2 million parameters (Table 5) need 16, so the configs of Tables 5 and 6 have
16.

Departures:

- Bilinear resampling has half-pixel centers; the authors' aligns the corners. At 1/2 it
  averages 2x2 pixels down, and Table 6's average and bilinear rows differ in upsampling
  alone.
- At 2/3 and 3/4, which the authors' code lacks, sizes are rounded up, nothing padded.
- The image is padded to multiples of the coarsest level's pixel, so the skip sees the
  padding. The authors pad the body's input alone, to multiples of twice that pixel.
- The pointwise convolutions between levels start at gain 1/sqrt(3) and biases of 0.
- `gains="authors"`, in all of `configs/scn`, starts as told above. By default the last
  convolution starts at a tenth of that, and where levels meet, blocks narrow at half of
  it and the convolutions between levels start at a tenth: the ends of the pyramid add
  their own residual twice, so that with the authors' gains the maps grow from block to
  block, and the first loss is ten times that of one level.
- Table 6's deconvolution has a gain and a bias for each of the four pixels it makes of
  one; a true deconvolution has one gain and one bias per filter.
- A pyramid of one level has no neighbours, which makes it the baseline.
- The pyramid is made by bilinear downsampling, whatever resamples between its levels.
- The last blocks do not compute levels that the output does not depend on.
- PSPNet style shares its blocks across levels. Otherwise it would not have as many
  parameters as the others.

The configs read "halves every 3 epochs after the 25th" as first after the 28th.

The paper has two levels in Table 4 and varies levels and ratio in Figs. 6 to 8, but
does not state them for its benchmarks: the default here is 3 levels at 1/2. It counts
levels inconsistently: the "6 scales" of Fig. 6, the smallest at 1/64, leave out the
image's own resolution; the 2 scales of Table 4 (and the authors' code) include it. Here
the image's own resolution is a level.

The parameters of each table's networks are counted by hand in docs/scn.md.
"""

import functools

import keras
from keras import ops

from tfsr.layers import (
    ChannelShift,
    CropToScale,
    PadToMultiple,
    ScaleWiseBlock,
    ScaleWiseBody,
    WeightNormConv2D,
    check_ratio,
    downsample,
    feature_pyramid,
    upsample,
)
from tfsr.models.scaling import scales
from tfsr.models.sizes import check_channels, check_positive

MEAN = 0.5
TAIL_GAINS = {"fair": 0.1, "authors": 1.0}


def scn(
    scale: int = 2,
    levels: int = 3,
    ratio: str = "1/2",
    resampling: str = "bilinear",
    shared: bool = True,
    level_kernel_size: int = 3,
    filters: int = 32,
    width: float = 4,
    blocks: int = 16,
    channels: int = 3,
    gains: str = "fair",
) -> keras.Model:
    """Builds SCN, `(B, H, W, channels)` to `(B, H * scale, W * scale, channels)`.

    Args:
        scale: Upscaling factor 2, 3 or 4, or 1 for restoration at the same size.
        levels: Levels of the feature pyramid; 1 for the single-scale baseline.
        ratio: Size of a level over the size of the next finer one: `"1/2"`, `"2/3"` or
            `"3/4"`.
        resampling: Between levels: `"bilinear"`; `"average"` down and nearest up; or
            `"conv"`, strided down and transposed up. The last two need ratio 1/2.
        shared: Whether all levels share their weights.
        level_kernel_size: Levels that a scale-wise convolution sees: 1, 3 or 5.
        filters: Channels of the features.
        width: Channels before a block's activation, as a multiple of `filters`.
        blocks: Number of residual blocks.
        channels: 3 for RGB, 1 for grayscale.
        gains: Initial gains where levels meet and of the last convolution, `"fair"` or
            the `"authors"`; see `ScaleWiseBody`.
    """
    check_positive(levels=levels, filters=filters, blocks=blocks)
    body = ScaleWiseBody(
        filters,
        blocks,
        width,
        levels,
        ratio,
        level_kernel_size,
        resampling,
        shared,
        gains,
        name="body",
    )
    ends = _ends(scale, filters, channels, gains)
    multiple = _multiple(body.levels_seen(), ratio)
    return _network("scn", ends, body, multiple, scale, channels)


def scn_unet(
    scale: int = 2,
    filters: int = 32,
    width: float = 4,
    blocks: int = 8,
    channels: int = 3,
    gains: str = "fair",
) -> keras.Model:
    """Builds the U-Net style network of Table 4: two levels, one after the other.

    A quarter of the blocks are at the full resolution, half at 1/2, and a quarter at
    the full resolution again, where the features of the first quarter are added. There
    is a pointwise convolution after the downsampling and one before the upsampling.

    Args:
        scale: Upscaling factor 2, 3 or 4, or 1 for restoration at the same size.
        filters: Channels of the features.
        width: Channels before a block's activation, as a multiple of `filters`.
        blocks: Number of residual blocks, a multiple of 4.
        channels: 3 for RGB, 1 for grayscale.
        gains: Initial gain of the last convolution: `"fair"` or the `"authors"`.
    """
    check_positive(filters=filters, blocks=blocks)
    if blocks % 4:
        raise ValueError(
            f"`blocks` must be a multiple of 4. Received: blocks={blocks}."
        )
    quarter = blocks // 4
    stack = _plain_blocks(filters, width, blocks)
    down = WeightNormConv2D(filters, 1, name="down_conv")
    up = WeightNormConv2D(filters, 1, name="up_conv")

    def body(x):
        x = fine = _run(stack[:quarter], [x])[0]
        x = down(downsample(x, "1/2", name="down"))
        x = _run(stack[quarter:-quarter], [x])[0]
        x = ops.add(fine, upsample(up(x), fine, "1/2", name="up"))
        return _run(stack[-quarter:], [x])[0]

    ends = _ends(scale, filters, channels, gains)
    return _network("scn_unet", ends, body, 2, scale, channels)


def scn_pspnet(
    scale: int = 2,
    levels: int = 2,
    filters: int = 32,
    width: float = 4,
    blocks: int = 8,
    channels: int = 3,
    gains: str = "fair",
) -> keras.Model:
    """Builds the PSPNet style network of Table 4: levels meet only in the last layer.

    The blocks share their weights across levels, as in `scn`, but exchange nothing. The
    last convolution sees the features of all levels, enlarged and concatenated.

    Args:
        scale: Upscaling factor 2, 3 or 4, or 1 for restoration at the same size.
        levels: Levels of the feature pyramid, each half the size of the next finer one.
        filters: Channels of the features.
        width: Channels before a block's activation, as a multiple of `filters`.
        blocks: Number of residual blocks.
        channels: 3 for RGB, 1 for grayscale.
        gains: Initial gain of the last convolution: `"fair"` or the `"authors"`.
    """
    check_positive(levels=levels, filters=filters, blocks=blocks)
    stack = _plain_blocks(filters, width, blocks)

    def body(x):
        features = _run(stack, feature_pyramid(x, levels, "1/2"))
        enlarged = features[:1]
        for s in range(1, levels):
            x = features[s]
            for t in reversed(range(s)):
                x = upsample(x, features[t], "1/2", name=f"up_{s}_{t}")
            enlarged.append(x)
        return ops.concatenate(enlarged, axis=-1)

    ends = _ends(scale, filters, channels, gains)
    multiple = _multiple(levels, "1/2")
    return _network("scn_pspnet", ends, body, multiple, scale, channels)


def with_levels(
    model: keras.Model, levels: int, ratio: str | None = None
) -> keras.Model:
    """Returns an SCN with the weights of `model` and another feature pyramid.

    Args:
        model: A network by `scn`, of several levels that share their weights.
        levels: Number of levels; 1 leaves out all exchange between levels.
        ratio: Size of a level over the size of the next finer one; `None` for the ratio
            of `model`.

    Raises:
        ValueError: If the weights of `model` do not serve other levels.
    """
    ends = {layer.name: layer for layer in model.layers}
    body = ends.get("body")
    if body is None or not body.shared or body.levels < body.level_kernel_size // 2 + 1:
        raise ValueError(
            "`model` must be an SCN of several levels with shared weights. "
            f"Received: model={model.name}."
        )
    ratio = ratio or body.ratio
    pyramid = {"levels": levels, "ratio": ratio}
    check_positive(levels=levels)
    check_ratio(ratio, body.resampling)
    return _network(
        "scn",
        ends,
        functools.partial(body, **pyramid),
        _multiple(body.levels_seen(levels), pyramid["ratio"]),
        scales(model)[0],
        model.input.shape[-1],
    )


def _ends(scale, filters, channels, gains):
    """Returns the convolutions around the body: `"head"`, `"tail"` and `"skip"`."""
    if type(scale) is not int or scale not in (1, 2, 3, 4):
        raise ValueError(f"`scale` must be 1, 2, 3 or 4. Received: scale={scale}.")
    check_channels(channels)
    if gains not in TAIL_GAINS:
        raise ValueError(
            f"`gains` must be one of {tuple(TAIL_GAINS)}. Received: gains={gains}."
        )
    pixels = channels * scale**2
    return {
        "head": WeightNormConv2D(filters, 3, name="head"),
        "tail": WeightNormConv2D(pixels, 3, TAIL_GAINS[gains], name="tail"),
        "skip": WeightNormConv2D(pixels, 5, name="skip"),
    }


def _network(name, ends, body, multiple, scale, channels):
    """Builds the network of Fig. 2 around `body`, a function of the features."""
    x = lr = keras.Input((None, None, channels), name=f"lr_x{scale}")
    if multiple > 1:
        x = PadToMultiple(multiple, name="pad")(x)
    shifted = ChannelShift((-MEAN,) * channels, name="sub_mean")(x)
    features = ends["tail"](body(ends["head"](shifted)))
    if scale == 1:
        x = ops.add(x, features)
    else:  # "the blue modules"
        features = ChannelShift((MEAN,) * features.shape[-1], name="add_mean")(features)
        x = ops.add(ends["skip"](shifted), features)
        x = ops.depth_to_space(x, scale)
    if multiple > 1:
        x = CropToScale(scale, name="crop")([x, lr])
    return keras.Model(lr, x, name=name)


def _multiple(levels, ratio):
    """Returns the number that the sides of an image must be multiples of."""
    return 2 ** (levels - 1) if ratio == "1/2" else 1


def _run(blocks, levels):
    """Returns the levels after all of `blocks`."""
    for block in blocks:
        levels = block(levels)
    return levels


def _plain_blocks(filters, width, blocks):
    """Returns residual blocks that exchange nothing between levels."""
    return [
        ScaleWiseBlock(filters, width, blocks**-0.5, 1, name=f"block_{b}")
        for b in range(blocks)
    ]
