"""Writes the page of a report: tables and pictures in one HTML file."""

import math
import statistics
from importlib import resources
from pathlib import Path

import jinja2

from tfsr import files
from tfsr.data.degradation_type import task_name, to_table
from tfsr.report import drawings
from tfsr.report.models import FLOAT, Comparison, Model
from tfsr.report.published import published_networks
from tfsr.tflite.app.box import asset as asset_of_app

CONDITIONS = ("device", "size", "threads")  # of the latency


def write(
    out: str | Path,
    comparison: Comparison,
    latency: dict | None = None,
    box: dict | None = None,
) -> dict:
    """Writes `index.html`, `report.json` and `pictures/`; returns the JSON's content.

    Args:
        out: The folder, which exists.
        comparison: Models with their scores.
        latency: The result of `kept.measure`; None if not measured.
        box: The facts of the box's model, from `tfsr.tflite.app.box.write_box`; None
            for a page without a box.
    """
    out = Path(out)
    report = _report(comparison, latency)
    folder = out / "pictures"
    folder.mkdir(exist_ok=True)
    theirs = [
        p
        for p in published_networks(comparison.scale, comparison.degradation)
        if not p.psnr.keys().isdisjoint(comparison.tests)
    ]
    rows, places = drawings.crops(folder, comparison)
    size = latency["size"] if latency else ""
    view = {
        "report": report,
        "title": _title(comparison),
        "networks": _networks(comparison, report),
        "published": theirs,
        "seeds": any(len(model.runs) > 1 for model in comparison.models),
        "comparer": drawings.before_and_after(folder, comparison, places[0]),
        "crops": rows,
        "mult_adds": drawings.against_mult_adds(folder, comparison, theirs),
        "latency": drawings.against_latency(folder, comparison, size),
        "zoo": drawings.zoo_of_scale(folder, comparison),
        "images": drawings.gains_by_image(folder, comparison),
        "training": drawings.training_curves(folder, comparison),
        "profiles": latency["profiles"] if latency else [],
        "box": box,
    }
    files.write_json(out / "report.json", report)
    files.write_text(out / "index.html", _render(view))
    return report


def _render(view):
    folders = {"report": _asset, "app": asset_of_app}
    loaders = {name: jinja2.FunctionLoader(read) for name, read in folders.items()}
    environment = jinja2.Environment(
        loader=jinja2.PrefixLoader(loaders),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template("report/page.html").render(view)


def _asset(name):
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _title(comparison):
    what = "Super-resolution" if comparison.scale > 1 else "Restoration"
    return f"{what} {task_name(comparison.degradation, comparison.scale)}"


def _report(comparison: Comparison, latency):
    first = next(iter(comparison.baseline_scores.values()))
    return {
        "scale": comparison.scale,
        "degradation": to_table(comparison.degradation),
        "protocol": first["protocol"],
        "psnr": comparison.psnr,
        "ssim": comparison.ssim,
        "tests": list(comparison.tests),
        "latency": latency and {key: latency[key] for key in CONDITIONS},
        "baseline": {
            "name": comparison.baseline.name,
            "scores": {
                name: _spread(comparison, [report])
                for name, report in comparison.baseline_scores.items()
            },
        },
        "models": [_row(comparison, model) for model in comparison.models],
    }


def _row(comparison, model: Model):
    return {
        "name": model.name,
        "sources": [run.name for run in model.runs],
        "kind": model.kind,
        "params": model.params,
        "mult_adds": model.mult_adds,
        "size_bytes": model.file and model.file.stat().st_size,
        "latency_ms": model.latency_ms,
        "scores": {
            test: _spread(comparison, reports) for test, reports in model.scores.items()
        },
    }


def _spread(comparison, reports):
    """Returns mean PSNR and SSIM of the runs, and the standard deviation of PSNR.

    The deviation is None for one run, or if a PSNR is infinite.
    """
    values = [float(report["mean"][comparison.psnr]) for report in reports]
    ssims = [report["mean"][comparison.ssim] for report in reports]
    return {
        "psnr": statistics.mean(values),
        "psnr_std": statistics.stdev(values)
        if len(values) > 1 and all(map(math.isfinite, values))
        else None,
        "ssim": statistics.mean(ssims),
    }


def _networks(comparison, report):
    """Returns the table's rows by network, with the loss of 8-bit models."""
    rows = {row["name"]: row for row in report["models"]}
    networks = {}
    for name, models in comparison.networks().items():
        floats = [model for model in models if model.kind == FLOAT]
        networks[name] = [
            {**rows[model.name], "loss": _loss(comparison, model, floats)}
            for model in models
        ]
    return networks


def _loss(comparison, model, floats):
    """Returns the change of PSNR by 8 bits in dB, by test folder.

    The reference is the float run with the same weights, or else the mean of the
    network's first float model. The table is empty for float models, and if the network
    has no float model.
    """
    if model.kind == FLOAT or not floats:
        return {}
    return {
        test: statistics.mean(comparison.values(model, test))
        - _exact(comparison, model, floats, test)
        for test in comparison.tests
    }


def _exact(comparison, model, floats, test):
    """Returns the float PSNR that an 8-bit model is compared with."""
    for exact in floats:
        values = comparison.values(exact, test)
        for run, value in zip(exact.runs, values, strict=True):
            if model.origin in (run.weights, exact.origin):
                return value
    return statistics.mean(comparison.values(floats[0], test))
