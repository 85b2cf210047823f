"""The results of a study: report, tables, curves and crops."""

import numpy as np

import tfsr
from tfsr import files, pictures
from tfsr.data.degradation_type import to_table
from tfsr.data.degradations import from_table
from tfsr.metrics import key_of
from tfsr.scoring.comparison import most_different_places
from tfsr.scoring.evaluation import baseline, evaluate, psnr
from tfsr.study.planning import Study, budget
from tfsr.tables import markdown, mult_adds
from tfsr.training.callbacks import read_log
from tfsr.upscaling.upscalers import KerasUpscaler

CROP = 64  # HR pixels
CROP_ROWS = 4


def report(study: Study, latency: dict | None = None) -> dict:
    """Returns the content of `study.json`, for the runs finished so far.

    Args:
        study: The study.
        latency: `device`, `threads`, `runs` and `median_ms` {format: {network: ms}};
            None if not measured.
    """
    train = study.networks[0].config.train
    images = {name: test.identity() for name, test in study.tests.items()}
    return {
        "scale": study.scale,
        "degradation": to_table(study.data.task),
        "seeds": study.seeds,
        "steps": train.steps,
        "settings": budget(study.networks[0]),
        "size": study.size,
        "latency": latency
        and {key: value for key, value in latency.items() if key != "median_ms"},
        "tests": {name: str(test.folder) for name, test in study.tests.items()},
        "networks": [
            {
                "name": network.name,
                "config": str(network.file),
                "model": network.config.model,
                "params": network.params,
                "mult_adds": network.mult_adds,
                "seeds": list(runs),
                "latency": _latency(study, network, latency),
                "psnr": {
                    name: _spread(
                        {
                            s: _score(run, name, test, images[name])
                            for s, run in runs.items()
                        }
                    )
                    for name, test in study.tests.items()
                    if runs
                },
            }
            for network, runs in study.finished()
        ],
    }


def write(study: Study, report: dict) -> None:
    """Writes `study.json`, `.csv`, `.md` and the pictures into the study's folder."""
    study.out.mkdir(parents=True, exist_ok=True)
    files.write_json(study.out / "study.json", report)
    files.write_text(study.out / "study.md", table(report) + "\n")
    files.write_csv(study.out / "study.csv", _rows(report))
    _draw_curves(study)
    _draw_scatters(study, report)


def draw_crops(study: Study) -> None:
    """Draws `crops.png`: where the first and the last network differ most.

    It shows the networks of the first seed beside HR and the baseline, on the
    `CROP_ROWS` images of all test folders where a square of `CROP` pixels differs most.
    """
    start = baseline(next(iter(study.tests.values())))
    upscalers = {start.name: start}
    for network, runs in study.finished():
        model = tfsr.load_model(runs[study.seeds[0]].folder)
        upscalers[network.name] = KerasUpscaler(model, study.scale, study.data.channels)
    compared = [study.networks[0].name, study.networks[-1].name]
    places = most_different_places(
        upscalers, study.tests, compared, count=CROP_ROWS, side=CROP
    )
    rows = []
    for place in places:
        row = {f"{place.image}: HR": place.hr}
        for name, sr in place.results.items():
            row[f"{name}, {psnr(sr, place.hr, 0):.2f} dB"] = sr
        rows.append(row)
    pictures.side_by_side(study.out / "crops.png", rows)


def table(report: dict) -> str:
    """Returns a study's report as text with a Markdown table."""
    formats = list(report["networks"][0]["latency"])
    head = [
        "config",
        "seeds",
        "params",
        "mult-adds",
        *(f"{format} ms" for format in formats),
        *(f"{name} dB" for name in report["tests"]),
    ]
    rows = []
    for network in report["networks"]:
        latency, scores = network["latency"], network["psnr"]
        rows.append(
            [
                network["name"],
                " ".join(map(str, network["seeds"])) or "-",
                f"{network['params'] / 1e3:.0f} K",
                mult_adds(network["mult_adds"]),
                *(f"{t['median_ms']:.1f} ({t['ratio']:.2f})" for t in latency.values()),
                *(_plus_minus(scores.get(name)) for name in report["tests"]),
            ]
        )
    return f"{_conditions(report)}\n\n{markdown(head, rows)}"


def _score(run, name, test, images):
    """Returns a run's PSNR on a test folder; caches the report in the run folder."""

    def score():
        model = tfsr.load_model(run.folder)
        upscaler = KerasUpscaler(model, test.scale, test.channels)
        return {"model": str(run.folder), **evaluate(upscaler, test)}

    weights = files.sha256(run.folder / "model.keras")
    file = run.folder / f"{name}_x{test.scale}.json"
    scored = files.cached_json(file, {"weights": weights, **images}, score)
    return float(scored["mean"][key_of("psnr", test.channels)])


