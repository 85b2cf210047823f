"""A study: networks trained with one budget on the same data and seeds, compared.

Every network and seed has an ordinary run folder, `OUT/NAME/seed_N`; beside its files
lie the reports of the test folders. All networks are trained with the first seed before
any with the second, so that an interrupted study compares already.
"""

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

import tfsr
from tfsr import files, pictures
from tfsr.data import BenchmarkFolder
from tfsr.data.degradation import from_table, to_table
from tfsr.errors import InputError, NotFiniteError
from tfsr.graph import complexity
from tfsr.metrics import key_of
from tfsr.models import scales, single_scale
from tfsr.scoring.comparison import most_different_places
from tfsr.scoring.evaluation import baseline, evaluate, psnr
from tfsr.training import Config, build_model, read_config, train
from tfsr.training.callbacks import read_log
from tfsr.upscaling.upscalers import KerasUpscaler, pick_scale

CROP = 64  # HR pixels
CROP_ROWS = 4
MAY_DIFFER = {"data.cache", "train.seed"}  # between the configs of a study


@dataclass(frozen=True)
class Run:
    """One network trained with one seed; finished once it has its `metrics.json`."""

    config: Config
    folder: Path

    @property
    def finished(self) -> bool:
        return (self.folder / "metrics.json").exists()


@dataclass(frozen=True)
class Network:
    """One config of a study."""

    file: Path
    runs: dict[int, Run]  # by seed
    scales: tuple[int, ...]
    params: int
    mult_adds: int

    @property
    def name(self) -> str:
        return self.file.stem

    @property
    def config(self) -> Config:
        """Of the first seed."""
        return next(iter(self.runs.values())).config


@dataclass(frozen=True)
class Study:
    """What is trained, where, and how it is compared."""

    out: Path
    seeds: list[int]
    scale: int
    size: tuple[int, int]  # LR height and width, of mult-adds and latency
    networks: list[Network]  # the first is what the others are compared with
    tests: dict[str, BenchmarkFolder]  # by name

    def finished(self) -> Iterator[tuple[Network, dict[int, Run]]]:
        """Yields every network with its finished runs by seed."""
        for network in self.networks:
            runs = {seed: run for seed, run in network.runs.items() if run.finished}
            yield network, runs


def plan(
    sources: list[str | Path],
    out: str | Path,
    seeds: list[int],
    overrides: list[str] = (),
    scale: int | None = None,
    size: tuple[int, int] | None = None,
    tests: list[str | Path] = (),
) -> Study:
    """Returns the study of `sources`, checked before anything is trained.

    Args:
        sources: Config files and folders of them; one named twice counts once. The
            first is what the others are compared with.
        out: The study's folder.
        seeds: Seeds that each network is trained with.
        overrides: As for `read_config`, for every config.
        scale: The scale to compare; not needed for networks of one scale.
        size: LR height and width of mult-adds and latency; by default for an output
            of 1280x720.
        tests: Benchmark folders; by default the validation images.

    Raises:
        InputError: If the configs differ in data, budget or scales, or from what is in
            `out` already, or if something cannot be used.
    """
    out = Path(out)
    networks = []
    for file in _config_files(sources):
        network = _network(file, out, seeds, overrides, scale, size)
        _check_agreement(networks[0] if networks else network, network)
        networks.append(network)
    scale = scale or networks[0].scales[0]
    data = networks[0].config.data
    folders = {}
    for test in tests or [data.val]:
        name = Path(test).resolve().name
        if name in folders:
            raise InputError(f"{test}: another test folder is named {name} too.")
        folders[name] = BenchmarkFolder(
            test, scale, data.channels, degradation=data.task
        )
    return Study(out, seeds, scale, size or _size_of_720p(scale), networks, folders)


def train_run(run: Run) -> bool:
    """Trains a run or resumes it; returns False if it was finished already.

    Raises:
        NotFiniteError: If the training diverges; names the run folder.
    """
    if run.finished:
        return False
    print(f"Training {run.folder}", flush=True)
    keras.utils.clear_session()  # frees the run before
    try:
        train(run.config, run.folder)
    except NotFiniteError as error:
        raise NotFiniteError(f"{run.folder}: {error}") from None
    return True


