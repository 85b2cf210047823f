"""`tfsr upscale` and `tfsr restore`."""

import argparse
import functools
from pathlib import Path

from tfsr.cli.arguments import MODEL_HELP, known_model, positive
from tfsr.cli.output import fail, one_line, say
from tfsr.errors import InputError
from tfsr.photos.folders import READ_ONLY
from tfsr.zoo import released


def add(command):
    upscale = command("upscale", _upscale, "Upscale photos, a file or a folder.", True)
    upscale.add_argument(
        "--model",
        type=known_model,
        help=f"{MODEL_HELP}, or the word bicubic; by default tfsr's best for the "
        "scale, in 8 bits but for photos of 16",
    )
    upscale.add_argument(
        "--scale", type=positive, help="by default the smallest that the model has"
    )
    _with_files(upscale, "_x2")

    help = "Remove noise or JPEG artifacts from photos, a file or a folder."
    restore = command("restore", _restore, help, True)
    restore.add_argument(
        "--model",
        type=known_model,
        help=f"{MODEL_HELP}; for JPEG files of a quality that one of tfsr's was "
        "trained on that one by default",
    )
    _with_files(restore, "_restored")


def _with_files(command, suffix):
    command.add_argument("input", help="an image, or a folder with its subfolders")
    command.add_argument(
        "-o",
        "--out",
        metavar="OUTPUT",
        help=f"by default beside the input, its name with {suffix} behind it",
    )
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
    from tfsr.zoo.upscalers import load_upscaler

    @functools.cache
    def load(model):
        upscaler = load_upscaler(model, options.scale, smallest=True)
        if upscaler.scale == 1:
            raise InputError(
                f"{upscaler.name}: restores photos in their size; see tfsr restore."
            )
        return upscaler

    scale = options.scale
    if options.model is None:
        scale = scale or min(released.ENLARGERS)
        released.enlarger(scale)  # whose mistake comes before any photo is read

    def model_of(photo):
        return options.model or known_model(_enlarger(photo, scale))

    if options.out is None:
        _check_exists(options.input)
        scale = scale or load(options.model).scale
        options.out = _beside(options.input, f"_x{scale}")
    return _run(options, lambda photo: load(model_of(photo)))


def _enlarger(photo, scale):
    """Returns the name of the best model: in 8 bits unless the photo has 16."""
    from tfsr.upscaling.jobs import has_16_bits

    name = released.enlarger(scale)
    return name if has_16_bits(photo) else released.in_8_bits(name, scale)


def _restore(options):
    from tfsr.zoo.upscalers import load_upscaler

    if options.model in released.BASELINES:
        raise InputError(f"--model {options.model}: restores nothing.")
    _check_exists(options.input)
    if options.model is None:
        options.model = known_model(_restorer(options.input))
    if options.out is None:
        options.out = _beside(options.input, "_restored")
    load = functools.cache(lambda: load_upscaler(options.model, 1))
    return _run(options, lambda photo: load())


def _restorer(photo):
    """Returns the name of the released model for a photo, where it can be told."""
    from tfsr.upscaling.jobs import jpeg_quality
    from tfsr.zoo.catalogue import restorers

    tasks = restorers()
    quality = None if Path(photo).is_dir() else jpeg_quality(photo)
    for name, task in tasks.items():
        if quality is not None and task.name == "jpeg" and task.suits(quality):
            return released.in_8_bits(name)
    known = ", ".join(f"{name} ({task})" for name, task in tasks.items())
    has = "" if quality is None else f", a JPEG of quality {quality}"
    raise InputError(f"{photo}{has}: choose with --model what removes what: {known}.")


def _check_exists(source):
    if not Path(source).exists():
        raise InputError(f"{source}: no such file or folder.")


def _beside(source, suffix):
    """Returns where the result of a file or folder goes that names no other place."""
    source = Path(source)
    if source.name in ("", ".."):
        source = source.resolve()
    if source.is_dir():
        return str(source.with_name(f"{source.name}{suffix}"))
    ending = ".png" if source.suffix.lower() in READ_ONLY else source.suffix
    return str(source.with_name(f"{source.stem}{suffix}{ending}"))


def _run(options, upscaler_of):
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
    failed = []
    with tqdm(unit="tile", disable=None) as progress:
        for i, job in enumerate(jobs, 1):
            progress.set_description(one_line(f"{i}/{len(jobs)} {job.source.name}"))
            upscaler = upscaler_of(job.source)
            tile = tile_side(upscaler, options.tile)
            if options.self_ensemble:
                upscaler = SelfEnsemble(upscaler)
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
