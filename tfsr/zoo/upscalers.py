"""Loads the upscaler of a model given by name, file, run folder or word."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from tfsr.arguments import whole
from tfsr.errors import InputError
from tfsr.extras import MODULES, needs
from tfsr.quiet import import_keras
from tfsr.upscaling.upscalers import (
    BicubicUpscaler,
    KerasUpscaler,
    Unchanged,
    Upscaler,
)
from tfsr.zoo import released

if TYPE_CHECKING:
    import keras


def _bicubic(scale, channels):
    if scale in (None, 1):
        raise InputError("bicubic: needs a `scale` of 2 or more.")
    return BicubicUpscaler(scale, channels)


def _unchanged(scale, channels):
    if scale not in (None, 1):
        raise InputError(f"input: has x1, not x{scale}.")
    return Unchanged(channels)


# The baselines by their words; each is made for a scale and channels.
BASELINES: dict[str, Callable[[int | None, int | str], Upscaler]] = {
    "bicubic": _bicubic,
    "input": _unchanged,
}


def load_upscaler(
    model: "str | Path | keras.Model | Upscaler",
    scale: int | None = None,
    channels: int | str | None = None,
    smallest: bool = False,
) -> Upscaler:
    """Returns the upscaler of a model.

    Args:
        model: The name of a released model, a run folder (its best weights), a `.keras`
            or `.tflite` file, a word of `BASELINES`, "bicubic" or "input", a Keras
            model, or an upscaler, which is returned.
        scale: One of the model's scales; needed if it has several.
        channels: "y" for luma alone, with luminance networks and baselines; baselines
            also take 1 or 3.
        smallest: Whether `scale` is by default the smallest of several.

    Raises:
        InputError: If there is no such model or it lacks the scale.
    """
    if scale is not None:
        whole("scale", scale)
    if isinstance(model, str) and model in BASELINES:
        return BASELINES[model](scale, channels or 3)
    if isinstance(model, str | Path):
        file = released.find(model, scale, smallest)
        return _load(str(file), scale, channels, smallest)
    keras = sys.modules.get("keras")  # loaded if the caller has a Keras model
    if keras is not None and isinstance(model, keras.Model):
        from tfsr.zoo.keras_models import as_image_model

        name = model.name
        return _of_keras(as_image_model(model, name), name, scale, channels, smallest)
    if not hasattr(model, "scale"):
        raise InputError(
            "`model` must be a name, a path, a Keras model or an upscaler. "
            f"Received: {type(model).__name__}."
        )
    pick_scale(model.name, (model.scale,), scale)
    return model


@contextlib.contextmanager
def naming_lighter(model: str | Path) -> Iterator[None]:
    """Advises a released network's int8 files if the network's packages are missing."""
    try:
        yield
    except ModuleNotFoundError as error:
        light = " or ".join(released.int8_names(released.named(str(model))))
        if not (light and error.name in MODULES):
            raise
        raise InputError(f"{needs(error.name)}; without it take {light}.") from None


def pick_scale(name: str, available: tuple[int, ...], scale: int | None) -> int:
    """Returns the scale to use: `scale`, or the only one available.

    Raises:
        InputError: If `scale` is not available, or None with several to choose from;
            names the model by `name`.
    """
    if scale is None and len(available) == 1:
        return available[0]
    if scale not in available:
        has = ", ".join(f"x{s}" for s in available)
        advice = {None: "choose one by `scale`", 1: "it enlarges; see tfsr upscale"}
        raise InputError(f"{name}: has {has}; {advice.get(scale, f'not x{scale}')}.")
    return scale


def _load(file, scale, channels, smallest):
    """Returns the upscaler of a file or a run folder."""
    name = released.named(file)
    if file.endswith(".tflite"):
        from tfsr.tflite.runtime import TFLiteUpscaler

        if channels == "y":
            raise _has_colors(name)
        upscaler = TFLiteUpscaler(file)
        pick_scale(name, (upscaler.scale,), scale)
        return upscaler
    from tfsr.zoo.loading import find_model, load_degradation, load_model

    find_model(file)  # raises before Keras is loaded
    import_keras()
    loaded = load_model(file)
    return _of_keras(loaded, name, scale, channels, smallest, load_degradation(file))


def _of_keras(model, name, scale, channels, smallest, task=None):
    from tfsr.models import luminance_scales, scales
    from tfsr.tflite.formats import FORMATS
    from tfsr.tflite.quantization.aware import qat_format

    if channels == "y" and not luminance_scales(model):
        raise _has_colors(name)
    available = scales(model)
    if smallest:
        scale = scale or min(available)
    scale = pick_scale(name, available, scale)
    asked = qat_format(model)
    if asked and FORMATS[asked].upscaler:
        return FORMATS[asked].load("upscaler")(model, scale, name, task)
    return KerasUpscaler(model, scale, channels, name, task)


def _has_colors(name):
    return InputError(
        f"{name}: takes colours; only networks of luma can be scored on luma alone."
    )
