"""`tfsr evaluate`."""

import argparse
from pathlib import Path

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
    with_shard,
)
from tfsr.cli.output import columns, present, say
from tfsr.errors import InputError
from tfsr.scoring.protocols import PROTOCOLS, usual
from tfsr.shards import Shard

# Options that change no score, or that `_subject` identifies by their content.
NOT_ASKED = (
    *("run", "makes_folders", "quiet", "json", "picture", "shard"),
    *("model", "folder"),
)


def add(command):
    evaluate = command("evaluate", run, "Score a model on a benchmark folder.")
    evaluate.add_argument(
        "model",
        type=known_model,
        help=f"{MODEL_HELP}, or one of the baselines, bicubic or input",
    )
    evaluate.add_argument(
        "folder", help="images, or HR/ and LR/ or LR_bicubic/X2, X3, X4"
    )
    evaluate.add_argument("--scale", type=positive)
    with_degradation(evaluate)
    evaluate.add_argument(
        "--uint8",
        action="store_true",
        help="clip and round noisy images to 8 bits, as always for int8 models",
    )
    evaluate.add_argument(
        "--seed",
        type=whole,
        default=0,
        metavar="N",
        help="seed of the noise; 0 by default",
    )
    evaluate.add_argument(
        "--protocol",
        choices=PROTOCOLS,
        help="by default the one for the model's channels; luma is for bicubic and "
        "luminance networks, and rounds nothing; sr_rgb is DIV2K's, with a border of "
        "the scale and 6 pixels",
    )
    evaluate.add_argument(
        "--rescale",
        type=_factor,
        default=1,
        metavar="FACTOR",
        help="shrink the HR images first; the MS3-Conv paper has 0.8, 0.6 and 0.5",
    )
    evaluate.add_argument(
        "--self-ensemble",
        action="store_true",
        help="average over the eight flips and rotations",
    )
    evaluate.add_argument(
        "--picture",
        type=png,
        metavar="FILE.png",
        help="draw the worst and the median image before and after, whole and cropped",
    )
    with_metrics(evaluate)
    evaluate.add_argument(
        "--ifc",
        action="store_true",
        help="add the information fidelity criterion, which needs pyrtools",
    )
    evaluate.add_argument(
        "--border",
        type=whole,
        metavar="N",
        help="pixels shaved from each side; by default the scale, none in restoration",
    )
    with_shard(evaluate, "images")
    with_json(evaluate)


def run(options):
    from tfsr.data import images_left_out
    from tfsr.data.degradation_type import BICUBIC
    from tfsr.scoring.evaluation import default_metrics, draw_examples, gain
    from tfsr.upscaling.upscalers import SelfEnsemble
    from tfsr.zoo.upscalers import BASELINES, load_upscaler, naming_lighter

    _check_options(options)
    protocol = PROTOCOLS.get(options.protocol)
    luma = "y" if protocol and protocol.channels == "y" else None
    with naming_lighter(options.model):
        upscaler = load_upscaler(options.model, options.scale, luma)
    folder = _images(options, upscaler, protocol)
    protocol_name = _protocol_name(options, folder)
    if line := images_left_out(folder.hr_files[0].parent):
        say(line)
    name = upscaler.name
    if options.self_ensemble:
        upscaler = SelfEnsemble(upscaler)
    scored = options.metrics or default_metrics(folder)
    if options.ifc and "ifc" not in scored:
        scored = (*scored, "ifc")
    report = {"model": name, **_scores(options, upscaler, folder, scored)}
    report["protocol"].update(name=protocol_name, self_ensemble=options.self_ensemble)
    if name not in BASELINES and folder.degradation != BICUBIC and "psnr" in scored:
        scored_part = folder.part(options.shard) if options.shard else folder
        report["gain"] = gain(report, scored_part)
    if options.picture:
        draw_examples(options.picture, upscaler, folder, report)
    present(options, report, _text(options, folder, report))


