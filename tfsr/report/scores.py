"""Scores of a report's models, cached beside the page."""

from pathlib import Path

from tfsr import files
from tfsr.report.models import Comparison
from tfsr.scoring.evaluation import evaluate


def score(comparison: Comparison, folder: str | Path) -> None:
    """Scores baseline and models on every test folder, as `tfsr evaluate` does.

    Reports are cached in `folder`, named by the checksum of the weights. Models with a
    cached report on the same images are not scored again.

    Args:
        comparison: The models and folders; its scores are set.
        folder: The folder of cached reports.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name, test in comparison.tests.items():
        images = test.identity()
        before = comparison.baseline
        comparison.baseline_scores[name] = _kept(
            folder, name, before.name, before.name, before, test, images
        )
        for model in comparison.models:
            model.scores[name] = [
                _kept(folder, name, run.weights, run.name, run.upscaler, test, images)
                for run in model.runs
            ]


def _kept(folder, name, weights, model, upscaler, test, images):
    """Returns the report on a test folder, from the cache if that still applies."""
    return files.cached_json(
        folder / f"{weights[:16]}_{name}_x{test.scale}.json",
        {"weights": weights, **images},
        lambda: {"model": model, **evaluate(upscaler, test), "folder": name},
    )
