"""`tfsr benchmark`."""

from tfsr.cli.common import positive, positives, present, size, with_json


def add(command):
    help = "Time TFLite models on this machine or on a phone."
    benchmark = command("benchmark", run, help, makes_folders=True)
    benchmark.add_argument("files", nargs="+", metavar="FILE.tflite")
    benchmark.add_argument("--threads", type=positives, default=[1], metavar="N[,N]")
    benchmark.add_argument("--runs", type=positive, default=30, help="timed runs")
    benchmark.add_argument(
        "--warmup", type=positive, default=3, metavar="N", help="runs before those"
    )
    benchmark.add_argument(
        "--profile", action="store_true", help="time every operator as well"
    )
    benchmark.add_argument(
        "--size",
        type=size,
        default=(180, 320),
        metavar="HxW",
        help="input of dynamic models; 180x320 by default",
    )
    benchmark.add_argument(
        "-o", "--out", metavar="DIR", help="folder for JSON, CSV, Markdown and picture"
    )
    with_json(benchmark)


def run(options):
    from tfsr.tflite.benchmark import benchmark
    from tfsr.tflite.benchmark_report import profile_table, table, write
    from tfsr.tflite.profile import profile

    report = benchmark(
        options.files, options.threads, options.runs, options.warmup, options.size
    )
    text = [table(report)]
    if options.profile:
        report["profiles"] = [
            profile(file, threads, options.size)
            for file in options.files
            for threads in options.threads
        ]
        text += [profile_table(p) for p in report["profiles"]]
    if options.out:
        write(options.out, report)
    present(options, report, "\n\n".join(text))
