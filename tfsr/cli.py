"""The `tfsr` command: parse, load, call, save.

Heavy imports stay inside the commands, so that `--help` and mistakes answer at once.
"""

import argparse
import contextlib
import errno
import os
import sys
from pathlib import Path

from tfsr import files
from tfsr.errors import InputError, NotFiniteError
from tfsr.quiet import quiet_stderr

# The user's to mend even where Python gives no file name.
DISK_ERRORS = (errno.ENOSPC, errno.EACCES, errno.EROFS)


MAX_SHIFT = 0.5  # of a colour channel's mean, in 8-bit units, before verify fails


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit code: 0 done, 1 a check failed, 2 misuse."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options = _parser().parse_args(arguments)
    try:
        _check_targets(options)
        return options.run(options) or 0
    except InputError as error:
        return _fail(error)
    except NotFiniteError as error:
        return _fail(error, code=1)
    except OSError as error:
        if not error.filename and error.errno not in DISK_ERRORS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return _fail(f"{where}{error.strerror or error}.")
    except MemoryError:
        return _fail("out of memory.")
    except KeyboardInterrupt:
        return _fail("interrupted.", code=130)


def _check_targets(options):
    """Checks, before any work, that what the options name can be written there."""
    for key in ("out", "json"):
        target = getattr(options, key, None)
        if target in (None, "-"):
            continue
        parent = Path(target).absolute().parent
        if key == "out" and options.makes_folders:
            parent = next(p for p in Path(target).absolute().parents if p.exists())
        elif Path(target).is_dir():
            raise InputError(f"{target}: is a folder; name the file to write.")
        if not parent.is_dir():
            raise InputError(f"{target}: there is no folder {parent}.")
        if not os.access(parent, os.W_OK):
            raise InputError(f"{target}: nothing can be written in {parent}.")


def _fail(message, code=2):
    _say(message)
    return code


def _say(message):
    print(f"tfsr: {_one_line(message)}", file=sys.stderr)


def _one_line(message):
    return " ".join(str(message).split())


def _demo(options):
    _import_tensorflow()
    from tfsr.tflite.demo import demo

    demo(options.out)


def _summary(options):
    _import_tensorflow()
    from tfsr import complexity
    from tfsr.models import MODELS, scales, single_scale
    from tfsr.training import build_model, model_table, read_config

    if options.model in MODELS:
        table = model_table(options.model, options.set)
    else:
        table = read_config(options.model, options.set).model
    model, name = build_model(table, options.model), table["name"]
    params = complexity.params(model)
    results = []
    for scale in [options.scale] if options.scale else scales(model):
        single = _or_input_error(single_scale, model, scale)
        if options.size:
            height, width = options.size
            mult_adds = complexity.mult_adds(single, height, width)
        else:  # 1280x720 HR as in the CARN paper, where LR need not be whole
            height, width = (
                side / scale if side % scale else side // scale for side in (720, 1280)
            )
            mult_adds = round(complexity.mult_adds(single, 720, 1280) / scale**2)
        channels = single.input.shape[-1]
        results.append(
            {
                "scale": scale,
                "params_of_scale": complexity.params(single),
                "mult_adds": mult_adds,
                "input": [height, width, channels],
                "output": [round(height * scale), round(width * scale), channels],
            }
        )
    largest = {key: results[-1][key] for key in ("mult_adds", "input", "output")}
    report = {"model": name, "params": params, **largest, "scales": results}
    of_all = f" ({params:,} with all scales)" if len(scales(model)) > 1 else ""
    lines = [
        f"{name} x{r['scale']}: {r['params_of_scale']:,} parameters{of_all}, "
        f"{r['mult_adds'] / 1e9:.2f} G mult-adds for "
        f"{r['output'][1]}x{r['output'][0]} output"
        for r in results
    ]
    _present(options, report, "\n".join(lines))


def _train(options):
    _import_tensorflow()
    from tfsr.training import read_config, train

    config = read_config(options.config, options.set)
    with contextlib.redirect_stdout(sys.stderr):  # Keras prints its progress
        metrics = train(config, options.out, options.tensorboard)
    best = ", ".join(f"{s} {v:.2f} dB" for s, v in metrics["val_psnr_y"].items())
    base = ", ".join(f"{s} {v:.2f}" for s, v in metrics["val_psnr_y_bicubic"].items())
    _present(
        options,
        metrics,
        f"{options.out}: best after epoch {metrics['best_epoch']} of "
        f"{metrics['epochs']}: {best} (bicubic {base})",
    )


def _evaluate(options):
    upscaler = _upscaler(options.model, options.scale)
    from tfsr.data import BenchmarkFolder, stored_channels
    from tfsr.evaluate import evaluate
    from tfsr.inference import SelfEnsemble

    folder = BenchmarkFolder(options.folder, upscaler.scale, upscaler.channels)
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
    _present(
        options,
        report,
        f"{options.model} x{folder.scale} on {options.folder}\n" + _columns(lines),
    )


