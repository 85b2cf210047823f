"""`tfsr report`."""

import argparse
import contextlib
from pathlib import Path

from tfsr.cli.arguments import (
    MODEL_HELP,
    known_model,
    positive,
    with_dynamic_size,
    with_json,
    with_litert_js,
)
from tfsr.cli.output import on_stderr, present, say
from tfsr.errors import InputError
from tfsr.quiet import import_keras


def add(command):
    help = "Write a page on models: quality, cost, pictures, and a box to try one."
    report = command("report", run, help, makes_folders=True)
    report.add_argument(
        "runs",
        type=known_model,
        nargs="*",
        metavar="RUN",
        help=f"{MODEL_HELP}, or the folder of a study",
    )
    report.add_argument("-o", "--out", metavar="DIR", help="the folder of the page")
    report.add_argument(
        "--test", nargs="+", default=[], metavar="FOLDER", help="benchmark folders"
    )
    report.add_argument(
        "--scale", type=positive, help="scale of networks that have several"
    )
    with_dynamic_size(report)
    report.add_argument(
        "--no-latency", action="store_true", help="skip timing and profiling"
    )
    box = report.add_argument_group("in the visitor's browser")
    box.add_argument(
        "--try",
        dest="try_model",
        type=known_model,
        metavar="FILE.tflite",
        help="a model that visitors run on their photos, on their device",
    )
    with_litert_js(box)
    box.add_argument("--serve", metavar="DIR", help="serve a report on this machine")
    box.add_argument(
        "--lan", action="store_true", help="with --serve: serve it to the whole network"
    )
    box.add_argument(
        "--port", type=_port, default=8000, help="port of --serve; 8000 by default"
    )
    with_json(report)


def run(options):
    from tfsr.zoo.upscalers import BASELINES

    if options.serve:
        return _serve(options)
    if options.lan:
        raise InputError("--lan: is for --serve DIR.")
    for name, given in (
        ("-o DIR", options.out),
        ("--test FOLDER", options.test),
        ("a RUN", set(options.runs) - set(BASELINES)),
    ):
        if not given:
            raise InputError(f"report: needs {name}.")
    import_keras()
    from tfsr.report.loading import load_models, time_files
    from tfsr.report.models import compare
    from tfsr.report.page import write
    from tfsr.report.scores import score

    out = Path(options.out)
    with on_stderr():
        models = load_models(options.runs, options.scale)
        comparison = compare(models, options.test)
        out.mkdir(parents=True, exist_ok=True)
        box = None
        if options.try_model:
            from tfsr.tflite.app.box import write_box

            (box,) = write_box(out / "try", [options.try_model], options.litert_js)
        score(comparison, out / "results")
        latency = None
        if not options.no_latency:
            latency = time_files(models, options.size, out / "latency.json")
        report = write(out, comparison, latency, box)
    text = f"{out / 'index.html'}"
    if box:
        text += f"\nThe box on it works over HTTP: tfsr report --serve {out}"
    present(options, report, text)
    return 0


def _serve(options):
    from tfsr.report.server import EVERYONE, LOCAL, addresses, make_server

    if options.runs or options.out or options.test:
        raise InputError(
            "--serve: takes the folder of a finished report, and no models."
        )
    host = EVERYONE if options.lan else LOCAL
    with make_server(options.serve, host, options.port) as listening:
        for address in addresses(host, listening.server_port):
            print(address, flush=True)
        say("serving until Ctrl-C.")
        with contextlib.suppress(KeyboardInterrupt):
            listening.serve_forever()
    return 0


def _port(text):
    if not (text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0 to 65535")
    return int(text)
