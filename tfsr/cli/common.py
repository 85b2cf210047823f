"""What the commands share: messages, results, models by name, types of arguments."""

import argparse
import sys

from tfsr import files
from tfsr.errors import InputError
from tfsr.quiet import quiet_stderr

MODEL_HELP = "a run folder, a .keras or .tflite file, or the word bicubic"


def with_json(command):
    command.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write the result as JSON; without FILE print only that",
    )


def say(message):
    print(f"tfsr: {one_line(message)}", file=sys.stderr)


def fail(message, code=2):
    say(message)
    return code


def one_line(message):
    return " ".join(str(message).split())


def present(options, report, text):
    """Prints `text`, or writes `report` where `--json` says."""
    if options.json == "-":
        print(files.to_json(report))
        return
    print(text)
    if options.json:
        files.write_json(options.json, report)


def columns(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


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


def size(text):
    if text == "dynamic":
        return None
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, as 180x320")
    return int(height), int(width)


def sizes(text):
    return [size(part) for part in text.split(",")]


def positive(text):
    if not (text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def positives(text):
    return [positive(part) for part in text.split(",")]
