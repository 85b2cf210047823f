"""The output of commands on a verification, and the limits that it must meet."""

from tfsr.cli.arguments import png
from tfsr.cli.output import fail

MAX_SHIFT = 0.5  # of a colour channel's mean, in 8-bit units; above it verify fails
MAX_FLAT_FIELD_ERROR = 4  # of a saturated colour, in 8-bit levels, likewise


def with_picture(command):
    command.add_argument(
        "--picture",
        type=png,
        metavar="FILE.png",
        help="draw the crop where the two differ most",
    )


def loss_line(report):
    """Returns one line on the loss of a conversion."""
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
    return f"; a gray image ({image}) comes out with {spread[image]} levels of colour"


def _in_tiles(report):
    rough, count = report["approximated_images"], len(report["images"])
    return f", with {rough} of {count} images in tiles or padded" if rough else ""


def check(file, report, max_loss):
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
