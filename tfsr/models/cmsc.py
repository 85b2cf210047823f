"""CMSC: cascaded multi-scale cross network.

Hu, Gao, Li, Huang and Wang, "Single Image Super-Resolution via Cascaded Multi-Scale
Cross Network", 2018, https://arxiv.org/abs/1802.08808

The networks see the bicubic enlargement of the luma, so that one serves every scale.
Convolutions start from He-normal initial values. Batch normalization and LeakyReLU
follow each of them, except those that reconstruct the image.

Departure: by default what reconstructs starts at a hundredth of that, so that the first
output is the enlargement and little more. `start="paper"`, in all of `configs/cmsc`,
has He's values there too; the first loss is then 35 times that of the mean colour.
"""

from collections.abc import Sequence

import keras

from tfsr.layers import ConvNorm, GroupedConv2D, MultiScaleCross, WeightedAverage
from tfsr.layers.conv_norm import leaky_relu
from tfsr.models.luminance import check_channels, luminance_input
from tfsr.models.sizes import check_positive

# Initial values of the convolutions that reconstruct. He's have a scale of 2.
STARTS = {
    "fair": {
        "class_name": "VarianceScaling",
        "config": {"scale": 2 * 0.01**2, "mode": "fan_in"},
    },
    "paper": "he_normal",
}


def cmsc(
    scale: int | Sequence[int] = (2, 3, 4),
    stages: int = 3,
    modules: int = 5,
    filters: int = 64,
    kernel_sizes: Sequence[int] = (3, 5),
    supervision: str = "cascaded",
    reconstruction: str = "own",
    residual_features: bool = True,
    channels: int = 1,
    start: str = "fair",
) -> keras.Model:
    """Builds CMSC, from bicubic to refined luma, both `(B, H, W, 1)` in [0, 1].

    With cascaded supervision the output is a dictionary: the final prediction, `"sr"`,
    and each stage's prediction, `"stage_1"` to `"stage_S"`. With `"last"` it is one
    tensor. The depth is (2 M + 1) S + 2 convolutions, equation (9).

    Args:
        scale: Upscaling factor 2, 3 or 4, or several of them.
        stages: Number S of cascaded subnetworks.
        modules: Number M of modules in each.
        filters: Channels of all hidden convolutions.
        kernel_sizes: Sides of the kernels in the two branches of a module.
        supervision: `"cascaded"`: every stage predicts, and the final prediction is
            their average with learned weights. `"last"`: only the last stage predicts
            (CMSC_NS).
        reconstruction: Whether each stage has its `"own"` last convolution, or all have
            a `"shared"` one (CMSC_SR).
        residual_features: Whether a stage adds its input to its output. If not, and
            with `supervision="last"`, this is CMSC_NRS.
        channels: Must be 1.
        start: Initial values of what reconstructs: `"fair"`, small ones, or the
            `"paper"`'s.
    """
    check_positive(stages=stages, modules=modules, filters=filters)
    check_channels(channels)
    _check_start(start)
    for name, value, allowed in (
        ("supervision", supervision, ("cascaded", "last")),
        ("reconstruction", reconstruction, ("own", "shared")),
    ):
        if value not in allowed:
            raise ValueError(
                f"`{name}` must be one of {allowed}. Received: {name}={value}."
            )
    lr = luminance_input(scale)
    x = leaky_relu(ConvNorm(filters, 3, name="head")(lr))  # equation (4)
    predictions = []
    for q in range(1, stages + 1):
        y = leaky_relu(ConvNorm(filters, 3, name=f"stage_{q}_conv")(x))
        y = _modules(y, modules, filters, kernel_sizes, f"stage_{q}")
        x = keras.ops.add(y, x) if residual_features else y  # equation (3)
        predictions.append(x)
    if supervision == "last":
        sr = _reconstruct(predictions[-1:], lr, "shared", start)[0]
        return keras.Model(lr, sr, name="cmsc")
    predictions = _reconstruct(predictions, lr, reconstruction, start)
    # In float32 even if trained in mixed precision: 16 bits would round the image.
    sr = WeightedAverage(dtype="float32", name="average")(predictions)
    outputs = {f"stage_{q}": p for q, p in enumerate(predictions, 1)}
    return keras.Model(lr, {"sr": sr, **outputs}, name="cmsc")


def pmsc(
    scale: int | Sequence[int] = (2, 3, 4),
    modules: int = 15,
    filters: int = 64,
    kernel_sizes: Sequence[int] = (3, 5),
    residual_features: bool = True,
    channels: int = 1,
    start: str = "fair",
) -> keras.Model:
    """Builds PMSC, the plain network of Fig. 6(a), `(B, H, W, 1)` to the same shape.

    It is a convolution, a row of modules, and the convolution that reconstructs. With
    four modules and no residual features it is a network of Fig. 4(b), named after the
    kernels of its modules: MR_L3R3, MR_L5R5, MSC_L3R5 or MSC_L3R7.

    Args:
        scale: Upscaling factor 2, 3 or 4, or several of them.
        modules: Number of modules.
        filters: Channels of all hidden convolutions.
        kernel_sizes: Sides of the kernels in the two branches of a module.
        residual_features: Whether the first convolution's output is added to the last
            module's.
        channels: Must be 1.
        start: Initial values of what reconstructs: `"fair"`, small ones, or the
            `"paper"`'s.
    """
    check_positive(modules=modules, filters=filters)
    check_channels(channels)
    _check_start(start)
    lr = luminance_input(scale)
    x = leaky_relu(ConvNorm(filters, 3, name="head")(lr))
    y = _modules(x, modules, filters, kernel_sizes, "body")
    x = keras.ops.add(y, x) if residual_features else y
    return keras.Model(lr, _reconstruct([x], lr, "shared", start)[0], name="pmsc")


def supervision_weights(outputs: list[str]) -> dict[str, float]:
    """Returns the loss weight of each of CMSC's outputs, equation (8).

    The final prediction has the weight alpha = 2 / (S + 2), and each of the S stages
    half of that, so that all weights sum to 1.

    Args:
        outputs: Names of the outputs: `"sr"` and those of the stages.
    """
    stages = len(outputs) - 1
    alpha = 2 / (stages + 2)
    return {name: alpha if name == "sr" else (1 - alpha) / stages for name in outputs}


def _check_start(start):
    if start not in STARTS:
        raise ValueError(
            f"`start` must be one of {tuple(STARTS)}. Received: start={start}."
        )


def _modules(x, modules, filters, kernel_sizes, name):
    """Returns the output of a row of modules on `x`, equation (3)."""
    branches = [x, x]
    for m in range(modules):
        module = MultiScaleCross(
            filters, kernel_sizes, last=m == modules - 1, name=f"{name}_module_{m}"
        )
        branches = module(branches)
    return branches


def _reconstruct(features, lr, reconstruction, start):
    """Returns the prediction of each of `features`, equation (6)."""
    predictions = []
    for q, x in enumerate(features, 1):
        if q == 1 or reconstruction == "own":
            name = "tail" if reconstruction == "shared" else f"tail_{q}"
            tail = GroupedConv2D(1, 3, initializer=STARTS[start], name=name)
        predictions.append(keras.ops.add(tail(x), lr))
    return predictions
