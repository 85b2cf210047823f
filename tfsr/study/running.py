"""Trains the networks of a study one after another, and measures their latency.

Every network and seed has an ordinary run folder, `OUT/NAME/seed_N`, which also holds
the reports on test folders. All networks are trained with the first seed before any
with the second, so that an interrupted study already has a comparison.
"""

import keras

from tfsr import files
from tfsr.errors import NotFiniteError
from tfsr.shards import Shard
from tfsr.study import results
from tfsr.study.planning import Run, Study
from tfsr.terminal import printable
from tfsr.training import train

FORMATS = ("float32", "int8")
THREADS = 1
RUNS = 12


def run(planned: Study, latency: bool = True) -> dict:
    """Trains unfinished runs, seed by seed; returns the report.

    Tables and pictures are written after every training, and again once all networks
    have their first seed and are timed.

    Args:
        planned: The study.
        latency: Whether to convert and time networks that are not timed yet.
    """
    timed = None
    for seed in planned.seeds:
        for network in planned.networks:
            if train_run(network.runs[seed]):
                results.write(planned, results.report(planned, timed))
        if seed == planned.seeds[0]:
            timed = time_networks(planned, latency)
            if len(planned.networks) > 1:
                results.draw_crops(planned)
        report = results.report(planned, timed)
        results.write(planned, report)
    return report


def train_part(planned: Study, shard: Shard) -> tuple[int, int]:
    """Trains a shard of a study's runs, in the order of `run`.

    Returns:
        The number of finished runs, on any machine, and the number of all runs.
    """
    runs = [n.runs[seed] for seed in planned.seeds for n in planned.networks]
    for run in shard.of(runs):
        train_run(run)
    return sum(run.finished for run in runs), len(runs)


def train_run(run: Run) -> bool:
    """Trains or resumes a run; returns False if it was already finished.

    Raises:
        NotFiniteError: If the training diverges; names the run folder.
    """
    if run.finished:
        return False
    print(printable(f"Training {run.folder}"), flush=True)
    keras.utils.clear_session()  # frees the previous run
    try:
        train(run.config, run.folder)
    except NotFiniteError as error:
        raise NotFiniteError(f"{run.folder}: {error}") from None
    return True


def time_networks(planned: Study, measure: bool = True) -> dict | None:
    """Returns the latency of all networks, timed in turns.

    The benchmark is cached in `OUT/latency.json`, for the same networks, weights, scale
    and size.

    Args:
        planned: The study.
        measure: Whether to time the networks if there is no cached benchmark.

    Returns:
        `device`, `threads`, `runs` and `median_ms` {format: {network: ms}}; None if the
        networks are not timed.
    """
    measured = files.cached_json(
        planned.out / "latency.json",
        _subject(planned),
        (lambda: _measured(planned)) if measure else None,
    )
    if not measured:
        return None
    median_ms: dict[str, dict[str, float]] = {format: {} for format in FORMATS}
    timed = [(n.name, format) for n in planned.networks for format in FORMATS]
    for (name, format), result in zip(timed, measured["results"], strict=True):
        median_ms[format][name] = result["median_ms"]
    return {
        "device": measured["device"],
        "threads": THREADS,
        "runs": RUNS,
        "median_ms": median_ms,
    }


def _subject(planned):
    """Returns the scale, size and weights that identify a benchmark."""
    first = planned.seeds[0]
    models = {n.name: n.runs[first].folder / "model.keras" for n in planned.networks}
    return {
        "scale": planned.scale,
        "size": list(planned.size),
        "sha256": {name: files.sha256(file) for name, file in models.items()},
    }


def _measured(planned):
    from tfsr.study.latency import measure  # needs TensorFlow, unlike training with JAX

    return measure(planned, FORMATS, THREADS, RUNS)
