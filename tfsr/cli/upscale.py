"""`tfsr upscale` and `tfsr restore`."""

import argparse
from pathlib import Path

from tfsr.cli.arguments import MODEL_HELP, known_model, positive
from tfsr.cli.output import fail, one_line, say
from tfsr.errors import InputError
from tfsr.zoo import released


def add(command):
    upscale = command("upscale", _upscale, "Upscale photos, a file or a folder.", True)
    upscale.add_argument(
        "--model",
        type=known_model,
        help=f"{MODEL_HELP}, or the word bicubic; tfsr's best for the scale by default",
    )
    upscale.add_argument(
        "--scale", type=positive, help="by default the smallest that the model has"
    )
    _with_files(upscale)

    help = "Remove noise or JPEG artifacts from photos, a file or a folder."
    restore = command("restore", _restore, help, True)
    restore.add_argument("--model", type=known_model, required=True, help=MODEL_HELP)
    _with_files(restore)


def _with_files(command):
    command.add_argument("input", help="an image, or a folder with its subfolders")
    command.add_argument("-o", "--out", required=True, metavar="OUTPUT")
    command.add_argument(
        "--tile", type=_tile, metavar="N", help="input pixels; by the memory by default"
    )
    command.add_argument(
        "--self-ensemble",
        action="store_true",
        help="average over the eight flips and turns",
    )
    command.add_argument(
        "--suffix",
        type=_suffix,
        default="",
        help="put behind the names of a folder's files",
    )
    command.add_argument(
        "--format",
        choices=["png", "jpg", "webp", "tif", "bmp"],
        help="of a folder's files; their own by default",
    )
    command.add_argument("--overwrite", action="store_true")


def _upscale(options):
    return _run(options, _enlarger)


def _restore(options):
    return _run(options, _restorer)


def _enlarger(options):
    from tfsr.zoo.upscalers import load_upscaler

    if options.model is None:
        name = released.enlarger(options.scale or min(released.ENLARGERS))
        options.model = known_model(name)
    upscaler = load_upscaler(options.model, options.scale, smallest=True)
    if upscaler.scale == 1:
        raise InputError(
            f"{upscaler.name}: restores photos in their size; see tfsr restore."
        )
    return upscaler


def _restorer(options):
    from tfsr.zoo.upscalers import load_upscaler

    if options.model in released.BASELINES:
        raise InputError(f"--model {options.model}: restores nothing.")
    return load_upscaler(options.model, 1)


def _run(options, find):
    from tqdm import tqdm

    from tfsr.upscaling.jobs import photos_left_out, plan, tile_side, upscale
    from tfsr.upscaling.upscalers import SelfEnsemble

    jobs, done = plan(
        options.input, options.out, options.suffix, options.format, options.overwrite
    )
    if line := photos_left_out(options.input, options.out):
        say(line)
    if done:
        say(f"{done} done already; --overwrite does them again.")
    if not jobs:
        return 0
    upscaler = find(options)
    tile = tile_side(upscaler, options.tile)
    if options.self_ensemble:
        upscaler = SelfEnsemble(upscaler)
    failed = []
    with tqdm(unit="tile", disable=None) as progress:
        for i, job in enumerate(jobs, 1):
            progress.set_description(one_line(f"{i}/{len(jobs)} {job.source.name}"))
            try:
                notes = upscale(upscaler, job, tile, progress)
            except (InputError, OSError, MemoryError) as error:
                if isinstance(error, MemoryError):
                    error = InputError(f"{job.source}: out of memory.")
                if job.source == Path(options.input):
                    raise
                failed.append(one_line(error))
                continue
            for note in notes:
                say(f"{job.source}: {note}")
    if failed:
        for message in failed:
            say(message)
        return fail(f"{len(failed)} of {len(jobs)} files failed.", 1)
    count = f": {len(jobs)}" if Path(options.input).is_dir() else ""
    say(f"{options.out}: written{count}.")
    return 0


def _suffix(text):
    if set(text) & set("/\\\0"):
        raise argparse.ArgumentTypeError(f"{text!r} is not part of a file's name")
    return text


def _tile(text):
    return None if text == "auto" else positive(text)
