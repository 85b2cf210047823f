"""`tfsr demo`."""

from tfsr.cli.output import on_stderr
from tfsr.quiet import import_keras
from tfsr.terminal import printable


def add(command):
    demo = command(
        "demo",
        run,
        "Train, score, convert and time a small network on embedded photographs.",
        True,
    )
    demo.add_argument("-o", "--out", default="demo", help="folder of the results")


def run(options):
    import_keras()
    from tfsr.demo import run_demo, summary

    with on_stderr():
        report = run_demo(options.out)
    print(printable(summary(report, options.out), keep="\n"))
