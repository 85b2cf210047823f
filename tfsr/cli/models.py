"""`tfsr models`."""

from tfsr.cli.arguments import with_json
from tfsr.cli.output import columns, present


def add(command):
    models = command("models", run, "List the networks and the released models.")
    with_json(models)


def run(options):
    from tfsr.zoo.catalogue import models

    report = models()
    head = ["name", "task", "scale", "params", "mult-adds", "PSNR", "int8 loses"]
    lines = [[*head, "int8 latency", "size"], *map(_line, report["released"])]
    text = [
        f"networks: {', '.join(report['networks'])}",
        "",
        columns(lines),
        "",
        "Mult-adds are for 1280x720 output, latency is relative to CARN-M in int8.",
    ]
    present(options, report, "\n".join(text))


def _line(model):
    images, psnr = next(iter(model["psnr_y"].items()))
    latency = model["int8_latency_of_carn_m"]
    return [
        model["name"],
        model["task"],
        f"x{model['scale']}",
        f"{model['params'] / 1e3:.0f}K",
        f"{model['mult_adds'] / 1e9:.1f}G",
        f"{psnr:.2f} dB on {images}",
        f"{model['int8_loss_db'][images]:.3f} dB",
        "-" if latency is None else f"{latency:.2f}",
        f"{model['size_bytes'] / 1000:.0f} KB",
    ]
