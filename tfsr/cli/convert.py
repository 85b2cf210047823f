"""`tfsr convert`, `tfsr verify` and `tfsr inspect`."""

from tfsr.cli.arguments import (
    MODEL_HELP,
    degradation_asked,
    known_model,
    png,
    positive,
    sizes,
    with_degradation,
    with_json,
)
from tfsr.cli.output import fail, present, say
from tfsr.errors import InputError, or_input_error
from tfsr.tflite.formats import FORMATS

MAX_SHIFT = 0.5  # of a colour channel's mean, in 8-bit units, before verify fails
MAX_FLAT_FIELD_ERROR = 4  # of a saturated colour, in 8-bit levels, likewise


def add(command):
    calibrated = [name for name, format in FORMATS.items() if format.bits]
    in_float = [name for name, format in FORMATS.items() if format.in_float]
    convert = command("convert", _convert, "Convert a model to TFLite.")
    convert.add_argument(
        "model",
        type=known_model,
        help="a run folder, a .keras file or a released model's name",
    )
    convert.add_argument("--scale", type=positive)
    convert.add_argument(
        "--size",
        type=sizes,
        default=[None],
        metavar="HxW[,HxW...]|dynamic",
        help="of the input, height x width; dynamic by default",
    )
    convert.add_argument(
        "--format",
        required=True,
        choices=list(FORMATS),
    )
    convert.add_argument(
        "--calibrate",
        metavar="FOLDER",
        help=f"images for the ranges of {' and '.join(calibrated)}",
    )
    convert.add_argument(
        "--in-float",
        type=lambda text: text.split(","),
        default=[],
        metavar="LAYER[,LAYER...]",
        help=f"what {' and '.join(in_float)} leaves in float32, by the names of tfsr "
        "sensitivity",
    )
    convert.add_argument(
        "--fine-sums",
        action="store_true",
        help=f"{' and '.join(in_float)} with sums as convolutions: for networks with "
        "many, such as scn",
    )
    convert.add_argument("--verify", metavar="FOLDER", help="images to measure loss on")
    convert.add_argument(
        "--no-lowering",
        action="store_true",
        help="as TensorFlow's converter has it, for comparison",
    )
    convert.add_argument(
        "--max-loss", type=float, metavar="DB", help="exit with 1 above this loss"
    )
    convert.add_argument(
        "--compile",
        metavar="qualcomm:SOC",
        help="write it compiled for that NPU too, beside the plain file",
    )
    with_degradation(convert)
    _with_picture(convert)
    convert.add_argument("-o", "--out", required=True, metavar="FILE.tflite")
    with_json(convert)

    verify = command("verify", _verify, "Measure what a converted model loses.")
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
        help="where it runs: cpu, gpu, gpu:float32 or qualcomm:SOC (as SM8650)",
    )
    _with_picture(verify)
    with_json(verify)

    inspect = command("inspect", _inspect, "What a converted model is and runs.")
    inspect.add_argument("file", type=known_model, metavar="FILE.tflite")
    inspect.add_argument(
        "--delegates",
        metavar="LIST",
        help="say what each of them takes: cpu, gpu, qualcomm:SOC (as SM8650)",
    )
    with_json(inspect)


def _with_picture(command):
    command.add_argument(
        "--picture",
        type=png,
        metavar="FILE.png",
        help="the crop where the two differ most",
    )


def _convert(options):
    from tfsr.api import convert

    _delegates([options.compile] if options.compile else [])
    report = convert(
        options.model,
        options.out,
        options.format,
        options.size,
        options.scale,
        options.calibrate,
        options.verify,
        not options.no_lowering,
        options.in_float,
        degradation_asked(options),
        options.picture,
        options.compile,
        options.fine_sums,
    )
    reports = report.get("files", [report])
    for of_file in reports:
        for note in of_file.pop("notes"):
            say(note)
    lines = [
        f"{r['file']}: {r['size_bytes'] / 1000:.0f} KB, {_loss(r)}" for r in reports
    ]
    lines += [f"{r['compiled']}: compiled" for r in reports if "compiled" in r]
    present(options, report, "\n".join(lines))
    code = max(_check(r["file"], r, options.max_loss) for r in reports)
    if code:
        advice = "; longer training loses less, and so may --calibrate"
        if FORMATS[options.format].is_float:
            advice = ""  # what differs are the sizes, or a limit that none meets
        say(f"{options.out}: kept{advice}.")
    return code


