"""Arguments that several commands take, and their types."""

import argparse

from tfsr.errors import InputError
from tfsr.shards import Shard
from tfsr.zoo import released

MODEL_HELP = "a run folder, a .keras or .tflite file, or a released model's name"
KERAS_MODEL_HELP = "a run folder, a .keras file or a released model's name"


def known_model(text):
    """Returns the file of the released model that a MODEL argument names.

    Other arguments, and names that have a network for each scale, are returned as they
    are.
    """
    try:
        return text if released.by_scale(text) else str(released.find(text))
    except InputError as error:
        raise argparse.ArgumentTypeError(error) from None


def with_json(command):
    command.add_argument(
        "--json",
        nargs="?",
        const="-",
        metavar="FILE",
        help="write the result as JSON to FILE; without FILE, print JSON only",
    )


def with_shard(command, pieces):
    command.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help=f"do share I of N of the {pieces} and leave the others to other machines; "
        "then run the command without it to join the results",
    )


def _shard(text):
    index, _, count = text.partition("/")
    if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not I/N, such as 1/4")
    return Shard(int(index), int(count))


def with_overrides(command):
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override a value of the config, or of all configs",
    )


def with_tensorboard(command):
    command.add_argument(
        "--tensorboard",
        action="store_true",
        help="write logs with pictures for TensorBoard",
    )


def with_litert_js(command):
    command.add_argument(
        "--litert-js",
        metavar="DIR",
        help="where npm install @litertjs/core@2.5.3 was run; this folder by default",
    )


def with_lr_size(command):
    command.add_argument(
        "--size",
        type=size,
        metavar="HxW",
        help="LR size; by default the one for 1280x720 HR",
    )


def with_dynamic_size(command):
    command.add_argument(
        "--size",
        type=size,
        default=(180, 320),
        metavar="HxW",
        help="input size of dynamic .tflite files in benchmarks; 180x320 by default",
    )


def with_degradation(command):
    command.later(_degradations)


def _degradations(command):
    from tfsr.data.degradation_type import BICUBIC
    from tfsr.data.degradations import DEGRADATIONS

    def asked(kind):
        def parse(text):
            try:
                return kind(**{kind.option.parameter: kind.option.parse(text)})
            except ValueError as error:
                raise argparse.ArgumentTypeError(error) from None

        return parse

    for kind in DEGRADATIONS.values():
        if kind.option:
            command.add_argument(
                kind.option.flag,
                type=asked(kind),
                action="append",
                dest="degradations",
                metavar=kind.option.metavar,
                help=f"degrade the input by {kind.option.help}; several options apply "
                "in their order; by default as the model was trained",
            )

    command.add_argument(
        "--bicubic",
        action="append_const",
        const=BICUBIC,
        dest="degradations",
        help="score on clean bicubic LR, whatever the model was trained on",
    )


def degradation_asked(options):
    """Returns the degradation that options such as `--jpeg` ask for, or None."""
    from tfsr.data.degradation_type import chain

    return chain(options.degradations) if options.degradations else None


def with_metrics(command):
    command.later(_metrics)


def _metrics(command):
    from tfsr.metrics import DEFAULT, METRICS, check_names

    def names(text):
        wanted = tuple(text.split(","))
        try:
            check_names(wanted)
        except InputError as error:
            raise argparse.ArgumentTypeError(error) from None
        return wanted

    command.add_argument(
        "--metrics",
        type=names,
        metavar="NAME[,NAME...]",
        help=f"any of {', '.join(METRICS)}; by default {','.join(DEFAULT)} and what "
        "papers add for the degradation",
    )


def whole(text):
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number")
    return int(text)


def size(text):
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not HEIGHTxWIDTH, such as 180x320"
        )
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
