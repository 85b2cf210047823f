"""`tfsr upscale` and `tfsr restore`."""

import argparse
import collections
import contextlib
import functools
from pathlib import Path

from tfsr.cli.arguments import MODEL_HELP, known_model, positive, with_shard
from tfsr.cli.output import fail, one_line, say
from tfsr.errors import InputError
from tfsr.extras import MODULES, needs
from tfsr.zoo import released


def add(command):
    upscale = command(
        "upscale", _upscale, "Upscale a photo, or a folder of photos.", True
    )
    upscale.add_argument(
        "--model",
        type=known_model,
        help=f"{MODEL_HELP}, or the word bicubic; by default the best released "
        "model for the file and scale, in int8 except for 16-bit photos",
    )
    upscale.add_argument(
        "--scale", type=positive, help="by default the smallest scale of the model"
    )
    _with_files(upscale, "_x2")

    help = "Remove noise or JPEG artifacts from a photo, or from a folder of photos."
    restore = command("restore", _restore, help, True)
    restore.add_argument(
        "--model",
        type=known_model,
        help=f"{MODEL_HELP}; by default the released model for the quality of the "
        "JPEG file or, in other files, for the noise",
    )
    _with_files(restore, "_restored")


def _with_files(command, suffix):
    command.add_argument("input", help="an image, or a folder with its subfolders")
    # Several files, as a shell gives for *.jpg.
    command.add_argument(
        "others", nargs="*", default=[], action=_Others, help=argparse.SUPPRESS
    )
    command.add_argument(
        "-o",
        "--out",
        metavar="OUTPUT",
        help=f"by default beside the input, with {suffix} appended to its name",
    )
    command.add_argument(
        "--tile",
        type=_tile,
        metavar="N",
        help="side of the tiles in input pixels; by default chosen by the free memory",
    )
    command.add_argument(
        "--self-ensemble",
        action="store_true",
        help="average over the eight flips and rotations",
    )
    command.add_argument(
        "--suffix",
        type=_suffix,
        default="",
        help="append to the names of a folder's files",
    )
    command.later(_formats)
    command.add_argument("--overwrite", action="store_true")
    with_shard(command, "images of a folder")


def _formats(command):
    from tfsr.photos.formats import FORMATS

    command.add_argument(
        "--format",
        choices=[f.suffixes[0].removeprefix(".") for f in FORMATS if f.write],
        help="format of a folder's files; by default their own",
    )


def _upscale(options):
    from tfsr.zoo.upscalers import load_upscaler, naming_lighter

    @functools.cache
    def load(model):
        with naming_lighter(model):
            upscaler = load_upscaler(model, options.scale, smallest=True)
        if upscaler.scale == 1:
            raise InputError(
                f"{upscaler.name}: restores photos in their size; see tfsr restore."
            )
        return upscaler

    scale = options.scale
    if options.model is None:
        scale = scale or min(released.ENLARGERS)
        released.enlarger(scale)  # raises before any photo is read

    def choose(photo):
        from tfsr.zoo.choosing import Choice, enlarger_of, warning_of

        if options.model:
            return Choice(options.model, "", warning_of(options.model, photo, scale))
        return enlarger_of(photo, scale)

    if options.out is None:
        _check_exists(options.input)
        scale = scale or load(options.model).scale
        options.out = _beside(options.input, f"_x{scale}")
    return _run(options, load, choose)


def _restore(options):
    from tfsr.zoo.upscalers import BASELINES, load_upscaler, naming_lighter

    if options.model in BASELINES:
        raise InputError(f"--model {options.model}: restores nothing.")
    _check_exists(options.input)
    if options.out is None:
        options.out = _beside(options.input, "_restored")

    @functools.cache
    def load(model):
        with naming_lighter(model):
            return load_upscaler(model, 1)

    def choose(photo):
        from tfsr.zoo.choosing import Choice, restorer_of

        if options.model:
            return Choice(options.model, "")
        return restorer_of(photo)

    return _run(options, load, choose)


def _check_exists(source):
    if not Path(source).exists():
        raise InputError(f"{source}: no such file or folder.")


