"""`tfsr benchmark`."""

from tfsr.cli.arguments import (
    known_model,
    positive,
    positives,
    whole,
    with_dynamic_size,
    with_json,
)
from tfsr.cli.output import fail, present, say
from tfsr.errors import InputError
from tfsr.extras import check
from tfsr.tflite.devices import engines, phone_delegates

PHONE_ONLY = ("serial", "tool", "delegates", "image", "timeout", "cool")


def add(command):
    help = "Time TFLite models on this machine or on a phone."
    benchmark = command("benchmark", run, help, makes_folders=True)
    benchmark.add_argument("files", type=known_model, nargs="+", metavar="FILE.tflite")
    benchmark.add_argument(
        "--threads",
        type=positives,
        metavar="N[,N]",
        help="CPU threads; 1 by default, on a phone 1,2,4",
    )
    benchmark.add_argument("--runs", type=positive, default=30, help="timed runs")
    benchmark.add_argument(
        "--warmup", type=whole, default=3, metavar="N", help="untimed runs before"
    )
    benchmark.add_argument(
        "--profile", action="store_true", help="time every operator as well"
    )
    with_dynamic_size(benchmark)
    benchmark.add_argument(
        "-o", "--out", metavar="DIR", help="folder for JSON, CSV, Markdown and pictures"
    )
    benchmark.add_argument(
        "--delegate",
        metavar="D",
        help=f"run on this machine's {engines.examples('measure')} instead of its CPU",
    )
    benchmark.add_argument(
        "--software-driver",
        action="store_true",
        help="also time a software driver, which says nothing about real GPUs",
    )
    with_json(benchmark)
    phone = benchmark.add_argument_group("on a phone (see tflite/README.md)")
    phone.add_argument(
        "--android", action="store_true", help="benchmark on a phone, over adb"
    )
    phone.add_argument(
        "--serial",
        metavar="S",
        help="serial number of the phone, if several are connected",
    )
    phone.add_argument(
        "--tool", metavar="FILE", help="TensorFlow Lite's or LiteRT's benchmark_model"
    )
    phone.add_argument(
        "--delegates",
        metavar="LIST",
        help=f"any of {phone_delegates.examples()}; cpu,gpu by default",
    )
    phone.add_argument(
        "--image",
        metavar="IMG",
        help="input image of the models; a photograph by default",
    )
    phone.add_argument(
        "--timeout",
        type=positive,
        metavar="SECONDS",
        help="time limit for one model on one delegate; 600 by default",
    )
    phone.add_argument(
        "--cool",
        type=positive,
        metavar="SECONDS",
        help="longest wait for a warm phone to cool; 120 by default",
    )


def run(options):
    if options.android:
        return _on_phone(options)
    for name in PHONE_ONLY:
        if getattr(options, name) is not None:
            raise InputError(f"--{name}: is for a phone; add --android.")
    if options.out:
        check("matplotlib")
    from tfsr.tflite.benchmark.profiling import profile
    from tfsr.tflite.benchmark.timing import benchmark, benchmark_on
    from tfsr.tflite.devices.delegates import Delegate

    if options.delegate not in (None, "cpu"):
        if options.profile or options.threads:
            raise InputError("--delegate: takes neither --profile nor --threads.")
        report = benchmark_on(
            options.files,
            Delegate(options.delegate),
            options.runs,
            options.warmup,
            options.software_driver,
        )
        _present(options, report)
        return 0
    threads = options.threads or [1]
    report = benchmark(
        options.files, threads, options.runs, options.warmup, options.size
    )
    if options.profile:
        report["profiles"] = [
            profile(file, n, options.size) for file in options.files for n in threads
        ]
    _present(options, report)
    return 0


def _on_phone(options):
    from tfsr.tflite.devices.android import Options, benchmark
    from tfsr.tflite.devices.phone_delegates import PhoneDelegate

    if options.tool is None:
        raise InputError("--android: needs --tool, the phone's benchmark_model.")
    what = Options(
        tool=options.tool,
        threads=options.threads or [1, 2, 4],
        delegates=[
            PhoneDelegate(name) for name in (options.delegates or "cpu,gpu").split(",")
        ],
        runs=options.runs,
        warmup=options.warmup,
        size=options.size,
        image=options.image,
        timeout_s=options.timeout or 600,
        cool_s=options.cool or 120,
        profile=options.profile,
    )
    report = {}
    try:
        benchmark(options.files, what, report, options.serial)
    finally:  # keeps the measurements, whatever happens
        failures = report.get("failures", [])
        for f in failures:
            say(f"{f['file']}, {f['delegate']}, {f['threads']} threads: {f['error']}.")
        if report.get("results") or failures:
            _present(options, report)
    if failures:
        runs = len(report["results"]) + len(failures)
        return fail(f"{len(failures)} of {runs} runs failed.", 1)
    return 0


def _present(options, report):
    from tfsr.tflite.benchmark.report import profile_table, table, write

    if options.out:
        write(options.out, report)
    tables = [table(report), *map(profile_table, report.get("profiles", []))]
    present(options, report, "\n\n".join(tables))
