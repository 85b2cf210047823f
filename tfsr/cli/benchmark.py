"""`tfsr benchmark`."""

from tfsr.cli.common import positive, positives, present, size, with_json


def add(command):
    benchmark = command("benchmark", run, "Time TFLite models on this machine.")
    benchmark.add_argument("files", nargs="+", metavar="FILE.tflite")
    benchmark.add_argument("--threads", type=positives, default=[1], metavar="N[,N]")
    benchmark.add_argument("--runs", type=positive, default=30)
    benchmark.add_argument(
        "--size",
        type=size,
        default=(180, 320),
        metavar="HxW",
        help="input of dynamic models; 180x320 by default",
    )
    with_json(benchmark)


def run(options):
    from tfsr.tflite.benchmark import benchmark, table

    report = benchmark(options.files, options.threads, options.runs, options.size)
    present(options, report, table(report))