def _beside(source, suffix):
    """Returns the default output for a file or folder: beside it, with a suffix."""
    from tfsr.photos.formats import READ_ONLY

    source = Path(source)
    if source.name in ("", ".."):
        source = source.resolve()
    if source.is_dir():
        return str(source.with_name(f"{source.name}{suffix}"))
    ending = ".png" if source.suffix.lower() in READ_ONLY else source.suffix
    return str(source.with_name(f"{source.stem}{suffix}{ending}"))


def _run(options, load, choose):
    """Upscales the files, by the given model or by the one that suits each file.

    Args:
        options: The options of the command.
        load: Function that returns the upscaler of a model.
        choose: Function that returns the `Choice` of `tfsr.zoo.choosing` for a file.
    """
    from tqdm import tqdm

    from tfsr.upscaling.jobs import tile_side, upscale
    from tfsr.upscaling.planning import photos_left_out, plan
    from tfsr.upscaling.upscalers import SelfEnsemble

    jobs, done = plan(
        options.input,
        options.out,
        options.suffix,
        options.format,
        options.overwrite,
        options.shard,
    )
    if line := photos_left_out(options.input, options.out):
        say(line)
    if done:
        say(f"{done} done already; --overwrite does them again.")
    if not jobs:
        return 0
    alone = jobs[0].source == Path(options.input)
    failures, models = _Failures(alone), _Models(choose, alone)
    if options.model:  # its mistakes concern all photos
        tile_side(load(options.model), options.tile)
    with tqdm(unit="tile", disable=None) as progress:
        for i, job in enumerate(jobs, 1):
            progress.set_description(one_line(f"{i}/{len(jobs)} {job.source.name}"))
            with failures.kept(job.source):
                upscaler = load(models.chosen(job.source))
                tile = tile_side(upscaler, options.tile)
                if options.self_ensemble:
                    upscaler = SelfEnsemble(upscaler)
                for note in upscale(upscaler, job, tile, progress):
                    say(f"{job.source}: {note}")
    if not alone:
        for model, count in models.taken.items():
            say(f"{count} by {model}.")
    if failures.messages:
        for message in failures.messages:
            say(message)
        return fail(f"{len(failures.messages)} of {len(jobs)} files failed.", 1)
    count = f": {len(jobs)}" if Path(options.input).is_dir() else ""
    say(f"{options.out}: written{count}.")
    return 0


class _Failures:
    """Collects the photos of a folder that fail, so that the others are still done.

    Args:
        alone: Whether there is only one photo; its failure is raised.
    """

    def __init__(self, alone):
        self.alone = alone
        self.messages = []

    @contextlib.contextmanager
    def kept(self, photo):
        """Collects the message of an exception that a photo raises inside the block."""
        try:
            yield
        except (InputError, OSError, MemoryError, ModuleNotFoundError) as error:
            if isinstance(error, MemoryError):
                error = InputError(f"{photo}: out of memory.")
            if isinstance(error, ModuleNotFoundError):
                if self.alone or error.name not in MODULES:
                    raise
                error = InputError(f"{photo}: {needs(error.name)}")
            if self.alone:
                raise error from None
            self.messages.append(one_line(error))


class _Models:
    """Chooses a model for each photo, and counts the choices.

    Args:
        choose: Function that returns the `Choice` of `tfsr.zoo.choosing` for a file.
        alone: Whether there is only one photo, for which the reason is printed.
    """

    def __init__(self, choose, alone):
        self.choose = choose
        self.alone = alone
        self.taken = collections.Counter()
        self.warnings = set()

    def chosen(self, photo):
        """Returns the model for a photo; prints the reason, and each warning once."""
        choice = self.choose(photo)
        if choice.found:
            self.taken[choice.model] += 1
        if choice.found and self.alone:
            say(f"{photo}: {choice.found}; by {choice.model}.")
        if choice.warning and choice.warning not in self.warnings:
            self.warnings.add(choice.warning)
            say(f"{photo}: {choice.warning}")
        return choice.model


class _Others(argparse.Action):
    def __call__(self, parser, options, values, option_string=None):
        if values:
            count = 1 + len(values)
            parser.error(f"{count} inputs: give one photo, or the folder of all")


def _suffix(text):
    if set(text) & set("/\\\0"):
        raise argparse.ArgumentTypeError(f"{text!r} cannot be part of a file name")
    return text


def _tile(text):
    return None if text == "auto" else positive(text)
