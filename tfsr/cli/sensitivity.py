"""`tfsr sensitivity`."""

from tfsr.cli.arguments import (
    KERAS_MODEL_HELP,
    degradation_asked,
    known_model,
    positive,
    with_degradation,
    with_json,
)
from tfsr.cli.output import columns, present
from tfsr.errors import InputError
from tfsr.quiet import import_keras

ROWS = 20  # rows that are printed; JSON has all


def add(command):
    help = "Measure the loss of 8 bits layer by layer."
    sensitivity = command("sensitivity", run, help)
    sensitivity.add_argument(
        "model", type=known_model, help=f"{KERAS_MODEL_HELP}, float"
    )
    sensitivity.add_argument("--images", required=True, metavar="FOLDER")
    sensitivity.add_argument("--scale", type=positive)
    sensitivity.add_argument(
        "--calibrate",
        metavar="FOLDER",
        help="images that set the ranges; scikit-image's photographs by default",
    )
    sensitivity.add_argument(
        "--fine-sums", action="store_true", help="sums as convolutions, as for convert"
    )
    with_degradation(sensitivity)
    with_json(sensitivity)


def run(options):
    import_keras()
    from tfsr.data import BenchmarkFolder
    from tfsr.data.embedded import TRAINING, photographs
    from tfsr.scoring.images import task_to_score
    from tfsr.tflite.quantization.calibration import (
        calibration_patches,
        with_saturated,
    )
    from tfsr.tflite.quantization.sensitivity import measure_sensitivity
    from tfsr.upscaling.upscalers import KerasUpscaler
    from tfsr.zoo.upscalers import load_upscaler

    upscaler = load_upscaler(options.model, options.scale)
    if not isinstance(upscaler, KerasUpscaler) or upscaler.depth == 8:
        raise InputError(f"{options.model}: must be a float model of Keras.")
    degradation = task_to_score(upscaler, degradation_asked(options)).rounded()
    calibration, images = (
        BenchmarkFolder(
            folder, upscaler.scale, upscaler.channels, degradation=degradation
        )
        for folder in (options.calibrate or photographs(TRAINING), options.images)
    )
    patches = calibration_patches(calibration)
    report = measure_sensitivity(
        upscaler.model,
        upscaler.scale,
        images,
        with_saturated(patches, upscaler.model),
        options.fine_sums,
    )
    report = {"model": upscaler.name, **report}
    present(options, report, _text(report))


def _text(report):
    rows = report["layers"]
    lines = [["loss, dB", "of", "layer", "range", "shared with"]]
    for row in rows[:ROWS]:
        bounds = " to ".join(f"{bound:.3g}" for bound in row.get("range", ()))
        shares = len(row.get("shares", ()))
        lines.append(
            [
                f"{row['loss_db']:.4f}",
                row["kind"],
                row["name"],
                bounds,
                f"{shares} more" if shares else "",
            ]
        )
    left = len(rows) - ROWS
    more = f"\nand {left} of at most {rows[ROWS]['loss_db']:.4f} dB" if left > 0 else ""
    return (
        f"{report['model']} x{report['scale']} on {report['folder']}: "
        f"{report['psnr_float']:.3f} dB in float; 8 bits lose {report['loss_db']:.4f} "
        f"dB, layer by layer {report['sum_db']:.4f} dB together\n"
        f"{columns(lines)}{more}"
    )
