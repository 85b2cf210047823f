"""The pictures of a report: charts, crops and the two images of the slider.

Each function writes into the folder of pictures and returns facts for the page: `file`,
`alt` and more.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from tfsr import pictures
from tfsr.data.degradation_type import BICUBIC
from tfsr.errors import InputError
from tfsr.files import replacing
from tfsr.report import zoo
from tfsr.report.models import FLOAT, Comparison
from tfsr.report.published import Published
from tfsr.scoring.comparison import HR, Place, most_different_places, shown
from tfsr.scoring.evaluation import psnr
from tfsr.terminal import printable
from tfsr.training.callbacks import read_log

CROP = 64  # HR pixels
CROPS = 4
CHART = (4.8, 4.0)  # inches, legible on a phone


def against_mult_adds(
    folder: Path, comparison: Comparison, published: list[Published]
) -> list[dict]:
    """Draws quality against mult-adds with published points, a chart per test folder.

    Each network has a point for its first model and for each other float run. `.tflite`
    files and 8-bit models have the mult-adds of the same network, so they are left out.
    """
    drawn = [
        model
        for models in comparison.networks().values()
        for model in models
        if model is models[0] or (model.kind == FLOAT and not model.file)
    ]
    costs = {m.name: m.mult_adds and m.mult_adds / 1e9 for m in drawn}
    theirs = [p for p in published if p.mult_adds]
    label = "mult-adds (G, 1280x720 output)"
    return _scatters(folder, comparison, label, costs, theirs)


def against_latency(folder: Path, comparison: Comparison, size: str) -> list[dict]:
    """Draws quality against the latency of `.tflite` files, a chart per test folder."""
    costs = {m.name: m.latency_ms for m in comparison.models}
    return _scatters(folder, comparison, f"latency (ms, {size} input)", costs, [])


def zoo_of_scale(folder: Path, comparison: Comparison) -> list[dict]:
    """Draws the zoo if the models are for clean LR and a scale with published ones."""
    file = folder / "zoo.png"
    clean = comparison.degradation == BICUBIC
    alt = zoo.draw(file, [comparison.scale], CHART) if clean else None
    return [{"file": file.name, "alt": alt}] if alt else []


def training_curves(folder: Path, comparison: Comparison) -> list[dict]:
    """Draws loss and validation PSNR of all runs that have a log."""
    charts = {
        "loss": ("loss (log)", "loss"),
        "psnr": ("validation PSNR (dB)", f"val_psnr_x{comparison.scale}"),
    }
    logs = {
        model.name: [
            (run, read_log(run.folder))
            for run in model.runs
            if run.folder and (run.folder / "log.csv").exists()
        ]
        for model in comparison.models
        if model.file is None
    }
    drawn = []
    for name, (label, column) in charts.items():
        lines = {
            model: [_points(rows, column) for _, rows in of_runs]
            for model, of_runs in logs.items()
        }
        if any(lines.values()):
            file = folder / f"training_{name}.png"
            pictures.series(file, "epoch", label, lines, inches=CHART)
            ends = ", ".join(
                f"{model} ends at {values[0][1][-1]:.4g}"
                for model, values in lines.items()
                if values
            )
            drawn.append({"file": file.name, "alt": f"{label} by epoch: {ends}."})
    return drawn


def gains_by_image(folder: Path, comparison: Comparison) -> list[dict]:
    """Draws each model's gain over the baseline for every image, where it is finite."""
    drawn, key = [], comparison.psnr
    for test in comparison.tests:
        before = _by_image(comparison.baseline_scores[test], key)
        lines, least = {}, []
        for model in comparison.models:
            after = _by_image(model.scores[test][0], key)
            both = [name for name in before if name in after]
            gains = {name: after[name] - before[name] for name in both}
            lines[model.name] = [([before[n] for n in both], list(gains.values()))]
            least.append(_extremes(model.name, gains))
        file = folder / f"images_{_in_utf_8(test)}.png"
        xlabel = f"{comparison.baseline.name} (dB)"
        pictures.series(file, xlabel, "gain (dB)", lines, "o", CHART)
        alt = f"Gain over {comparison.baseline.name} by image of {test}: "
        drawn.append({"file": file.name, "test": test, "alt": alt + "; ".join(least)})
    return drawn


