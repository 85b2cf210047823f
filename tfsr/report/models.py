"""The comparison in a report: models of one task on the same test folders."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from tfsr.data import BenchmarkFolder
from tfsr.data.degradation_type import Degradation, task_name
from tfsr.data.pairs import folders_by_name
from tfsr.errors import InputError
from tfsr.metrics import key_of
from tfsr.scoring.evaluation import baseline
from tfsr.scoring.images import task_to_score
from tfsr.upscaling.upscalers import Upscaler

FLOAT, PTQ, QAT = "float", "PTQ", "QAT"
SUFFIXES = (".keras", ".npz", ".tflite")


@dataclass
class Run:
    """One set of weights.

    Attributes:
        source: The MODEL argument.
        upscaler: Runs the model.
        weights: SHA-256 of the weights, or of the `.tflite` file.
        folder: The run folder; None for a file.
    """

    source: str
    upscaler: Upscaler
    weights: str
    folder: Path | None = None

    @property
    def name(self) -> str:
        return Path(self.source).name


@dataclass
class Model:
    """One row of the report: a model, trained with one seed or several.

    Attributes:
        name: Its name on the page, unique in the report.
        runs: One for each seed; pictures and latency show the first.
        kind: `FLOAT`, `PTQ` (8 bits after training) or `QAT` (trained for 8 bits).
        origin: SHA-256 of the Keras weights that it has or was converted from; for
            several runs, those of the first.
        architecture: The `[model]` table without its scale (see
            `tfsr.zoo.loading.load_architecture`); None if unknown.
        params: Parameters; None if unknown.
        mult_adds: For an output of 1280x720; None if unknown.
        file: The `.tflite` file, if it is one.
    """

    name: str
    runs: list[Run]
    kind: str
    origin: str
    architecture: dict | None = None
    params: int | None = None
    mult_adds: int | None = None
    file: Path | None = None
    latency_ms: float | None = None
    scores: dict[str, list[dict]] = field(default_factory=dict)  # by test, for each run

    @property
    def upscaler(self) -> Upscaler:
        return self.runs[0].upscaler


@dataclass
class Comparison:
    """Models of one task and the folders that they are scored on."""

    models: list[Model]
    tests: dict[str, BenchmarkFolder]
    degradation: Degradation
    baseline_scores: dict[str, dict] = field(default_factory=dict)  # by test

    @property
    def scale(self) -> int:
        return self.models[0].upscaler.scale

    @property
    def channels(self) -> int | str:
        return self.models[0].upscaler.channels

    @property
    def psnr(self) -> str:
        """The key of the PSNR that models are ranked by."""
        return key_of("psnr", self.channels)

    @property
    def ssim(self) -> str:
        return key_of("ssim", self.channels)

    @cached_property
    def baseline(self):
        return baseline(next(iter(self.tests.values())))

    @property
    def best(self) -> Model:
        """The model with the highest PSNR on the first folder."""
        test = next(iter(self.tests))
        return max(self.models, key=lambda model: max(self.values(model, test)))

    def values(self, model: Model, test: str) -> list[float]:
        """Returns the PSNR of each run of a model on a folder."""
        return [float(report["mean"][self.psnr]) for report in model.scores[test]]

    def networks(self) -> dict[str, list[Model]]:
        """Returns the models by network, named by the first model of each.

        A `.tflite` file is grouped with its source weights, and runs with others whose
        `[model]` differs only in scale.
        """
        groups: list[list[Model]] = []
        for model in sorted(self.models, key=lambda model: model.file is not None):
            for group in groups:
                if any(_same_network(model, other) for other in group):
                    group.append(model)
                    break
            else:
                groups.append([model])
        for group in groups:
            group.sort(key=lambda model: (FLOAT, PTQ, QAT).index(model.kind))
        return {group[0].name: group for group in groups}


def compare(models: list[Model], tests: list[str]) -> Comparison:
    """Returns a comparison of models, checked to be comparable.

    If one of them works in 8 bits, all get 8-bit images.

    Args:
        models: At least one.
        tests: Benchmark folders.

    Raises:
        InputError: If the models differ in scale, channels or degradation, or if two
            folders share a name.
    """
    tasks: dict[tuple, tuple] = {}
    depth_8 = any(model.upscaler.depth == 8 for model in models)
    for model in models:
        upscaler = model.upscaler
        degradation = task_to_score(upscaler)
        degradation = degradation.rounded() if depth_8 else degradation
        task = (upscaler.scale, upscaler.channels, str(degradation))
        what = _task(upscaler, degradation)
        tasks.setdefault(task, (model.runs[0].source, degradation, what))
    if len(tasks) > 1:
        (a, _, first), (b, _, other) = list(tasks.values())[:2]
        raise InputError(
            f"{b}: is {other} where {a} is {first}; a report compares "
            "models of one task."
        )
    ((scale, channels, _), (_, degradation, _)) = next(iter(tasks.items()))
    folders = folders_by_name(tests, scale, channels, degradation)
    for model, name in zip(
        models, names_of([Path(model.name) for model in models]), strict=True
    ):
        model.name = name
    comparison = Comparison(models, folders, degradation)
    for network in comparison.networks().values():
        costs = network[0].params, network[0].mult_adds
        for model in network[1:]:  # files lack these, and ranges are no parameters
            model.params, model.mult_adds = costs
    return comparison


def names_of(paths: list[Path]) -> list[str]:
    """Returns a name for each path: its fewest last parts that make all names unique.

    Names keep the suffix of a model file only where they need it to be unique.
    """
    bare = [path.with_suffix("") if path.suffix in SUFFIXES else path for path in paths]
    for ends in (bare, paths):
        for count in range(1, max(len(path.parts) for path in ends) + 1):
            names = ["/".join(path.parts[-count:]) for path in ends]
            if len(set(names)) == len(names):
                return names
    raise InputError(f"{paths[0]}: is given twice, or has the name of another model.")


def _same_network(a, b):
    if a.origin == b.origin:
        return True
    return a.architecture is not None and a.architecture == b.architecture


def _task(upscaler, degradation):
    """Returns a task in words, such as "x2 of RGB"."""
    what = task_name(degradation, upscaler.scale)
    what = what if upscaler.scale > 1 else f"restoration {what}"
    return f"{what} of {'RGB' if upscaler.channels == 3 else 'gray'}"