def _check_options(options):
    """Raises an `InputError` on mistakes that show before the model is loaded."""
    if options.picture and "psnr" not in (options.metrics or ("psnr",)):
        raise InputError("--picture: shows images by PSNR; add psnr to --metrics.")
    if options.shard and (options.json in (None, "-") or options.picture):
        raise InputError(
            f"--shard {options.shard}: wants --json FILE, beside which the scores of "
            "all shards are stored, and no --picture."
        )
    if not Path(options.folder).is_dir():
        raise InputError(f"{options.folder}: not a folder of images.")


def _images(options, upscaler, protocol):
    """Returns the benchmark folder that the options ask for."""
    from tfsr.scoring.images import images_to_score

    border = options.border
    if protocol and protocol.border and border is None:
        border = upscaler.scale + protocol.border
    folder = images_to_score(
        upscaler,
        options.folder,
        degradation_asked(options),
        protocol and protocol.channels,
        options.rescale,
        options.seed,
        options.uint8,
        border,
    )
    if options.shard and options.shard.count > len(folder):
        raise InputError(
            f"--shard {options.shard}: {options.folder} has only {len(folder)} images."
        )
    return folder


def _text(options, folder, report):
    """Returns the report as a table, below a line that names model, task and folder."""
    from tfsr.data.degradation_type import task_name

    names = list(report["mean"])
    rows = [*report["images"], {"name": "mean", **report["mean"]}]
    lines = [["image", *names]]
    lines += [[row["name"], *(f"{row[n]:.4f}" for n in names)] for row in rows]
    if better := report.get("gain"):
        cells = [f"{better[n]:+.4f}" if n in better else "" for n in names]
        lines.append([f"over {better['over']}", *cells])
    task = task_name(folder.degradation, folder.scale)
    shrunk = f" at {options.rescale:g}" if options.rescale != 1 else ""
    head = f"{report['model']} {task} on {options.folder}{shrunk}"
    return f"{head}\n{columns(lines)}"


def _scores(options, upscaler, folder, names):
    """Returns the report on one shard, or on the folder: joined from shards, or new."""
    from tfsr import files
    from tfsr.scoring.evaluation import evaluate, join

    def kept(shard, make=None):
        part = folder.part(shard)
        subject = _subject(options, upscaler, part, shard)
        score = make and (lambda: make(upscaler, part, names))
        return files.cached_json(shard.file(options.json), subject, score)

    if options.shard:
        parts = [kept(options.shard, evaluate)]
        say(f"{options.shard.file(options.json)}: the scores of this shard.")
        options.json = None
    elif options.json in (None, "-"):
        return evaluate(upscaler, folder, names)
    else:
        for shards in Shard.beside(options.json):
            parts = [kept(shard) for shard in shards]
            if all(parts):
                say(f"{options.json}: joined from its {len(parts)} shards.")
                break
        else:
            return evaluate(upscaler, folder, names)
    return {key: value for key, value in join(parts).items() if key != "subject"}


def _subject(options, upscaler, part, shard):
    """Returns the model, images and options that identify a shard's scores."""
    from tfsr import files
    from tfsr.zoo import released

    model = released.find(options.model, upscaler.scale)
    file = model / "model.keras" if model.is_dir() else model
    asked = {k: str(v) for k, v in vars(options).items() if k not in NOT_ASKED}
    return {
        "shard": str(shard),
        "model": upscaler.name,
        "weights": files.sha256(file) if file.is_file() else None,
        "images": part.identity(),
        **asked,
    }


def _protocol_name(options, folder):
    """Returns the name of the protocol; raises an `InputError` if it does not suit."""
    name = options.protocol or usual(folder.scale, folder.channels)
    if not PROTOCOLS[name].suits(folder.scale, folder.channels):
        raise InputError(
            f"--protocol {name}: {options.model} is scored by "
            f"{usual(folder.scale, folder.channels)}."
        )
    return name


def _factor(text):
    try:
        factor = float(text)
    except ValueError:
        factor = 0
    if not 0 < factor <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not above 0 and at most 1")
    return factor