def _spread(by_seed):
    """Returns mean and sample standard deviation, which is None for one seed."""
    values = list(by_seed.values())
    return {
        "mean": float(np.mean(values)),
        "std": float(np.std(values, ddof=1)) if len(values) > 1 else None,
        "min": min(values),
        "max": max(values),
        "by_seed": by_seed,
    }


def _latency(study, network, latency):
    times = latency["median_ms"] if latency else {}
    return {
        format: {
            "median_ms": by_name[network.name],
            "ratio": by_name[network.name] / by_name[study.networks[0].name],
        }
        for format, by_name in times.items()
    }


def _rows(report):
    """Returns the table's rows for `study.csv`."""
    rows = []
    for network in report["networks"]:
        row = {
            "config": network["config"],
            "seeds": " ".join(map(str, network["seeds"])),
            "steps": report["steps"],
            "params": network["params"],
            "mult_adds": network["mult_adds"],
        }
        for format, timed in network["latency"].items():
            row[f"{format}_median_ms"] = timed["median_ms"]
            row[f"{format}_ratio"] = timed["ratio"]
        for name in report["tests"]:
            scores = network["psnr"].get(name, {})
            for key in ("mean", "std", "min", "max"):
                row[f"{name}_psnr_{key}"] = scores.get(key)
        rows.append(row)
    return rows


def _conditions(report):
    height, width = report["size"]
    batch, patch = (report["settings"][f"train.{key}"] for key in ("batch", "patch"))
    side = "HR" if report["settings"]["data.channels"] == "y" else "LR"
    text = (
        f"x{report['scale']}, {from_table(report['degradation'])}, "
        f"{report['steps']} steps of {batch} patches of {patch}x{patch} {side} pixels. "
        "PSNR in dB of the best epoch: mean over the seeds and sample standard "
        f"deviation. Mult-adds for {width}x{height} LR."
    )
    if report["latency"]:
        timed = report["latency"]
        text += (
            f" Latency at that size: TFLite on {timed['device']}, {timed['threads']} "
            f"thread, median of {timed['runs']} runs in turns, and its ratio to the "
            "first config."
        )
    return text


def _values(network, test):
    scores = network["psnr"].get(test)
    return list(scores["by_seed"].values()) if scores else []


def _plus_minus(scores):
    if not scores:
        return "-"
    spread = "" if scores["std"] is None else f" ± {scores['std']:.3f}"
    return f"{scores['mean']:.3f}{spread}"


def _draw_curves(study):
    """Draws the validation PSNR of all runs, and the gaps to the first network."""
    curves = {
        network.name: {seed: _curve(study, run) for seed, run in runs.items()}
        for network, runs in study.finished()
    }
    lines = {name: list(by_seed.values()) for name, by_seed in curves.items()}
    pictures.curves(study.out / "curves.png", "step", "validation PSNR (dB)", lines)
    first, *others = curves
    gaps = {
        name: [
            (steps, np.subtract(psnrs, curves[first][seed][1]))
            for seed, (steps, psnrs) in curves[name].items()
            if seed in curves[first]
        ]
        for name in others
    }
    if any(gaps.values()):
        label = f"validation PSNR above that of {first} (dB)"
        pictures.curves(study.out / "gaps.png", "step", label, gaps)


def _curve(study, run):
    """Returns the steps at which a run was validated, and its PSNR at them."""
    rows = read_log(run.folder)
    steps = [row["epoch"] * run.config.train.steps_per_epoch for row in rows]
    return steps, [row[f"val_psnr_x{study.scale}"] for row in rows]


def _draw_scatters(study, report):
    """Draws PSNR against each cost, a panel per test folder (MS3-Conv, Figs. 5, 6)."""
    ylabel = "PSNR (dB), mean and range of the seeds"
    networks = report["networks"]
    costs = {
        "mult_adds": ("mult-adds (G)", [n["mult_adds"] / 1e9 for n in networks]),
        "params": ("parameters (K)", [n["params"] / 1e3 for n in networks]),
    }
    for format in networks[0]["latency"]:
        times = [n["latency"][format]["median_ms"] for n in networks]
        costs[f"latency_{format}"] = (f"{format} latency (ms)", times)
    for cost, (label, values) in costs.items():
        panels = {
            f"{name} x{study.scale}": {
                n["name"]: (x, _values(n, name))
                for n, x in zip(networks, values, strict=True)
            }
            for name in study.tests
        }
        pictures.scatter(study.out / f"psnr_{cost}.png", label, ylabel, panels)
