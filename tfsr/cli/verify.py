"""`tfsr verify`."""

from tfsr.cli.arguments import MODEL_HELP, known_model, with_json
from tfsr.cli.delegates import delegates_of
from tfsr.cli.output import present, say
from tfsr.cli.verification import check, loss_line, with_picture
from tfsr.errors import InputError
from tfsr.tflite.devices.engines import examples


def add(command):
    verify = command("verify", run, "Measure the loss of a converted model.")
    verify.add_argument("file", type=known_model, metavar="FILE.tflite")
    verify.add_argument(
        "--against", type=known_model, required=True, metavar="MODEL", help=MODEL_HELP
    )
    verify.add_argument("--images", required=True, metavar="FOLDER")
    verify.add_argument("--max-loss", type=float, metavar="DB")
    verify.add_argument(
        "--delegate",
        default="cpu",
        metavar="D",
        help=f"where to run it: {examples()}",
    )
    with_picture(verify)
    with_json(verify)


def run(options):
    from tfsr.data import BenchmarkFolder
    from tfsr.scoring.images import task_to_score
    from tfsr.tflite.devices.verification import on_delegate
    from tfsr.tflite.runtime import TFLiteUpscaler
    from tfsr.tflite.verification import tiling_notes, verify
    from tfsr.zoo.upscalers import load_upscaler

    (delegate,) = delegates_of([options.delegate])
    delegate.check()
    converted = TFLiteUpscaler(options.file)
    scale, channels = converted.scale, converted.channels
    original = load_upscaler(options.against, scale)
    if original.channels != channels:
        raise InputError(
            f"{options.against}: has {original.channels} channels, {options.file} "
            f"{channels}."
        )
    task = task_to_score(converted).rounded()
    folder = BenchmarkFolder(options.images, scale, channels, degradation=task)
    if delegate.engine.run is None:
        report = verify(converted, original, folder, options.picture)
        notes = tiling_notes(converted, report)
    else:
        report = on_delegate(options.file, delegate, original, folder, options.picture)
        notes = report.pop("notes")
    for note in notes:
        say(note)
    report["delegate"] = delegate.name
    present(options, report, f"{options.file}: {loss_line(report)}")
    return check(options.file, report, options.max_loss)
