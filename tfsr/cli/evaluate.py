"""`tfsr evaluate`."""

import argparse

from tfsr.cli.arguments import (
    MODEL_HELP,
    degradation_asked,
    known_model,
    png,
    positive,
    whole,
    with_degradation,
    with_json,
    with_metrics,
)
from tfsr.cli.models import find_degradation, find_upscaler
from tfsr.cli.output import columns, present
from tfsr.errors import InputError
from tfsr.zoo import released

PROTOCOLS = ("sr_y", "sr_gray", "luma", "color", "gray")
BASELINES = ("bicubic", "input")  # which take images of any channels


def add(command):
    evaluate = command("evaluate", run, "Score a model on a benchmark folder.")
    evaluate.add_argument(
        "model",
        type=known_model,
        help=f"{MODEL_HELP}, or the words bicubic or input for what it betters",
    )
    evaluate.add_argument("folder", help="images, or HR/ and LR_bicubic/X2, X3, X4")
    evaluate.add_argument("--scale", type=positive)
    with_degradation(evaluate)
    evaluate.add_argument(
        "--uint8",
        action="store_true",
        help="clip and round noisy images to 8 bits; int8 models get them so anyway",
    )
    evaluate.add_argument(
        "--seed", type=whole, default=0, metavar="N", help="of the noise; 0 by default"
    )
    evaluate.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        help="what is scored; by default colour or gray as the model has it; luma, of "
        "bicubic and of luminance networks, rounds nothing",
    )
    evaluate.add_argument(
        "--rescale",
        type=_factor,
        default=1,
        metavar="FACTOR",
        help="shrink the HR images first, by 0.8, 0.6 or 0.5 in the MS3-Conv paper",
    )
    evaluate.add_argument(
        "--self-ensemble",
        action="store_true",
        help="average over the eight flips and turns",
    )
    evaluate.add_argument(
        "--picture",
        type=png,
        metavar="FILE.png",
        help="the worst and the median image before and after, whole and a crop",
    )
    with_metrics(evaluate)
    evaluate.add_argument(
        "--ifc",
        action="store_true",
        help="add ifc, the information fidelity criterion, which needs pyrtools",
    )
    evaluate.add_argument(
        "--border",
        type=whole,
        metavar="N",
        help="pixels shaved from each side; by default the scale, none in restoration",
    )
    with_json(evaluate)


def run(options):
    luma = "y" if options.protocol == "luma" else None
    upscaler = find_upscaler(options.model, options.scale, luma)
    from tfsr.data import BenchmarkFolder
    from tfsr.data.degradation import BICUBIC, in_8_bits, task_name
    from tfsr.scoring.evaluation import default_metrics, draw_examples, evaluate
    from tfsr.upscaling.upscalers import SelfEnsemble

    if options.picture and "psnr" not in (options.metrics or ("psnr",)):
        raise InputError("--picture: shows images by PSNR; add psnr to --metrics.")
    degradation = find_degradation(options.model, upscaler, degradation_asked(options))
    if degradation == BICUBIC and (options.uint8 or options.seed):
        raise InputError(
            f"{options.model}: enlarges; --uint8 and --seed are for degraded LR."
        )
    if luma and degradation != BICUBIC:
        raise InputError(f"--protocol luma: its LR is bicubic, not {degradation}.")
    if options.uint8 and not degradation.fractional:
        raise InputError(f"--uint8: is for noise; these images are from {degradation}.")
    if options.uint8 or upscaler.depth == 8:
        degradation = in_8_bits(degradation)
    folder = BenchmarkFolder(
        options.folder,
        upscaler.scale,
        luma or upscaler.channels,
        options.rescale,
        degradation,
        options.seed,
        options.border,
    )
    if options.model in BASELINES and not luma:
        folder.channels = upscaler.channels = _channels(options.protocol, folder)
    _check_protocol(options, folder)
    if options.self_ensemble:
        upscaler = SelfEnsemble(upscaler)
    name = released.named(options.model)
    scored = options.metrics or default_metrics(folder)
    if options.ifc and "ifc" not in scored:
        scored = (*scored, "ifc")
    report = {"model": name, **evaluate(upscaler, folder, scored)}
    report["protocol"]["self_ensemble"] = options.self_ensemble
    if options.picture:
        draw_examples(options.picture, upscaler, folder, report)
    names = list(report["mean"])
    rows = [*report["images"], {"name": "mean", **report["mean"]}]
    lines = [["image", *names]]
    lines += [[row["name"], *(f"{row[n]:.4f}" for n in names)] for row in rows]
    task = task_name(degradation, folder.scale)
    shrunk = f" at {options.rescale:g}" if options.rescale != 1 else ""
    present(
        options,
        report,
        f"{name} {task} on {options.folder}{shrunk}\n" + columns(lines),
    )


def _channels(protocol, folder):
    """Returns the channels to score a baseline on: the protocol's or the images'."""
    from tfsr.data import stored_channels

    if protocol:
        return 1 if protocol.endswith("gray") else 3
    return stored_channels(folder.hr_files)


def _check_protocol(options, folder):
    from tfsr.scoring.evaluation import protocol_name

    name = protocol_name(folder)
    if options.protocol not in (None, name):
        raise InputError(
            f"--protocol {options.protocol}: {options.model} is scored by {name}."
        )


def _factor(text):
    try:
        factor = float(text)
    except ValueError:
        factor = 0
    if not 0 < factor <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0 and at most 1")
    return factor
