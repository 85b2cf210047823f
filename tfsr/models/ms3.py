"""What both backbones of the MS3-Conv paper share: all but the body.

Feng, Guan, Qiao and Dong, "Exploring Multi-Scale Feature Propagation and Communication
for Image Super Resolution", ECCV 2020, https://arxiv.org/abs/2008.00239

The paper draws this in Fig. 3 and gives no details; parameters and mult-adds of its
tables hold for the following reading. The first convolution makes each level from the
image, averaged down to the level's size. Every other convolution is multi-scale, with
a pixel shuffle at every level, up to one at the full resolution that aggregates: a
convolution a level, enlarged and summed. The last convolution makes the image of that.

Of what the tables leave open, the ReLU before a pixel shuffle and before the last
convolution, the subtraction of DIV2K's mean and the initial values are as in CARN and
not the paper's word. Images whose sides are no multiples of the coarsest level's pixel
are padded by their last row and column, and the result is cropped.
"""

import keras
from keras import ops

from tfsr.layers import (
    ChannelShift,
    CropToScale,
    GroupedConv2D,
    PadToMultiple,
    multi_scale,
)
from tfsr.models.carn import LUMA_MEAN, RGB_MEAN
from tfsr.models.sizes import check_positive


def ms3_network(name, body, scale, conv, levels, filters, channels):
    """Builds a backbone around its body.

    From `(B, H, W, channels)` to `(B, H * scale, W * scale, channels)`.

    Args:
        name: Name of the model.
        body: Function from a list of levels and from what `multi_scale` returns to the
            list of levels that is upsampled.
        scale: Upscaling factor 2, 3 or 4.
        conv: A key of `tfsr.layers.CONVS`.
        levels: Number of levels; `None` for that of the convolution's equation.
        filters: Channels at the full resolution; a level has half of them if there are
            several.
        channels: 3 for RGB, 1 for grayscale.
    """
    if type(scale) is not int or scale not in (2, 3, 4):
        raise ValueError(f"`scale` must be 2, 3 or 4. Received: scale={scale}.")
    if channels not in (1, 3):
        raise ValueError(f"`channels` must be 1 or 3. Received: channels={channels}.")
    check_positive(filters=filters)
    mean = RGB_MEAN if channels == 3 else LUMA_MEAN
    conv2d = multi_scale(conv, levels)
    within = conv2d(filters)
    ends = type(within)  # which split the first and aggregate the last features
    multiple = 2 ** (len(within.filters) - 1)

    x = lr = keras.Input((None, None, channels), name=f"lr_x{scale}")
    if multiple > 1:
        x = PadToMultiple(multiple, name="pad")(x)
    x = ChannelShift([-m for m in mean], name="sub_mean")(x)
    x = ends(within.filters, 3, name="head")([x])
    x = body(x, conv2d)
    for i, step in enumerate((2, 2) if scale == 4 else (scale,)):
        upsampler = conv2d(filters * step**2, 3, name=f"upsampler_{i}")
        if upsampler.filters != tuple(step**2 * f for f in within.filters):
            raise ValueError(
                "`filters` must divide among the levels alike before the pixel shuffle "
                f"and after it. Received: filters={filters}, conv={conv}."
            )
        x = relu(upsampler(x))
        x = [ops.depth_to_space(level, step) for level in x]
    x = relu(ends((filters,), 3, name="hr")(x))
    x = GroupedConv2D(channels, 3, name="tail")(x[0])
    x = ChannelShift(mean, name="add_mean")(x)
    if multiple > 1:
        x = CropToScale(scale, name="crop")([x, lr])
    return keras.Model(lr, x, name=name)


def relu(x):
    """Returns the levels `x` after a ReLU."""
    return [ops.relu(level) for level in x]


def add(x, y):
    """Returns the sums of levels `x` and `y`."""
    return [ops.add(*pair) for pair in zip(x, y, strict=True)]


def concatenate(maps):
    """Returns the levels of all of `maps`, level by level one after another."""
    return [ops.concatenate(levels, axis=-1) for levels in zip(*maps, strict=True)]