def _upscale(options):
    from tqdm import tqdm

    from tfsr.upscale import automatic_tile, plan, upscale

    jobs, done = plan(
        options.input, options.out, options.suffix, options.format, options.overwrite
    )
    if done:
        _say(f"{done} done already; --overwrite does them again.")
    if not jobs:
        return 0
    upscaler = _upscaler(options.model, options.scale)
    radius, step, working_bytes = _footprint(upscaler)
    tile = options.tile or automatic_tile(working_bytes, radius)
    least = 2 * radius + step
    if tile < least:
        raise InputError(f"--tile {tile}: must exceed {least - 1} for this model.")
    if options.self_ensemble:
        from tfsr.inference import SelfEnsemble

        upscaler = SelfEnsemble(upscaler)
    failed = []
    with tqdm(unit="tile", disable=None) as progress:
        for i, job in enumerate(jobs, 1):
            progress.set_description(f"{i}/{len(jobs)} {job.source.name}")
            try:
                notes = upscale(upscaler, job, radius, tile, progress, step)
            except (InputError, OSError, MemoryError) as error:
                if isinstance(error, MemoryError):
                    error = InputError(f"{job.source}: out of memory.")
                if job.source == Path(options.input):
                    raise
                failed.append(_one_line(error))
                continue
            for note in notes:
                _say(f"{job.source}: {note}")
    if failed:
        for message in failed:
            _say(message)
        return _fail(f"{len(failed)} of {len(jobs)} files failed.", 1)
    return 0


def _footprint(upscaler):
    """Returns radius, step (see `upscale`) and bytes per LR pixel of an upscaler."""
    from tfsr.inference import BicubicUpscaler, KerasUpscaler

    if isinstance(upscaler, BicubicUpscaler):
        return 3, 1, 64 * upscaler.scale**2
    if isinstance(upscaler, KerasUpscaler):
        from tfsr.footprint import alignment, receptive_radius, working_values

        model = upscaler.model
        step, radius = alignment(model), receptive_radius(model)
        # float32, and what convolutions take beside their inputs and outputs
        working_bytes = 12 * working_values(model)
    else:
        facts = upscaler.metadata
        if not {"receptive_radius", "alignment", "working_bytes"} <= facts.keys():
            raise InputError("the model was made by an older tfsr; convert it again.")
        step, radius = facts["alignment"], facts["receptive_radius"]
        working_bytes = facts["working_bytes"]
    return radius + -radius % step, step, working_bytes


def _import_carn(options):
    _import_tensorflow()
    from tfsr.weights import import_carn

    if not options.out.endswith(".keras"):
        raise InputError(f"{options.out}: the output must end in .keras.")
    model = import_carn(options.file)
    with files.replacing(options.out) as temporary:
        model.save(temporary)


def _convert(options):
    _import_tensorflow()
    import tfsr
    from tfsr.data import BenchmarkFolder
    from tfsr.data.photographs import HELD_OUT, TRAINING, photographs
    from tfsr.inference import KerasUpscaler
    from tfsr.tflite.convert import convert
    from tfsr.tflite.runtime import TFLiteUpscaler
    from tfsr.tflite.verify import verify

    if not options.out.endswith(".tflite"):
        raise InputError(f"{options.out}: the output must end in .tflite.")
    model = tfsr.load_model(options.model)
    original = KerasUpscaler(model, _pick_scale(options.model, model, options.scale))
    scale, channels = original.scale, original.channels
    if options.format == "int8" and not options.calibrate:
        _say(
            "warning: calibrating on scikit-image's photographs; "
            "--calibrate FOLDER with images like your own loses less."
        )
    calibration = BenchmarkFolder(
        options.calibrate or photographs(TRAINING), scale, channels
    )
    check = BenchmarkFolder(options.verify or photographs(HELD_OUT), scale, channels)
    written = convert(
        model,
        scale,
        options.format,
        options.size,
        options.out,
        calibration,
        lowering=not options.no_lowering,
    )
    reports = []
    for file in written:
        report = verify(TFLiteUpscaler(file), original, check)
        size = file.stat().st_size
        reports.append({"file": str(file), "size_bytes": size, **report})
    lines = [
        f"{r['file']}: {r['size_bytes'] / 1000:.0f} KB, {_loss(r)}" for r in reports
    ]
    report = reports[0] if len(reports) == 1 else {"files": reports}
    _present(options, report, "\n".join(lines))
    return max(_check(report, options.max_loss) for report in reports)


