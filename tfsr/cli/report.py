"""`tfsr report`."""

import argparse
import contextlib
import json
import sys
from pathlib import Path

from tfsr import files
from tfsr.cli.arguments import MODEL_HELP, known_model, positive, size, with_json
from tfsr.cli.models import find_degradation, find_upscaler, import_tensorflow
from tfsr.cli.output import present, say
from tfsr.errors import InputError

BASELINES = ("bicubic", "input")  # which every report has


def add(command):
    help = "A page on models: quality, cost, pictures, and a box to try one in."
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
    report.add_argument("--scale", type=positive, help="of networks with several")
    report.add_argument(
        "--size",
        type=size,
        default=(180, 320),
        metavar="HxW",
        help="input of dynamic .tflite files for latency; 180x320 by default",
    )
    report.add_argument(
        "--no-latency", action="store_true", help="neither time nor profile"
    )
    box = report.add_argument_group("in the visitor's browser")
    box.add_argument(
        "--try",
        dest="try_model",
        type=known_model,
        metavar="FILE.tflite",
        help="an int8 model that visitors run on photos of theirs, on their device",
    )
    box.add_argument(
        "--litert-js",
        metavar="DIR",
        help="where npm install @litertjs/core@2.5.3 was run; here by default",
    )
    box.add_argument("--serve", metavar="DIR", help="serve a report on this machine")
    box.add_argument(
        "--lan", action="store_true", help="with --serve: to the whole network as well"
    )
    box.add_argument(
        "--port", type=_port, default=8000, help="with --serve; 8000 by default"
    )
    with_json(report)


def run(options):
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
    import_tensorflow()
    from tfsr.report.models import compare
    from tfsr.report.page import write
    from tfsr.report.scores import score

    out = Path(options.out)
    with contextlib.redirect_stdout(sys.stderr):
        models, degradations = _models(options)
        comparison = compare(models, options.test, degradations)
        out.mkdir(parents=True, exist_ok=True)
        box = None
        if options.try_model:
            from tfsr.tflite.devices.browser import prepare

            box = prepare(options.try_model, out / "try", options.litert_js)
        score(comparison, out / "results")
        latency = None if options.no_latency else _latency(options, models, out)
        report = write(out, comparison, latency, box)
    text = f"{out / 'index.html'}"
    if box:
        text += f"\nThe box on it works over HTTP: tfsr report --serve {out}"
    present(options, report, text)
    return 0


def _serve(options):
    from tfsr.report.server import EVERYONE, LOCAL, addresses, server

    if options.runs or options.out or options.test:
        raise InputError("--serve: takes the folder of a report, and nothing to make.")
    host = EVERYONE if options.lan else LOCAL
    with server(options.serve, host, options.port) as listening:
        for address in addresses(host, listening.server_port):
            print(address, flush=True)
        say("serving until Ctrl-C.")
        with contextlib.suppress(KeyboardInterrupt):
            listening.serve_forever()
    return 0


def _models(options):
    """Returns the models of the arguments, and name and degradation of each."""
    models, degradations = [], []
    for argument in options.runs:
        if argument in BASELINES:
            continue
        for name, sources, scale in _sources(argument, options.scale):
            model = _model(name, sources, scale)
            models.append(model)
            found = find_degradation(sources[0], model.upscaler, None)
            degradations.append((sources[0], found))
    return models, degradations


def _sources(argument, scale):
    """Yields name, MODEL arguments (one a seed) and scale of what an argument names."""
    study = Path(argument) / "study.json"
    if not study.is_file():
        yield argument, [argument], scale
        return
    facts = json.loads(study.read_text())
    for network in facts["networks"]:
        name = f"{argument}/{network['name']}"
        seeds = [f"{name}/seed_{seed}" for seed in network["seeds"]]
        if not seeds:
            continue
        yield name, seeds, scale or facts["scale"]
        int8 = Path(argument) / "tflite" / f"{network['name']}_int8.tflite"
        if int8.is_file():
            yield f"{name} int8", [str(int8)], scale or facts["scale"]


def _model(name, sources, scale):
    from tfsr.report.models import FLOAT, PTQ, QAT, Model
    from tfsr.tflite.formats import format_of
    from tfsr.zoo.loading import load_architecture

    runs = [_run(source, scale) for source in sources]
    upscaler, source = runs[0].upscaler, sources[0]
    if source.endswith(".tflite"):
        facts = upscaler.metadata
        kind = FLOAT
        if not format_of(facts, source).is_float:
            kind = QAT if facts.get("quantization_aware") else PTQ
        architecture = facts.get("architecture") or load_architecture(source)
        return Model(
            name,
            runs,
            kind,
            facts["weights_sha256"],
            architecture,
            file=Path(source),
        )
    from tfsr.graph import complexity
    from tfsr.tflite.quantization.integers import IntegerUpscaler

    return Model(
        name,
        runs,
        QAT if isinstance(upscaler, IntegerUpscaler) else FLOAT,
        runs[0].weights,
        load_architecture(source),
        complexity.params(upscaler.model),
        complexity.mult_adds_720p(upscaler.model, upscaler.scale),
    )


def _run(source, scale):
    from tfsr.report.models import Run
    from tfsr.zoo.loading import weights_sha256

    upscaler = find_upscaler(source, scale)
    file = Path(source)
    if source.endswith(".tflite"):
        return Run(source, upscaler, files.sha256(file))
    folder = file if file.is_dir() else None
    return Run(source, upscaler, weights_sha256(upscaler.model), folder)


def _latency(options, models, out):
    """Times the `.tflite` files among the models; None if there are none."""
    from tfsr.tflite.benchmark.kept import measure

    converted = {model.name: model.file for model in models if model.file}
    if not converted:
        return None
    measured = measure(converted, options.size, out / "latency.json")
    for model in models:
        model.latency_ms = measured["median_ms"].get(model.name)
    return measured


def _port(text):
    if not (text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not from 0 to 65535")
    return int(text)
