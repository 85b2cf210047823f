"""`tfsr study`."""

import argparse
from pathlib import Path

from tfsr.cli.arguments import (
    positive,
    with_json,
    with_lr_size,
    with_overrides,
    with_shard,
)
from tfsr.cli.output import on_stderr, present, say
from tfsr.cli.train import check_config
from tfsr.errors import InputError
from tfsr.quiet import import_keras


def add(command):
    study = command(
        "study", run, "Train and compare networks on the same budget.", True
    )
    study.add_argument(
        "configs",
        nargs="+",
        help="TOML files and folders of them; ratios are relative to the first",
    )
    study.add_argument("--out", required=True, metavar="DIR")
    study.add_argument("--seeds", type=_seeds, default=[0], metavar="N[,N]")
    with_overrides(study)
    study.add_argument(
        "--scale", type=positive, help="scale of networks that have several"
    )
    with_lr_size(study)
    study.add_argument(
        "--test",
        nargs="+",
        default=[],
        metavar="FOLDER",
        help="benchmark folders; the validation images by default",
    )
    study.add_argument(
        "--no-latency", action="store_true", help="skip conversion and timing"
    )
    with_shard(study, "trainings")
    with_json(study)


def run(options):
    for override in options.set:
        if override.startswith("train.seed"):
            raise InputError(f"--set {override}: the seeds are given by --seeds.")
    for config in options.configs:
        if not Path(config).is_dir():
            check_config(config, options.set)
    import_keras()
    from tfsr.study.planning import plan
    from tfsr.study.results import table
    from tfsr.study.running import run, train_part

    planned = plan(
        options.configs,
        options.out,
        options.seeds,
        options.set,
        options.scale,
        options.size,
        options.test,
    )
    with on_stderr():
        if options.shard:
            done, count = train_part(planned, options.shard)
            say(f"{options.out}: {done} of {count} trainings are done.")
            return
        report = run(planned, latency=not options.no_latency)
    present(options, report, table(report))


def _seeds(text):
    seeds = text.split(",")
    if not all(seed.isdigit() for seed in seeds) or len(set(seeds)) < len(seeds):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of seeds, such as 0,1"
        )
    return [int(seed) for seed in seeds]
