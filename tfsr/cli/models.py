"""MODEL arguments as upscalers."""

from tfsr.errors import InputError
from tfsr.quiet import quiet_stderr


def import_tensorflow():
    """Imports Keras without the messages TensorFlow prints before its logging is up."""
    with quiet_stderr():
        import keras  # noqa: F401


def find_upscaler(model, scale, channels=None, smallest=False):
    """Returns the upscaler of a MODEL argument.

    Args:
        model: The MODEL argument.
        scale: One of its scales; None if it has one alone.
        channels: "y" for its luma.
        smallest: Whether None is the smallest of several scales.
    """
    if model == "bicubic":
        from tfsr.upscaling.upscalers import BicubicUpscaler

        if scale in (None, 1):
            raise InputError("bicubic: needs --scale, 2 or more.")
        return BicubicUpscaler(scale, channels or 3)
    if model == "input":
        from tfsr.upscaling.upscalers import Unchanged

        if scale not in (None, 1):
            raise InputError(f"input: has x1, not x{scale}.")
        return Unchanged()
    from tfsr.upscaling.upscalers import pick_scale

    if model.endswith(".tflite"):
        from tfsr.tflite.runtime import TFLiteUpscaler

        if channels == "y":
            raise _has_colors(model)
        upscaler = TFLiteUpscaler(model)
        pick_scale(model, (upscaler.scale,), scale)
        return upscaler
    import_tensorflow()
    import tfsr
    from tfsr.models import luminance_scales, scales
    from tfsr.tflite.quantization.aware import trained_format
    from tfsr.upscaling.upscalers import KerasUpscaler

    loaded = tfsr.load_model(model)
    if channels == "y" and not luminance_scales(loaded):
        raise _has_colors(model)
    available = scales(loaded)
    if smallest:
        scale = scale or min(available)
    scale = pick_scale(model, available, scale)
    if trained_format(loaded) == "int8":
        from tfsr.tflite.quantization.integers import IntegerUpscaler

        return IntegerUpscaler(loaded, scale)
    return KerasUpscaler(loaded, scale, channels)


def _has_colors(model):
    return InputError(f"{model}: has colours; --protocol luma is for networks of Y.")


def find_degradation(model, upscaler, asked):
    """Returns what the images for an upscaler are degraded by.

    Args:
        model: The MODEL argument.
        upscaler: What `find_upscaler` returned for it.
        asked: What `degradation_asked` returned; else it is the model's own.
    """
    from tfsr.data.degradation import DEGRADATIONS, asked_or_own

    own = own_degradation(model, upscaler)
    found = asked_or_own(asked, own, upscaler.scale)
    if found is None:
        options = [kind.option for kind in DEGRADATIONS.values() if kind.option]
        flags = " or ".join(f"{option.flag} {option.metavar}" for option in options)
        raise InputError(
            f"{model}: does not say what it restores; give {flags}"
            f"{'.' if model == 'input' else ', or its run folder.'}"
        )
    return found


def own_degradation(model, upscaler):
    """Returns what an upscaler was made for; None if unknown."""
    from tfsr.data.degradation import BICUBIC, from_table
    from tfsr.zoo.loading import load_degradation

    if model.endswith(".tflite"):
        table = upscaler.metadata.get("degradation")
        own = table and or_input_error(from_table, table)
    else:
        own = None if model in ("bicubic", "input") else load_degradation(model)
    return own or (BICUBIC if upscaler.scale > 1 else None)


def or_input_error(function, *arguments):
    try:
        return function(*arguments)
    except ValueError as error:
        raise InputError(error) from None
