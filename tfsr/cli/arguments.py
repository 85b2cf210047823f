"""Arguments that several commands take, and their types."""

import argparse

from tfsr.errors import InputError
from tfsr.zoo import released

MODEL_HELP = "a run folder, a .keras or .tflite file, or a released model's name"


def known_model(text):
    """Returns a MODEL argument; of a released model its file."""
    try:
        return str(released.find(text))
    except InputError as error:
        raise argparse.ArgumentTypeError(error) from None


def with_json(command):
    command.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write the result as JSON; without FILE print only that",
    )


def with_overrides(command):
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override a value of the config, of every config if there are several",
    )


def with_degradation(command):
    either = command.add_mutually_exclusive_group()
    either.add_argument(
        "--noise",
        type=sigma,
        metavar="SIGMA",
        help="restore from Gaussian noise, in 8-bit units; the model's own by default",
    )
    either.add_argument(
        "--jpeg",
        type=quality,
        metavar="Q",
        help="restore from JPEG files of this quality; the model's own by default",
    )


def degradation_asked(options):
    """Returns the degradation of `--noise` or `--jpeg`; None without them."""
    from tfsr.data import JPEG, GaussianNoise

    if options.noise:
        return GaussianNoise(options.noise)
    return JPEG(options.jpeg) if options.jpeg else None


def with_metrics(command):
    command.later(_metrics)


def _metrics(command):
    from tfsr.metrics import DEFAULT, METRICS

    def names(text):
        wanted = tuple(text.split(","))
        for name in wanted:
            if name not in METRICS:
                raise argparse.ArgumentTypeError(
                    f"{name!r} is not one of {', '.join(METRICS)}"
                )
        return wanted

    command.add_argument(
        "--metrics",
        type=names,
        metavar="NAME[,NAME...]",
        help=f"of {', '.join(METRICS)}; by default {','.join(DEFAULT)}, and what "
        "papers add for the degradation",
    )


def sigma(text):
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0")
    return value


def quality(text):
    if not (text.isdigit() and 1 <= int(text) <= 100):
        raise argparse.ArgumentTypeError(f"{text!r} is not from 1 to 100")
    return int(text)


def whole(text):
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def size(text):
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, as 180x320")
    return int(height), int(width)


def sizes(text):
    found = [None if t == "dynamic" else size(t) for t in text.split(",")]
    if len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{text!r} has a size twice")
    return found


def png(text):
    if not text.lower().endswith(".png"):
        raise argparse.ArgumentTypeError(f"{text!r} does not end in .png")
    return text


def positive(text):
    if not (text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def positives(text):
    return [positive(part) for part in text.split(",")]
