"""`tfsr evaluate`."""

import argparse

from tfsr.cli.arguments import MODEL_HELP, positive, with_json
from tfsr.cli.models import find_upscaler
from tfsr.cli.output import columns, present


def add(command):
    evaluate = command("evaluate", run, "Score a model on a benchmark folder.")
    evaluate.add_argument("model", help=MODEL_HELP)
    evaluate.add_argument("folder", help="images, or HR/ and LR_bicubic/X2, X3, X4")
    evaluate.add_argument("--scale", type=positive)
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
    with_json(evaluate)


def run(options):
    upscaler = find_upscaler(options.model, options.scale)
    from tfsr.data import BenchmarkFolder, stored_channels
    from tfsr.evaluate import evaluate
    from tfsr.inference import SelfEnsemble

    folder = BenchmarkFolder(
        options.folder, upscaler.scale, upscaler.channels, options.rescale
    )
    if options.model == "bicubic":  # any number of channels will do
        folder.channels = upscaler.channels = stored_channels(folder.hr_files)
    if options.self_ensemble:
        upscaler = SelfEnsemble(upscaler)
    report = {"model": options.model, **evaluate(upscaler, folder)}
    report["protocol"]["self_ensemble"] = options.self_ensemble
    names = list(report["mean"])
    rows = [*report["images"], {"name": "mean", **report["mean"]}]
    lines = [["image", *names]]
    lines += [[row["name"], *(f"{row[n]:.4f}" for n in names)] for row in rows]
    shrunk = f" at {options.rescale:g}" if options.rescale != 1 else ""
    present(
        options,
        report,
        f"{options.model} x{folder.scale} on {options.folder}{shrunk}\n"
        + columns(lines),
    )


def _factor(text):
    try:
        factor = float(text)
    except ValueError:
        factor = 0
    if not 0 < factor <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0 and at most 1")
    return factor