def _verify(options):
    _import_tensorflow()
    import tfsr
    from tfsr.data import BenchmarkFolder
    from tfsr.inference import KerasUpscaler
    from tfsr.tflite.runtime import TFLiteUpscaler
    from tfsr.tflite.verify import verify

    converted = TFLiteUpscaler(options.file)
    model = tfsr.load_model(options.against)
    scale = _pick_scale(options.against, model, converted.scale)
    folder = BenchmarkFolder(options.images, scale, converted.channels)
    report = verify(converted, KerasUpscaler(model, scale), folder)
    _present(options, report, f"{options.file}: {_loss(report)}")
    return _check(report, options.max_loss)


def _inspect(options):
    from tfsr.tflite.runtime import inspect

    report = inspect(options.file)
    facts = [f"{key}: {value}" for key, value in report["metadata"].items()]
    operators = ", ".join(f"{n} {name}" for name, n in report["operators"].items())
    facts += [
        f"operators: {operators}",
        f"partitions of the CPU delegate: {report['partitions']}",
        f"operators in floating point: {report['float_operators']}",
    ]
    _present(options, report, "\n".join(facts))


def _benchmark(options):
    from tfsr.tflite.benchmark import benchmark, table

    report = benchmark(options.files, options.threads, options.runs, options.size)
    _present(options, report, table(report))


def _loss(report):
    bias = ", ".join(f"{b:+.2f}" for b in report["channel_bias"])
    return (
        f"{report['psnr_quantized']:.3f} dB against {report['psnr_float']:.3f} dB of "
        f"the original on {report['folder']}: loses {report['loss_db']:.3f} dB; "
        f"{report['psnr_between']:.1f} dB between them; "
        f"mean shift by channel {bias}; worst: {report['worst_image']}"
    )


def _check(report, max_loss):
    """Returns the exit code of a verification."""
    shift = max(report["channel_bias"], key=abs)
    if abs(shift) > MAX_SHIFT:
        return _fail(
            f"a colour channel is shifted by {shift:.2f} of 255, above {MAX_SHIFT}.", 1
        )
    loss_db = report["loss_db"]
    if max_loss is not None and loss_db > max_loss:
        return _fail(f"the loss of {loss_db:.3f} dB is above --max-loss {max_loss}.", 1)
    return 0


def _upscaler(model, scale):
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
    _import_tensorflow()
    import tfsr
    from tfsr.inference import KerasUpscaler

    loaded = tfsr.load_model(model)
    return KerasUpscaler(loaded, _pick_scale(model, loaded, scale))


def _pick_scale(name, model, scale):
    """Returns the scale to use: the one asked for, or the only one there is."""
    from tfsr.models import scales

    available = scales(model)
    if scale is None and len(available) == 1:
        return available[0]
    if scale not in available:
        has = ", ".join(f"x{s}" for s in available)
        asked = "choose one with --scale" if scale is None else f"not x{scale}"
        raise InputError(f"{name}: has {has}; {asked}.")
    return scale


def _or_input_error(function, *arguments):
    try:
        return function(*arguments)
    except ValueError as error:
        raise InputError(error) from None


def _present(options, report, text):
    """Prints `text`, or writes `report` where `--json` says."""
    if options.json == "-":
        print(files.to_json(report))
        return
    print(text)
    if options.json:
        files.write_json(options.json, report)


def _columns(lines):
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _import_tensorflow():
    """Imports Keras without the messages TensorFlow prints before its logging is up."""
    with quiet_stderr():
        import keras  # noqa: F401


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        raise SystemExit(_fail(f"{message} (see {self.prog} --help)"))


def _size(text):
    if text == "dynamic":
        return None
    height, _, width = text.partition("x")
    if not (height.isdigit() and width.isdigit() and int(height) and int(width)):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH, as 180x320")
    return int(height), int(width)


def _sizes(text):
    return [_size(part) for part in text.split(",")]