def report(study: Study, latency: dict | None = None) -> dict:
    """Returns what `study.json` holds, of the runs finished so far.

    Args:
        study: The study.
        latency: `device`, `threads`, `runs` and `median_ms` {format: {network: ms}};
            None if not measured.
    """
    config = study.networks[0].config
    train = config.train
    return {
        "scale": study.scale,
        "degradation": to_table(config.data.task),
        "seeds": study.seeds,
        "steps": train.steps,
        "settings": _budget(study.networks[0]),
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
                        {s: _score(run, name, test) for s, run in runs.items()}
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
    rows = _rows(report)
    with (
        files.replacing(study.out / "study.csv") as temporary,
        open(temporary, "w", newline="") as file,
    ):
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    _draw_curves(study)
    _draw_scatters(study, report)


def draw_crops(study: Study) -> None:
    """Draws `crops.png`: where the first and the last network differ most.

    The networks of the first seed, beside HR and the baseline, on the `CROP_ROWS`
    images of all test folders where a square of `CROP` pixels differs most.
    """
    start = baseline(next(iter(study.tests.values())))
    upscalers = {start.name: start}
    for network, runs in study.finished():
        model = tfsr.load_model(runs[study.seeds[0]].folder)
        upscalers[network.name] = KerasUpscaler(
            model, study.scale, study.networks[0].config.data.channels
        )
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
    lines = [
        [
            "config",
            "seeds",
            "params",
            "mult-adds",
            *(f"{format} ms" for format in formats),
            *(f"{name} dB" for name in report["tests"]),
        ]
    ]
    lines.append(["---"] * len(lines[0]))
    for network in report["networks"]:
        latency, scores = network["latency"], network["psnr"]
        lines.append(
            [
                network["name"],
                " ".join(map(str, network["seeds"])) or "-",
                f"{network['params'] / 1e3:.0f} K",
                f"{network['mult_adds'] / 1e9:.2f} G",
                *(f"{t['median_ms']:.1f} ({t['ratio']:.2f})" for t in latency.values()),
                *(_plus_minus(scores.get(name)) for name in report["tests"]),
            ]
        )
    rows = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"{_conditions(report)}\n\n{rows}"


def _config_files(sources):
    found = {}
    for source in map(Path, sources):
        inside = sorted(source.glob("*.toml")) if source.is_dir() else [source]
        if not inside:
            raise InputError(f"{source}: no config in it; expected .toml files.")
        for file in inside:
            if found.get(file.stem, file).resolve() != file.resolve():
                raise InputError(
                    f"{file}: has the name of {found[file.stem]}; a study's folders "
                    "are named by its configs."
                )
            found.setdefault(file.stem, file)
    return found.values()


def _network(file, out, seeds, overrides, scale, size):
    """Returns the network of a config file, counted."""
    runs = {
        seed: Run(
            read_config(file, [*overrides, f"train.seed={seed}"]),
            out / file.stem / f"seed_{seed}",
        )
        for seed in seeds
    }
    for run in runs.values():
        _check_run(run)
    keras.utils.clear_session()
    model = build_model(run.config.model, file)
    scale = pick_scale(str(file), scales(model), scale)
    single = single_scale(model, scale)
    return Network(
        file,
        runs,
        scales(model),
        complexity.params(single),
        complexity.mult_adds(single, *(size or _size_of_720p(scale))),
    )


def _size_of_720p(scale):
    return 720 // scale, 1280 // scale


def _check_run(run):
    """Refuses a run folder of another config, even one that could be resumed."""
    saved = run.folder / "config.toml"
    if not saved.exists():
        return
    changed = read_config(saved).differing(run.config)
    changed = [key for key in changed if key != "data.cache"]
    if changed:
        raise InputError(
            f"{run.config.source}: differs in {', '.join(changed)} from the run in "
            f"{run.folder}; give a new --out, or the config in {saved}."
        )


def _check_agreement(first, other):
    """Refuses networks whose runs would differ in more than the network."""
    ours, theirs = _budget(first), _budget(other)
    for key in theirs:
        if ours[key] != theirs[key]:
            raise InputError(
                f"{other.file}: {key} is {theirs[key]!r} where {first.file} has "
                f"{ours[key]!r}; a study's configs share data and budget (--set "
                "changes all)."
            )


def _budget(network):
    """Returns what all networks of a study have in common, by `section.key`."""
    values = {
        key: value
        for key, value in network.config.values().items()
        if not key.startswith("model.") and key not in MAY_DIFFER
    }
    return {"model.scale": network.scales, **values}


def _score(run, name, test):
    """Returns a run's PSNR on a test folder; keeps the report in the run folder."""
    file = run.folder / f"{name}_x{test.scale}.json"
    scored = json.loads(file.read_text()) if file.exists() else {}
    if scored.get("folder") != str(test.folder):
        model = tfsr.load_model(run.folder)
        upscaler = KerasUpscaler(model, test.scale, test.channels)
        scored = evaluate(upscaler, test)
        files.write_json(file, {"model": str(run.folder), **scored})
    mean = scored["mean"]
    return float(mean[key_of("psnr", test.channels)])


def _spread(by_seed):
    """Returns mean and spread; the sample standard deviation, None of one seed."""
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
    column = f"val_psnr_x{study.scale}"
    lines = {}
    for network, runs in study.finished():
        lines[network.name] = []
        for run in runs.values():
            rows = read_log(run.folder)
            steps = [row["epoch"] * run.config.train.steps_per_epoch for row in rows]
            lines[network.name].append((steps, [row[column] for row in rows]))
    pictures.curves(study.out / "curves.png", "step", "validation PSNR (dB)", lines)


def _draw_scatters(study, report):
    """Draws PSNR against each cost, a panel a test folder (MS3-Conv, Figs. 5 and 6)."""
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
