"""The scales a model was built for, and the inference model of one of them."""

import keras

from tfsr.layers import JoinScales, SplitScales
from tfsr.models.luminance import enlarging, luminance_scales

TRIED_SIDES = (48, 64, 128, 240)  # pixels; one of them suits a pyramid of any depth


def scales(model: keras.Model) -> tuple[int, ...]:
    """Returns the upscaling factors that `model` has, ascending.

    Raises:
        ValueError: If the output's sides are no whole multiple of the input's.
    """
    if isinstance(model.input, dict):
        return tuple(sorted(int(name.removeprefix("lr_x")) for name in model.input))
    if luminance_scales(model):
        return luminance_scales(model)
    return (_only_scale(model),)


def _only_scale(model):
    """Returns the upscaling factor of a model of one input and one output."""
    _, *own, channels = model.input.shape
    sizes = [own] if None not in own else [(side, side) for side in TRIED_SIDES]
    for height, width in sizes:
        try:
            shape = model.compute_output_shape((1, height, width, channels))
        except Exception:  # a network with levels may need certain multiples
            continue
        if None in shape[1:3]:
            raise ValueError(
                f"its output for {height}x{width} pixels has no fixed size."
            )
        scale = shape[1] // height
        if scale and tuple(shape[1:3]) == (height * scale, width * scale):
            return scale
        raise ValueError(
            f"gives {shape[1]}x{shape[2]} pixels for {height}x{width}; must be a "
            "whole multiple."
        )
    raise ValueError(f"does not run on images of {sizes[-1][0]}x{sizes[-1][1]}.")


def training_scales(model: keras.Model) -> tuple[int, ...]:
    """Returns the size factors from input patches to HR patches in training.

    They are the model's scales, or 1 for a luminance network, whose input is enlarged.
    """
    return (1,) if luminance_scales(model) else scales(model)


def single_scale(
    model: keras.Model, scale: int, channels: int | str | None = None
) -> keras.Model:
    """Returns the inference model of one scale, sharing the weights of `model`.

    A model of only that scale is returned as it is. A luminance network gets layers
    that enlarge: the result goes from RGB LR to RGB SR.

    Args:
        model: A model of one or several scales.
        scale: One of them.
        channels: "y" makes the model of a luminance network go from luma to luma.

    Raises:
        ValueError: If `model` lacks the scale.
    """
    available = scales(model)
    if scale not in available:
        raise ValueError(
            f"`scale` must be one of {available}. Received: scale={scale}."
        )
    if luminance_scales(model):
        return enlarging(model, scale, 1 if channels == "y" else 3)
    if not isinstance(model.input, dict):
        return model
    position = list(model.input).index(f"lr_x{scale}")

    def call(layer, *args, **kwargs):
        if isinstance(layer, JoinScales):
            return args[0][position]
        if isinstance(layer, SplitScales):
            return [args[0]] * layer.scales
        return layer(*args, **kwargs)

    parts = keras.models.clone_model(
        model, clone_function=lambda layer: layer, call_function=call
    )
    return keras.Model(
        parts.input[f"lr_x{scale}"], parts.output[f"sr_x{scale}"], name=model.name
    )
