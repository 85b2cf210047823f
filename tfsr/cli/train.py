"""`tfsr train`."""

from pathlib import Path

from tfsr.cli.arguments import (
    positive,
    with_json,
    with_overrides,
    with_tensorboard,
)
from tfsr.cli.output import on_stderr, present
from tfsr.errors import InputError
from tfsr.quiet import import_keras


def add(command):
    train = command(
        "train", run, "Train the network of a config, or resume its training.", True
    )
    train.add_argument(
        "config",
        help="a TOML file, or the name of one of tfsr's, such as carn/carn_m",
    )
    train.add_argument("--out", required=True, metavar="RUN", help="the run folder")
    with_overrides(train)
    with_tensorboard(train)
    train.add_argument(
        "--dry-run",
        action="store_true",
        help="check the config and data, estimate the time, and write nothing",
    )
    train.add_argument(
        "--minutes",
        type=positive,
        metavar="N",
        help="stop after the last epoch that ends within N minutes; the same command "
        "goes on from there",
    )
    with_json(train)


def run(options):
    check_config(options.config, options.set)
    import_keras()
    from tfsr.training import dry_run, read_config, train
    from tfsr.training.callbacks import TimeLimit
    from tfsr.training.distribution import worker_count

    config = read_config(options.config, options.set)
    if options.minutes and worker_count() > 1:
        raise InputError("--minutes: is for one process, not for several workers.")
    if options.dry_run:
        report = dry_run(config, options.out)
        present(options, report, _estimate(config.source, report))
        return
    with on_stderr():
        callbacks = [TimeLimit(options.minutes)] if options.minutes else []
        metrics = train(config, options.out, options.tensorboard, callbacks)
    present_metrics(options, metrics)


def check_config(file, overrides, quantizes=False):
    """Raises an `InputError` on mistakes that show without loading Keras."""
    from tfsr.config import parse_config
    from tfsr.data import list_images

    config = parse_config(file, overrides)
    if config.quantize and not quantizes:
        raise InputError(f"{file}: has [quantize]; see tfsr quantize-train.")
    data = config.data
    if data.pack:
        with open(data.pack, "rb"):  # an OSError names the file
            return
    hr = Path(data.val) / "HR"
    for folder in (*data.train, *data.train_lr, hr if hr.is_dir() else data.val):
        list_images(folder)


def present_metrics(options, metrics):
    """Prints how good a run is; prints nothing on workers without metrics."""
    if metrics is None:
        return
    ours, before = (key for key in metrics if key.startswith("val_psnr"))
    name = before.removeprefix(f"{ours}_")
    best = ", ".join(f"{s} {v:.2f} dB" for s, v in metrics[ours].items())
    base = ", ".join(f"{s} {v:.2f}" for s, v in metrics[before].items())
    present(
        options,
        metrics,
        f"{options.out}: best after epoch {metrics['best_epoch']} of "
        f"{metrics['epochs']}: {best} ({name} {base})",
    )


def _estimate(source, report):
    from tfsr.terminal import duration

    peak = report["peak_memory_mb"]
    memory = "" if peak is None else f"; peak memory {peak:.0f} MB"
    return (
        f"{source}: {report['model']}, {report['params']} parameters; "
        f"{report['images']} images, {report['cache_bytes'] / 2**20:.0f} MB in the "
        f"cache{memory}\n"
        f"{report['steps']} steps of {report['step_seconds']:.3g} s in "
        f"{report['epochs']} epochs, each with {report['validation_seconds']:.3g} s of "
        f"validation: about {duration(report['estimated_seconds'])}"
    )
