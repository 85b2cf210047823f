"""`tfsr convert`."""

from tfsr.cli.arguments import (
    KERAS_MODEL_HELP,
    degradation_asked,
    known_model,
    positive,
    sizes,
    with_degradation,
    with_json,
)
from tfsr.cli.delegates import delegates_of
from tfsr.cli.output import naming_options, present, say
from tfsr.cli.verification import check, loss_line, with_picture
from tfsr.tflite.devices.engines import examples
from tfsr.tflite.formats import FORMATS


def add(command):
    calibrated = [name for name, format in FORMATS.items() if format.bits]
    in_float = [name for name, format in FORMATS.items() if format.in_float]
    convert = command("convert", run, "Convert a model to TFLite.")
    convert.add_argument("model", type=known_model, help=KERAS_MODEL_HELP)
    convert.add_argument("--scale", type=positive)
    convert.add_argument(
        "--size",
        type=sizes,
        default=[None],
        metavar="HxW[,HxW...]|dynamic",
        help="size of the input, height x width; dynamic by default",
    )
    convert.add_argument("--format", required=True, choices=list(FORMATS))
    convert.add_argument(
        "--calibrate",
        metavar="FOLDER",
        help=f"images that set the ranges of {' and '.join(calibrated)}",
    )
    convert.add_argument(
        "--in-float",
        type=lambda text: text.split(","),
        default=[],
        metavar="LAYER[,LAYER...]",
        help=f"layers that {' and '.join(in_float)} leaves in float32, as tfsr "
        "sensitivity names them",
    )
    convert.add_argument(
        "--fine-sums",
        action="store_true",
        help=f"{' and '.join(in_float)} with sums as convolutions: for networks with "
        "many, such as scn",
    )
    convert.add_argument(
        "--verify", metavar="FOLDER", help="images to measure the loss on"
    )
    convert.add_argument(
        "--no-lowering",
        action="store_true",
        help="do not rewrite the network before it is converted, for comparison",
    )
    convert.add_argument(
        "--max-loss", type=float, metavar="DB", help="exit with 1 above this loss"
    )
    convert.add_argument(
        "--compile",
        metavar="D",
        help="also write the file compiled for a delegate such as "
        f"{examples('compile')}",
    )
    with_degradation(convert)
    with_picture(convert)
    convert.add_argument("-o", "--out", required=True, metavar="FILE.tflite")
    with_json(convert)


def run(options):
    from tfsr.tflite.api import convert

    delegates_of([options.compile] if options.compile else [])
    report = convert(
        options.model,
        options.out,
        options.format,
        options.size,
        options.scale,
        options.calibrate,
        options.verify,
        lowering=not options.no_lowering,
        in_float=options.in_float,
        degradation=degradation_asked(options),
        picture=options.picture,
        compile=options.compile,
        fine_sums=options.fine_sums,
    )
    reports = report.get("files", [report])
    for of_file in reports:
        for note in of_file.pop("notes"):
            say(naming_options(note, options))
    lines = [
        f"{r['file']}: {r['size_bytes'] / 1000:.0f} KB, {loss_line(r)}" for r in reports
    ]
    lines += [f"{r['compiled']}: compiled" for r in reports if "compiled" in r]
    present(options, report, "\n".join(lines))
    code = max(check(r["file"], r, options.max_loss) for r in reports)
    if code:
        advice = "; longer training loses less, and so may --calibrate"
        if FORMATS[options.format].is_float:
            advice = ""  # no format would lose less
        say(f"{options.out}: kept{advice}.")
    return code
