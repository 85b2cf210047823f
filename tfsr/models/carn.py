"""CARN and CARN-M.

Ahn, Kang and Sohn, "Fast, Accurate, and Lightweight Super-Resolution with Cascading
Residual Network", ECCV 2018, https://arxiv.org/abs/1803.08664
Authors' code: https://github.com/nmhkahn/CARN-pytorch

Where the paper is silent this follows the authors' code: the mean of DIV2K's RGB is
subtracted before the first convolution and added after the last; a ReLU follows every
upsampler convolution, but not the first and the last convolution; CARN-M's upsampler is
grouped like its body.

Where the two differ it follows the code too, as the released weights do:
- Equations (3) and (4) concatenate the outputs of all earlier fusions, and a fusion is
  a convolution alone. In the code it sees the outputs of the units or blocks before it,
  and the first input, and a ReLU follows it.
- The paper prints initial values within +-1/sqrt(c_in), which
  `initializer="input_channels"` has; the code's, `initializer="authors"`, are uniform
  in +-1/sqrt(k * k * c_in / groups).

Departures:

- By default kernels start as the code's do and biases at 0. The code's biases outweigh
  its maps: a ReLU leaves 13 % of CARN's channels and 24 % of CARN-M's at 0 everywhere
  before the first step, without them at most 0.2 %.
- For several scales, the authors draw one scale a step. Here every step has a batch of
  each scale, and the body runs once on all of them.
"""

from collections.abc import Sequence

import keras

from tfsr.layers import (
    CascadingBlock,
    ChannelShift,
    GroupedConv2D,
    JoinScales,
    SplitScales,
    Upsampler,
)
from tfsr.models.sizes import check_channels

RGB_MEAN = (0.4488, 0.4371, 0.4040)
LUMA_MEAN = (0.4369,)  # RGB_MEAN weighted by 0.299, 0.587, 0.114
INITIALIZERS = {  # as `GroupedConv2D` takes them
    "fair": {  # uniform in +-1/sqrt(fan_in), biases of 0
        "class_name": "VarianceScaling",
        "config": {"scale": 1 / 3, "distribution": "uniform"},
    },
    "authors": None,
    "input_channels": "input_channels",
}


def carn(
    scale: int | Sequence[int] = (2, 3, 4),
    filters: int = 64,
    blocks: int = 3,
    units: int = 3,
    groups: int | None = None,
    recursive: bool = False,
    local_cascading: bool = True,
    global_cascading: bool = True,
    channels: int = 3,
    initializer: str = "fair",
) -> keras.Model:
    """Builds CARN, `(B, H, W, channels)` to `(B, H * scale, W * scale, channels)`.

    Args:
        scale: Upscaling factor 2, 3 or 4, or a tuple of them. For a tuple, inputs and
            outputs are dicts `{"lr_x2": ...}` and `{"sr_x2": ...}` with LR batches of
            one shape; `single_scale` returns the model of one of the scales.
        filters: Channels of the body.
        blocks: Number B of cascading blocks.
        units: Number U of residual units in a block.
        groups: Groups of residual-E units and of the upsampler; `None` for plain
            residual units.
        recursive: Whether the units of a block share their weights.
        local_cascading: Whether units cascade within a block (not in CARN-NL).
        global_cascading: Whether blocks cascade (not in CARN-NG).
        channels: 3 for RGB, 1 for grayscale.
        initializer: `"input_channels"` for the paper's initial values, `"authors"` for
            the authors' code's, `"fair"` for these with biases of 0.
    """
    if initializer not in INITIALIZERS:
        raise ValueError(
            f"`initializer` must be one of {tuple(INITIALIZERS)}. "
            f"Received: initializer={initializer}."
        )
    start = INITIALIZERS[initializer]
    check_channels(channels)
    mean = RGB_MEAN if channels == 3 else LUMA_MEAN
    scales = tuple(scale) if isinstance(scale, tuple | list) else (scale,)
    if not scales:
        raise ValueError(f"`scale` must not be empty. Received: scale={scale}.")
    if any(type(s) is not int for s in scales) or len(set(scales)) < len(scales):
        raise ValueError(
            f"`scale` must be an integer or distinct ones. Received: scale={scale}."
        )
    for name, value in (("filters", filters), ("blocks", blocks), ("units", units)):
        if type(value) is not int or value < 1:
            raise ValueError(
                f"`{name}` must be a positive integer. Received: {name}={value}."
            )
    inputs = {s: keras.Input((None, None, channels), name=f"lr_x{s}") for s in scales}

    lr = list(inputs.values())
    x = JoinScales(name="join")(lr) if len(lr) > 1 else lr[0]
    x = ChannelShift([-m for m in mean], name="sub_mean")(x)
    x = GroupedConv2D(filters, 3, initializer=start, name="head")(x)  # H^0
    cascade = [x]
    for b in range(blocks):  # equation (4), as the authors' code has it
        x = CascadingBlock(
            filters,
            units,
            groups,
            recursive,
            local_cascading,
            start,
            name=f"block_{b}",
        )(x)
        if global_cascading:
            cascade.append(x)
            x = keras.layers.Concatenate(name=f"cascade_{b}")(cascade)
            x = GroupedConv2D(filters, 1, initializer=start, name=f"fuse_{b}")(x)
            x = keras.layers.ReLU(name=f"fuse_relu_{b}")(x)
    features = SplitScales(len(lr), name="split")(x) if len(lr) > 1 else [x]

    tail = GroupedConv2D(channels, 3, initializer=start, name="tail")
    add_mean = ChannelShift(mean, name="add_mean")
    outputs = {}
    for s, x in zip(scales, features, strict=True):
        x = Upsampler(filters, s, groups or 1, start, name=f"upsampler_x{s}")(x)
        outputs[s] = add_mean(tail(x))

    if isinstance(scale, int):
        return keras.Model(inputs[scale], outputs[scale], name="carn")
    return keras.Model(
        {f"lr_x{s}": inputs[s] for s in scales},
        {f"sr_x{s}": outputs[s] for s in scales},
        name="carn",
    )


def carn_m(
    scale: int | Sequence[int] = (2, 3, 4),
    filters: int = 64,
    blocks: int = 3,
    units: int = 3,
    groups: int | None = 4,
    recursive: bool = True,
    local_cascading: bool = True,
    global_cascading: bool = True,
    channels: int = 3,
    initializer: str = "fair",
) -> keras.Model:
    """Builds CARN-M: residual-E units in groups, shared within a cascading block.

    Args:
        scale: As for `carn`, and so are the others.
        filters: Channels of the body.
        blocks: Number of cascading blocks.
        units: Number of residual-E units in a block.
        groups: Groups of the units and of the upsampler.
        recursive: Whether the units of a block share their weights.
        local_cascading: Whether units cascade within a block.
        global_cascading: Whether blocks cascade.
        channels: 3 for RGB, 1 for grayscale.
        initializer: As for `carn`.
    """
    model = carn(
        scale,
        filters,
        blocks,
        units,
        groups,
        recursive,
        local_cascading,
        global_cascading,
        channels,
        initializer,
    )
    model.name = "carn_m"
    return model
