"""MODEL arguments as upscalers."""

from tfsr.errors import InputError
from tfsr.quiet import quiet_stderr


def import_tensorflow():
    """Imports Keras without the messages TensorFlow prints before its logging is up."""
    with quiet_stderr():
        import keras  # noqa: F401


def find_upscaler(model, scale):
    """Returns the upscaler of a MODEL argument."""
    if model == "bicubic":
        from tfsr.inference import BicubicUpscaler

        if scale is None:
            raise InputError("bicubic: needs --scale.")
        return BicubicUpscaler(scale)
    if model.endswith(".tflite"):
        from tfsr.tflite.runtime import TFLiteUpscaler

        upscaler = TFLiteUpscaler(model)
        if scale not in (None, upscaler.scale):
            raise InputError(f"{model}: has x{upscaler.scale}, not x{scale}.")
        return upscaler
    import_tensorflow()
    import tfsr
    from tfsr.inference import KerasUpscaler
    from tfsr.models import pick_scale

    loaded = tfsr.load_model(model)
    return KerasUpscaler(loaded, pick_scale(model, loaded, scale))


def or_input_error(function, *arguments):
    try:
        return function(*arguments)
    except ValueError as error:
        raise InputError(error) from None