def _positive(text):
    if not (text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _suffix(text):
    if set(text) & set("/\\\0"):
        raise argparse.ArgumentTypeError(f"{text!r} is not part of a file's name")
    return text


def _tile(text):
    return None if text == "auto" else _positive(text)


def _positives(text):
    return [_positive(part) for part in text.split(",")]


def _parser():
    parser = _Parser(
        prog="tfsr",
        description="Compact super-resolution: train, score, convert to TFLite, time.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name, run, help, makes_folders=False):
        added = commands.add_parser(name, help=help, description=help)
        added.set_defaults(run=run, makes_folders=makes_folders)
        return added

    def with_json(added):
        added.add_argument(
            "--json",
            nargs="?",
            const="-",
            metavar="FILE",
            help="write the result as JSON; without FILE print only that",
        )

    model_help = "a run folder, a .keras or .tflite file, or the word bicubic"

    demo = command("demo", _demo, "The whole way on embedded photographs.", True)
    demo.add_argument("-o", "--out", default="demo", help="folder of the results")

    summary = command("summary", _summary, "Parameters and mult-adds of a model.")
    summary.add_argument("model", help="a model's name or a config file")
    summary.add_argument("--scale", type=_positive)
    summary.add_argument(
        "--set", action="append", default=[], metavar="model.KEY=VALUE"
    )
    summary.add_argument(
        "--size", type=_size, metavar="HxW", help="LR size; for 1280x720 HR by default"
    )
    with_json(summary)

    train = command("train", _train, "Train a config, or resume it.", True)
    train.add_argument("config", help="a TOML file, such as configs/carn/carn_m.toml")
    train.add_argument("--out", required=True, metavar="RUN", help="the run folder")
    train.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        help="override a value of the config",
    )
    train.add_argument(
        "--tensorboard", action="store_true", help="logs with pictures for TensorBoard"
    )
    with_json(train)

    evaluate = command("evaluate", _evaluate, "Score a model on a benchmark folder.")
    evaluate.add_argument("model", help=model_help)
    evaluate.add_argument("folder", help="images, or HR/ and LR_bicubic/X2, X3, X4")
    evaluate.add_argument("--scale", type=_positive)
    evaluate.add_argument(
        "--self-ensemble",
        action="store_true",
        help="average over the eight flips and turns",
    )
    with_json(evaluate)

    upscale = command(
        "upscale", _upscale, "Upscale a photo or a folder of photos.", True
    )
    upscale.add_argument("input", help="an image, or a folder with its subfolders")
    upscale.add_argument("-o", "--out", required=True, metavar="OUTPUT")
    upscale.add_argument("--model", required=True, help=model_help)
    upscale.add_argument("--scale", type=_positive)
    upscale.add_argument(
        "--tile", type=_tile, metavar="N", help="LR pixels; by the memory by default"
    )
    upscale.add_argument(
        "--self-ensemble",
        action="store_true",
        help="average over the eight flips and turns",
    )
    upscale.add_argument(
        "--suffix",
        type=_suffix,
        default="",
        help="put behind the names of a folder's files",
    )
    upscale.add_argument(
        "--format",
        choices=["png", "jpg", "webp", "tif", "bmp"],
        help="of a folder's files; their own by default",
    )
    upscale.add_argument("--overwrite", action="store_true")

    carn = command("import-carn", _import_carn, "Convert the CARN authors' checkpoint.")
    carn.add_argument("file", metavar="FILE.pth")
    carn.add_argument("-o", "--out", required=True, metavar="MODEL.keras")

    convert = command("convert", _convert, "Convert a model to TFLite.")
    convert.add_argument("model", help="a run folder or a .keras file")
    convert.add_argument("--scale", type=_positive)
    convert.add_argument(
        "--size",
        type=_sizes,
        default=[None],
        metavar="HxW[,HxW...]|dynamic",
        help="LR height x width; dynamic by default",
    )
    convert.add_argument(
        "--format",
        required=True,
        choices=["float32", "float16", "dynamic_int8", "int8"],
    )
    convert.add_argument("--calibrate", metavar="FOLDER", help="images for int8 ranges")
    convert.add_argument("--verify", metavar="FOLDER", help="images to measure loss on")
    convert.add_argument(
        "--no-lowering",
        action="store_true",
        help="as TensorFlow's converter has it, for comparison",
    )
    convert.add_argument(
        "--max-loss", type=float, metavar="DB", help="exit with 1 above this loss"
    )
    convert.add_argument("-o", "--out", required=True, metavar="FILE.tflite")
    with_json(convert)

    verify = command("verify", _verify, "Measure what a converted model loses.")
    verify.add_argument("file", metavar="FILE.tflite")
    verify.add_argument("--against", required=True, metavar="MODEL")
    verify.add_argument("--images", required=True, metavar="FOLDER")
    verify.add_argument("--max-loss", type=float, metavar="DB")
    with_json(verify)

    inspect = command("inspect", _inspect, "What a converted model is and runs.")
    inspect.add_argument("file", metavar="FILE.tflite")
    with_json(inspect)

    benchmark = command("benchmark", _benchmark, "Time TFLite models on this machine.")
    benchmark.add_argument("files", nargs="+", metavar="FILE.tflite")
    benchmark.add_argument("--threads", type=_positives, default=[1], metavar="N[,N]")
    benchmark.add_argument("--runs", type=_positive, default=30)
    benchmark.add_argument(
        "--size",
        type=_size,
        default=(180, 320),
        metavar="HxW",
        help="input of dynamic models; 180x320 by default",
    )
    with_json(benchmark)
    return parser


if __name__ == "__main__":
    sys.exit(main())
