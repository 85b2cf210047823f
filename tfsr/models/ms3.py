"""The parts that both backbones of the MS3-Conv paper share: all except the body.

Feng, Guan, Qiao and Dong, "Exploring Multi-Scale Feature Propagation and Communication
for Image Super Resolution", ECCV 2020, https://arxiv.org/abs/2008.00239

The paper draws them in Fig. 3 without details. The following reading gives the
parameters and mult-adds of its tables. The first convolution makes each level from the
image, averaged down to the level's size. The convolutions after it are multi-scale, and
pixel shuffles work on each level. Then the levels are aggregated at the full
resolution: each has a convolution, is enlarged, and is added. The last convolution
makes the image.

The tables leave these open, so they are as in CARN: the ReLU before a pixel shuffle and
before the last convolution, the subtraction of DIV2K's mean, and the initial values,
where an output level's sum counts as one convolution, with biases of 0
(`MultiScaleConv2D`). The paper's settings agree with those of a public SRResNet,
https://github.com/open-mmlab/mmsr, whose initial values are another reading,
`start="mmsr"`: normal, a tenth of He's, and the output is added to the bilinearly
enlarged image.
Images whose sides are no multiples of the coarsest level's pixel are padded by
repeating their last row and column, and the result is cropped.
"""

import functools
from collections.abc import Callable, Sequence

import keras
from keras import ops

from tfsr.layers import (
    BilinearResize,
    ChannelShift,
    CropToScale,
    GroupedConv2D,
    PadToMultiple,
    multi_scale,
)
from tfsr.models.carn import LUMA_MEAN, RGB_MEAN
from tfsr.models.sizes import check_channels, check_positive

STARTS = {  # initial values, as `GroupedConv2D` takes them
    "carn": None,
    "mmsr": {
        "class_name": "VarianceScaling",
        "config": {"scale": 2 * 0.1**2, "distribution": "untruncated_normal"},
    },
}


def ms3_network(
    name: str,
    body: Callable,
    scale: int,
    conv: str | Sequence[str],
    levels: int | None,
    filters: int,
    blocks: int,
    channels: int,
    start: str,
) -> keras.Model:
    """Builds a backbone around its body.

    `(B, H, W, channels)` to `(B, H * scale, W * scale, channels)`.

    Args:
        name: Name of the model.
        body: Function `body(x, conv2ds)`: from the list of levels `x` to the list of
            levels that is upsampled. `conv2ds` has a function for each block, which
            builds its multi-scale convolutions.
        scale: Upscaling factor 2, 3 or 4.
        conv: A key of `tfsr.layers.CONVS`, or one for each block; the first is also
            used for the layers around the blocks.
        levels: Number of levels; `None` for as many as the convolution's equation has.
        filters: Channels at the full resolution; a level has half of them if there are
            several.
        blocks: Number of blocks.
        channels: 3 for RGB, 1 for grayscale.
        start: `"carn"`, or `"mmsr"` for the initial values of that code, where the
            output is added to the enlarged image.
    """
    if type(scale) is not int or scale not in (2, 3, 4):
        raise ValueError(f"`scale` must be 2, 3 or 4. Received: scale={scale}.")
    check_channels(channels)
    check_positive(filters=filters, blocks=blocks)
    if start not in STARTS:
        raise ValueError(
            f"`start` must be one of {tuple(STARTS)}. Received: start={start}."
        )
    initializer = STARTS[start]
    mean = RGB_MEAN if channels == 3 else LUMA_MEAN
    conv2ds = _of_blocks(conv, levels, filters, blocks, initializer)
    conv2d = conv2ds[0]
    within = conv2d(filters)
    ends = type(within)  # the layer that splits into levels and aggregates them
    multiple = 2 ** (len(within.filters) - 1)

    x = lr = keras.Input((None, None, channels), name=f"lr_x{scale}")
    if multiple > 1:
        x = PadToMultiple(multiple, name="pad")(x)
    image = x
    x = ChannelShift([-m for m in mean], name="sub_mean")(x)
    x = ends(within.filters, 3, initializer=initializer, name="head")([x])
    x = body(x, conv2ds)
    for i, step in enumerate((2, 2) if scale == 4 else (scale,)):
        upsampler = conv2d(filters * step**2, 3, name=f"upsampler_{i}")
        if upsampler.filters != tuple(step**2 * f for f in within.filters):
            raise ValueError(
                "`filters` must divide among the levels alike before the pixel shuffle "
                f"and after it. Received: filters={filters}, conv={conv}."
            )
        x = relu(upsampler(x))
        x = [ops.depth_to_space(level, step) for level in x]
    x = relu(ends((filters,), 3, initializer=initializer, name="hr")(x))
    x = GroupedConv2D(channels, 3, initializer=initializer, name="tail")(x[0])
    if start == "mmsr":
        x = ops.add(BilinearResize(str(scale), name="enlarge")(image), x)
    else:
        x = ChannelShift(mean, name="add_mean")(x)
    if multiple > 1:
        x = CropToScale(scale, name="crop")([x, lr])
    return keras.Model(lr, x, name=name)


def _of_blocks(conv, levels, filters, blocks, initializer):
    """Returns the function of each block that builds its convolutions."""
    names = [conv] * blocks if isinstance(conv, str) else list(conv)
    if len(names) != blocks:
        raise ValueError(
            f"`conv` must be one name, or one for each of the {blocks} blocks. "
            f"Received: conv={conv}."
        )
    made = [
        functools.partial(multi_scale(name, levels), initializer=initializer)
        for name in names
    ]
    kinds = {
        (type(layer), layer.filters) for layer in (conv2d(filters) for conv2d in made)
    }
    if len(kinds) > 1:
        raise ValueError(
            "`conv` must have the same levels in all blocks. "
            f"Received: conv={conv}, filters={filters}."
        )
    return made


def relu(x: list) -> list:
    """Returns the levels `x` after a ReLU."""
    return [ops.relu(level) for level in x]


def add(x: list, y: list) -> list:
    """Returns the sums of the levels `x` and `y`, level by level."""
    return [ops.add(*pair) for pair in zip(x, y, strict=True)]


def concatenate(maps: list[list]) -> list:
    """Returns one list of levels: each level's channels in all of `maps`, joined."""
    return [ops.concatenate(levels, axis=-1) for levels in zip(*maps, strict=True)]
