"""The scales a model was built for, and the inference model of one of them."""

import keras

from tfsr.layers import JoinScales, SplitScales
from tfsr.models.luminance import enlarging, luminance_scales


def scales(model: keras.Model) -> tuple[int, ...]:
    """Returns the upscaling factors that `model` has, ascending."""
    if isinstance(model.input, dict):
        return tuple(sorted(int(name.removeprefix("lr_x")) for name in model.input))
    if luminance_scales(model):
        return luminance_scales(model)
    shape = model.compute_output_shape((1, 48, 48, model.input.shape[-1]))
    return (shape[1] // 48,)


def training_scales(model: keras.Model) -> tuple[int, ...]:
    """Returns how many times larger HR patches are than what `model` is trained on."""
    return (1,) if luminance_scales(model) else scales(model)


def single_scale(
    model: keras.Model, scale: int, channels: int | str | None = None
) -> keras.Model:
    """Returns the inference model of one scale, sharing the weights of `model`.

    A model of that scale alone is returned as it is; a luminance network within what
    makes SR in colour of LR.

    Args:
        model: A model of one or several scales.
        scale: One of them.
        channels: "y" for a luminance network on luma alone.

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
