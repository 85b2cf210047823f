"""`tfsr quantize-train`."""

from tfsr.cli.arguments import (
    KERAS_MODEL_HELP,
    known_model,
    with_json,
    with_overrides,
    with_tensorboard,
)
from tfsr.cli.output import on_stderr
from tfsr.cli.train import check_config, present_metrics
from tfsr.quiet import import_keras


def add(command):
    help = "Train a float model for 8 bits (quantization-aware), or resume such a run."
    quantize = command("quantize-train", run, help, True)
    quantize.add_argument(
        "model",
        type=known_model,
        metavar="RUN",
        help=f"{KERAS_MODEL_HELP}, float",
    )
    quantize.add_argument(
        "--config",
        required=True,
        help="a TOML file with [quantize], such as configs/carn/carn_m_qat.toml",
    )
    quantize.add_argument("--out", required=True, metavar="RUN2", help="the run folder")
    with_overrides(quantize)
    with_tensorboard(quantize)
    with_json(quantize)


def run(options):
    check_config(options.config, options.set, quantizes=True)
    import_keras()
    from tfsr.tflite.quantization.training import quantize_train
    from tfsr.training import read_config

    config = read_config(options.config, options.set)
    with on_stderr():
        metrics = quantize_train(
            options.model, config, options.out, options.tensorboard
        )
    present_metrics(options, metrics)
