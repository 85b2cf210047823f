"""Scores of a report's models, kept beside the page for the next time."""

from pathlib import Path

from tfsr import files
from tfsr.report.models import Comparison
from tfsr.scoring.evaluation import evaluate


def score(comparison: Comparison, folder: str | Path) -> None:
    """Scores baseline and models on every test folder, as `tfsr evaluate` does.

    The reports are kept in `folder`, named by the checksum of the weights: what has
    been scored there on the same images is not scored again.

    Args:
        comparison: What is compared; its scores are set.
        folder: Where reports are kept.
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
    """Returns the report on a test folder, that of last time if it still holds."""
    return files.cached_json(
        folder / f"{weights[:16]}_{name}_x{test.scale}.json",
        {"weights": weights, **images},
        lambda: {"model": model, **evaluate(upscaler, test), "folder": name},
    )
