"""Arguments that several commands take, and their types."""

import argparse

MODEL_HELP = "a run folder, a .keras or .tflite file, or the word bicubic"


def with_json(command):
    command.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write the result as JSON; without FILE print only that",
    )


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
