"""Luminance networks: they refine the luma of a bicubic enlargement, at any scale.

Colour is enlarged bicubically. To add d to Y with Cb and Cr unchanged is to add
d * 255 / 219 to each of R, G and B. So the network's residual is added to the enlarged
RGB image, which keeps its precision: nothing is converted to YCbCr and back.
"""

import re
from collections.abc import Sequence

import keras

from tfsr.graph.graph import Graph, run_node
from tfsr.layers import BicubicEnlarge, Luma

PREFIX = "luma"
RANGE = 255 / 219  # range of R, G and B over the range of Y


def luminance_input(scale: int | Sequence[int]) -> keras.KerasTensor:
    """Returns the input of a luminance network, `(B, H, W, 1)` in [0, 1].

    Its name lists the scales of the network, as in `luma_x2_x3_x4`.

    Raises:
        ValueError: If a scale is not 2, 3 or 4, or comes twice.
    """
    scales = tuple(scale) if isinstance(scale, tuple | list) else (scale,)
    known = all(type(s) is int and 2 <= s <= 4 for s in scales)
    if not scales or not known or len(set(scales)) < len(scales):
        raise ValueError(
            f"`scale` must be 2, 3 or 4, or several of them. Received: scale={scale}."
        )
    name = "_".join([PREFIX, *(f"x{s}" for s in sorted(scales))])
    return keras.Input((None, None, 1), name=name)


def luminance_scales(model: keras.Model) -> tuple[int, ...]:
    """Returns the scales of a luminance network; `()` for any other model."""
    name = model.inputs[0].name
    if not re.fullmatch(rf"{PREFIX}(_x\d)+", name):
        return ()
    return tuple(int(scale) for scale in re.findall(r"_x(\d)", name))


def check_channels(channels: int) -> None:
    """Raises `ValueError` unless `channels` is 1, as luminance networks need."""
    if channels != 1:
        raise ValueError(
            f"`channels` must be 1, the luma. Received: channels={channels}."
        )


def stages(model: keras.Model) -> dict[str, keras.Model]:
    """Returns the model up to the prediction of each stage, if there are stages."""
    if not luminance_scales(model) or not isinstance(model.output, dict):
        return {}
    return {
        name: keras.Model(model.input, output, name=model.name)
        for name, output in model.output.items()
        if name != "sr"
    }


def enlarging(model: keras.Model, scale: int, channels: int = 3) -> keras.Model:
    """Returns a model from LR to SR of one scale around a luminance network.

    `(B, H, W, channels)` to `(B, H * scale, W * scale, channels)`, both in [0, 1].

    Args:
        model: A luminance network; the result shares its weights. Of a cascade's
            predictions only the final one is kept.
        scale: One of its scales.
        channels: 3 for RGB; 1 for images of luma alone.
    """
    output = model.output["sr"] if isinstance(model.output, dict) else model.output
    graph = Graph([model.input], [output])
    lr = keras.Input((None, None, channels), name=f"lr_x{scale}")
    enlarged = BicubicEnlarge(scale, name=f"enlarge_x{scale}")(lr)
    if channels == 1:
        (sr,) = graph.run([enlarged], run_node)
        return keras.Model(lr, sr, name=model.name)
    y = Luma(name=f"luma_x{scale}")(enlarged)
    (refined,) = graph.run([y], run_node)
    residual = keras.ops.subtract(refined, y) * RANGE
    return keras.Model(lr, keras.ops.add(enlarged, residual), name=model.name)


def in_color(model: keras.Model) -> keras.Model:
    """Returns a model from RGB LR to RGB SR around a luminance network.

    With several scales its inputs and outputs are dictionaries, `{"lr_x2": ...}` and
    `{"sr_x2": ...}`, as those of other models are. A model that is no luminance network
    is returned as it is.
    """
    parts = [enlarging(model, scale) for scale in luminance_scales(model)]
    if len(parts) < 2:
        return parts[0] if parts else model
    inputs = {part.input.name: part.input for part in parts}
    outputs = {
        name.replace("lr", "sr"): part.output
        for name, part in zip(inputs, parts, strict=True)
    }
    return keras.Model(inputs, outputs, name=model.name)