def crops(folder: Path, comparison: Comparison) -> tuple[list[dict], list[Place]]:
    """Writes crops of the places where models differ most, one file each.

    A single model is compared with HR.
    """
    start, models = comparison.baseline, comparison.models
    upscalers = {start.name: start, **{m.name: m.upscaler for m in models}}
    names = [model.name for model in models]
    compared = names if len(names) > 1 else [HR, *names]
    places = most_different_places(
        upscalers, comparison.tests, compared, count=CROPS, side=CROP
    )
    rows = []
    for i, place in enumerate(places):
        at = f"of {place.image}, {place.test}"
        file = _write(folder / f"crop_{i}_hr.png", place.hr)
        cells = [{"file": file, "title": "HR", "psnr": None, "alt": f"HR, a crop {at}"}]
        for j, (name, sr) in enumerate(place.results.items()):
            level = psnr(sr, place.hr, 0)
            cells.append(
                {
                    "file": _write(folder / f"crop_{i}_{j}.png", sr),
                    "title": name,
                    "psnr": level,
                    "alt": f"{name}, the same crop {at}: {level:.2f} dB",
                }
            )
        rows.append({"image": place.image, "test": place.test, "cells": cells})
    return rows, places


def before_and_after(folder: Path, comparison: Comparison, place: Place) -> dict:
    """Writes the whole image of a place by the baseline and by the best model."""
    test, best = comparison.tests[place.test], comparison.best
    pair = test[place.index]
    sides = {}
    for side, name, upscaler in (
        ("before", comparison.baseline.name, comparison.baseline),
        ("after", best.name, best.upscaler),
    ):
        image = shown(upscaler, pair)
        level = psnr(image, pair.hr, test.border)
        sides[side] = {
            "file": _write(folder / f"{side}.png", image),
            "title": name,
            "psnr": level,
            "alt": f"{place.image} of {place.test}, {name}: {level:.2f} dB",
        }
    height, width = pair.hr.shape[:2]
    return {"height": height, "width": width, "image": place.image, **sides}


def _scatters(folder, comparison, label, costs, published):
    """Draws quality against a cost for each test folder with two points or more."""
    drawn = []
    for test in comparison.tests:
        ours = {
            model.name: (costs[model.name], comparison.values(model, test))
            for model in comparison.models
            if costs.get(model.name)
            and np.isfinite(comparison.values(model, test)).all()
        }
        theirs = {
            f"{p.name} (paper)": (p.mult_adds / 1e9, [p.psnr[test]])
            for p in published
            if test in p.psnr
        }
        if not ours or len(ours | theirs) < 2:
            continue
        points = {m.name: ours.get(m.name, (0, [])) for m in comparison.models}
        file = folder / f"{label.split()[0]}_{_in_utf_8(test)}.png"
        panels = {test: points | theirs}
        pictures.scatter(file, label, "PSNR (dB)", panels, list(theirs), CHART)
        shown_points = [
            f"{name} {np.mean(values):.2f} dB at {cost:.3g}"
            for name, (cost, values) in (ours | theirs).items()
        ]
        alt = f"PSNR on {test} against {label}: {'; '.join(shown_points)}."
        drawn.append({"file": file.name, "alt": alt, "published": bool(theirs)})
    return drawn


def _in_utf_8(name):
    """Returns a name that is valid UTF-8, as browsers need."""
    return printable(name).replace("\\", "_")


def _points(rows, column):
    if column not in rows[0]:
        raise InputError(f"log.csv: has no column {column}.")
    return [row["epoch"] for row in rows], [row[column] for row in rows]


def _by_image(report, key):
    """Returns the finite values of a report by image."""
    figures = {image["name"]: float(image[key]) for image in report["images"]}
    return {name: value for name, value in figures.items() if np.isfinite(value)}


def _extremes(name, gains):
    if not gains:
        return f"{name} nowhere finite"
    worst, best = min(gains, key=gains.get), max(gains, key=gains.get)
    ends = (f"{gains[image]:+.2f} dB ({image})" for image in (worst, best))
    return f"{name} from {' to '.join(ends)}"


def _write(file, image):
    """Writes uint8 `(H, W, C)` as a PNG; returns its name."""
    with replacing(file) as temporary:
        gray = image.shape[-1] == 1
        Image.fromarray(image[..., 0] if gray else image).save(temporary)
    return file.name
