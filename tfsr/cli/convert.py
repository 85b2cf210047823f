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
from tfsr.cli.models import (
    find_degradation,
    find_upscaler,
    import_tensorflow,
    or_input_error,
)
from tfsr.cli.output import fail, present, say
from tfsr.errors import InputError
from tfsr.tflite.formats import FORMATS

MAX_SHIFT = 0.5  # of a colour channel's mean, in 8-bit units, before verify fails


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
    convert.add_argument("--verify", metavar="FOLDER", help="images to measure loss on")
    convert.add_argument(
        "--no-lowering",
        action="store_true",
        help="as TensorFlow's converter has it, for comparison",
    )
    convert.add_argument(
        "--max-loss", type=float, metavar="DB", help="exit with 1 above this loss"
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
    _with_picture(verify)
    with_json(verify)

    inspect = command("inspect", _inspect, "What a converted model is and runs.")
    inspect.add_argument("file", type=known_model, metavar="FILE.tflite")
    with_json(inspect)


def _with_picture(command):
    command.add_argument(
        "--picture",
        type=png,
        metavar="FILE.png",
        help="the crop where the two differ most",
    )


def _convert(options):
    import_tensorflow()
    import tfsr
    from tfsr.data import BenchmarkFolder
    from tfsr.data.degradation import in_8_bits
    from tfsr.data.photographs import HELD_OUT, TRAINING, photographs
    from tfsr.tflite.conversion import convert, name_of_size
    from tfsr.tflite.quantization.aware import trained_format
    from tfsr.tflite.runtime import TFLiteUpscaler
    from tfsr.zoo.loading import load_architecture

    if not options.out.endswith(".tflite"):
        raise InputError(f"{options.out}: the output must end in .tflite.")
    model = tfsr.load_model(options.model)
    trained_for = trained_format(model)
    if trained_for not in (None, options.format):
        raise InputError(
            f"{options.model}: was trained for {trained_for}; --format "
            f"{options.format} is for float models."
        )
    chosen = FORMATS[options.format]
    if options.in_float and (not chosen.in_float or options.no_lowering or trained_for):
        allowed = " or ".join(f.name for f in FORMATS.values() if f.in_float)
        raise InputError(
            f"{options.model}: --in-float is for float models in --format {allowed}, "
            "with lowering."
        )
    original = find_upscaler(options.model, options.scale)
    scale, channels = original.scale, original.channels
    degradation = in_8_bits(
        find_degradation(options.model, original, degradation_asked(options))
    )
    calibration, check = (
        BenchmarkFolder(images, scale, channels, degradation=degradation)
        for images in (
            options.calibrate or photographs(TRAINING),
            options.verify or photographs(HELD_OUT),
        )
    )
    if chosen.bits and not (options.calibrate or trained_for):
        say(
            "warning: calibrating on scikit-image's photographs; "
            "--calibrate FOLDER with images like your own loses less."
        )
    written = convert(
        model,
        scale,
        options.format,
        options.size,
        options.out,
        calibration,
        lowering=not options.no_lowering,
        in_float=options.in_float,
        architecture=load_architecture(options.model),
    )
    reports = []
    for file, size in zip(written, options.size, strict=True):
        picture = options.picture
        if picture and len(written) > 1:
            picture = name_of_size(picture, size)
        report = _measure(file, TFLiteUpscaler(file), original, check, picture)
        size_bytes = file.stat().st_size
        reports.append({"file": str(file), "size_bytes": size_bytes, **report})
    lines = [
        f"{r['file']}: {r['size_bytes'] / 1000:.0f} KB, {_loss(r)}" for r in reports
    ]
    report = reports[0] if len(reports) == 1 else {"files": reports}
    present(options, report, "\n".join(lines))
    code = max(_check(r["file"], r, options.max_loss) for r in reports)
    if code:
        say(f"{options.out}: kept; longer training loses less, and so may --calibrate.")
    return code


def _verify(options):
    from tfsr.data import BenchmarkFolder
    from tfsr.data.degradation import in_8_bits
    from tfsr.tflite.runtime import TFLiteUpscaler

    converted = TFLiteUpscaler(options.file)
    original = find_upscaler(options.against, converted.scale)
    if original.channels != converted.channels:
        raise InputError(
            f"{options.against}: has {original.channels} channels, {options.file} "
            f"{converted.channels}."
        )
    degradation = in_8_bits(find_degradation(options.file, converted, None))
    folder = BenchmarkFolder(
        options.images, converted.scale, converted.channels, degradation=degradation
    )
    report = _measure(options.file, converted, original, folder, options.picture)
    present(options, report, f"{options.file}: {_loss(report)}")
    return _check(options.file, report, options.max_loss)


def _measure(file, converted, original, folder, picture):
    """Returns the report of `verify`; says what else than conversion loses."""
    from tfsr.tflite.verification import verify

    report = verify(converted, original, folder, picture)
    images = report["images"]
    rough = sum(not converted.is_exact(*image["lr_size"]) for image in images)
    if rough:
        height, width = converted.size
        say(
            f"{file}: {rough} of {len(images)} images are padded to {height}x{width} "
            "or come in tiles that overlap by less than the network sees; the loss has "
            "that in it."
        )
    return report


def _inspect(options):
    from tfsr.data.degradation import from_table
    from tfsr.tflite.runtime import inspect

    report = inspect(options.file)
    metadata = {**report["metadata"]}
    metadata["size"] = metadata["size"] or "dynamic"
    if "degradation" in metadata:
        metadata["degradation"] = or_input_error(from_table, metadata["degradation"])
    facts = [f"{key}: {value}" for key, value in metadata.items()]
    operators = ", ".join(f"{n} {name}" for name, n in report["operators"].items())
    facts += [
        f"operators: {operators}",
        f"taken by the CPU delegate: {report['delegated']} operators of "
        f"{sum(report['operators'].values())}; partitions: {report['partitions']}",
        f"operators in floating point: {report['float_operators']}",
    ]
    present(options, report, "\n".join(facts))


def _loss(report):
    bias = ", ".join(f"{b:+.2f}" for b in report["channel_bias"])
    loss_db = round(report["loss_db"], 3) + 0.0  # no -0.000
    return (
        f"{report['psnr_quantized']:.3f} dB against {report['psnr_float']:.3f} dB of "
        f"the original on {report['folder']}: loses {loss_db:.3f} dB; "
        f"{report['psnr_between']:.1f} dB between them; "
        f"mean shift by channel {bias}; worst: {report['worst_image']}"
    )


def _check(file, report, max_loss):
    """Returns the exit code of a verification."""
    shift = max(report["channel_bias"], key=abs)
    if abs(shift) > MAX_SHIFT:
        return fail(
            f"{file}: a colour channel is shifted by {shift:.2f} of 255, above "
            f"{MAX_SHIFT}.",
            1,
        )
    loss_db = report["loss_db"]
    if max_loss is not None and not loss_db <= max_loss:
        return fail(
            f"{file}: the loss of {loss_db:.3f} dB is above --max-loss {max_loss}.", 1
        )
    return 0
