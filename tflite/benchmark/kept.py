"""Latencies and profiles of `.tflite` files for a report, kept in a JSON file."""

from pathlib import Path

from tfsr import files
from tfsr.tflite.benchmark.profiling import profile
from tfsr.tflite.benchmark.timing import benchmark

THREADS = 1
RUNS = 12
PROFILE_RUNS = 5


def measure(models: dict[str, Path], size: tuple[int, int], kept: Path) -> dict:
    """Returns latencies and profiles of `.tflite` files that are timed together.

    Args:
        models: The files by name.
        size: Height and width of the input of dynamic models.
        kept: A JSON file that keeps the measurements. While models and size are the
            same, they are read from it.

    Returns:
        `device`, `threads`, `runs`, `size` (of all models, or "its own" if they
        differ), `median_ms` by name, and `profiles` (see `profiling`) with the name as
        `file`.
    """
    subject = {
        "size": list(size),
        "sha256": {name: files.sha256(file) for name, file in models.items()},
    }

    def make():
        paths = list(models.values())
        timed = benchmark(paths, [THREADS], RUNS, size=size)
        profiles = [profile(file, THREADS, size, PROFILE_RUNS) for file in paths]
        for reports in (timed["results"], profiles):
            for name, report in zip(models, reports, strict=True):
                report["file"] = name
        return {**timed, "profiles": profiles}

    measured = files.cached_json(kept, subject, make)
    sizes = {result["size"] for result in measured["results"]}
    return {
        "device": measured["device"],
        "threads": THREADS,
        "runs": RUNS,
        "size": sizes.pop() if len(sizes) == 1 else "its own",
        "median_ms": {r["file"]: r["median_ms"] for r in measured["results"]},
        "profiles": measured["profiles"],
    }