def _verify(options):
    from tfsr.data import BenchmarkFolder
    from tfsr.scoring.images import task_to_score
    from tfsr.tflite.devices.verification import on_delegate
    from tfsr.tflite.runtime import TFLiteUpscaler
    from tfsr.tflite.verification import roughness, verify
    from tfsr.zoo.upscalers import load_upscaler

    (delegate,) = _delegates([options.delegate])
    delegate.check()
    converted = TFLiteUpscaler(options.file)
    scale, channels = converted.scale, converted.channels
    original = load_upscaler(options.against, scale)
    if original.channels != channels:
        raise InputError(
            f"{options.against}: has {original.channels} channels, {options.file} "
            f"{channels}."
        )
    task = task_to_score(converted).in_8_bits()
    folder = BenchmarkFolder(options.images, scale, channels, degradation=task)
    if delegate.kind.run is None:
        report = verify(converted, original, folder, options.picture)
        notes = roughness(converted, report)
    else:
        report = on_delegate(options.file, delegate, original, folder, options.picture)
        notes = report.pop("notes")
    for note in notes:
        say(note)
    report["delegate"] = delegate.name
    present(options, report, f"{options.file}: {_loss(report)}")
    return _check(options.file, report, options.max_loss)


def _inspect(options):
    from tfsr.data.degradation import from_table
    from tfsr.tflite.devices.delegates import ask
    from tfsr.tflite.runtime import inspect

    delegates = _delegates(options.delegates.split(",") if options.delegates else [])
    report = {"file": options.file, **inspect(options.file)}
    report["delegates"] = {d.name: ask(options.file, d) for d in delegates}
    metadata = {**report["metadata"]}
    metadata["size"] = metadata["size"] or "dynamic"
    if "degradation" in metadata:
        metadata["degradation"] = or_input_error(from_table, metadata["degradation"])
    facts = [f"{key}: {value}" for key, value in metadata.items()]
    facts.insert(0, f"file: {options.file}")
    if "operators" in report:
        facts += _operators(report)
    for name, answer in report["delegates"].items():
        facts += [f"{name}: {_taken(answer)}", *answer["advice"]]
    present(options, report, "\n".join(facts))


def _operators(report):
    """Returns lines on the operators of a file, and on what the CPU takes of them."""
    operators = ", ".join(f"{n} {name}" for name, n in report["operators"].items())
    return [
        f"operators: {operators}",
        f"taken by the CPU delegate: {report['delegated']} operators of "
        f"{sum(report['operators'].values())}; partitions: {report['partitions']}",
        f"operators in floating point: {report['float_operators']}",
    ]


def _delegates(names):
    """Returns delegates by name, after what their users must know is said."""
    from tfsr.tflite.devices.delegates import Delegate

    delegates = [Delegate(name) for name in names]
    here = [d.kind for d in delegates if d.kind.notice and not d.kind.missing()]
    for notice in dict.fromkeys(kind.notice for kind in here):
        say(f"{notice}.")
    return delegates


def _taken(answer):
    """Returns in one line what a delegate takes of a file."""
    parts = f"{answer['parts']} part{'s' * (answer['parts'] != 1)}"
    said = parts if answer["taken"] == "parts" else answer["taken"]
    if answer["device"]:
        said += f", on {answer['device']}"
    if answer["refused_operators"]:
        said += f"; leaves out {', '.join(answer['refused_operators'])}"
    return f"{said}: {answer['reason']}" if answer["reason"] else said


def _loss(report):
    bias = ", ".join(f"{b:+.2f}" for b in report["channel_bias"])
    loss_db = round(report["loss_db"], 3) + 0.0  # no -0.000
    return (
        f"{report['psnr_quantized']:.3f} dB against {report['psnr_float']:.3f} dB of "
        f"the original on {report['folder']}: loses {loss_db:.3f} dB; "
        f"{report['psnr_between']:.1f} dB between them; "
        f"mean shift by channel {bias}; worst: {report['worst_image']}{_corner(report)}"
        f"{_spread(report)}"
    )


def _corner(report):
    errors = report["flat_field_error"]
    if not errors:
        return ""
    corner = max(errors, key=errors.__getitem__)
    return f"; worst pure colour: {corner}, {errors[corner]} levels off"


def _spread(report):
    spread = report["gray_spread"]
    if not spread:
        return ""
    image = max(spread, key=spread.__getitem__)
    return f"; a gray {image} comes out with {spread[image]} levels of colour"


def _in_tiles(report):
    rough, count = report["approximated_images"], len(report["images"])
    return f", with {rough} of {count} images in tiles or padded" if rough else ""


def _check(file, report, max_loss):
    """Returns the exit code of a verification."""
    shift = max(report["channel_bias"], key=abs)
    if abs(shift) > MAX_SHIFT:
        return fail(
            f"{file}: a colour channel is shifted by {shift:.2f} of 255, above "
            f"{MAX_SHIFT}{_in_tiles(report)}.",
            1,
        )
    errors = report["flat_field_error"]
    corner = max(errors, key=errors.__getitem__, default=None)
    if corner and errors[corner] > MAX_FLAT_FIELD_ERROR:
        return fail(
            f"{file}: a field of pure {corner} is {errors[corner]} of 255 levels off, "
            f"above {MAX_FLAT_FIELD_ERROR}.",
            1,
        )
    loss_db = report["loss_db"]
    if max_loss is not None and not loss_db <= max_loss:
        return fail(
            f"{file}: the loss of {loss_db:.3f} dB is above --max-loss {max_loss}.", 1
        )
    return 0
