"""Loads the models of a report from runs, files, names and studies."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from tfsr import files
from tfsr.errors import InputError
from tfsr.graph import complexity
from tfsr.report.models import FLOAT, PTQ, QAT, Model, Run
from tfsr.tflite.formats import format_of
from tfsr.upscaling.upscalers import KerasUpscaler
from tfsr.zoo.loading import load_architecture, weights_sha256
from tfsr.zoo.upscalers import BASELINES, load_upscaler


def load_models(arguments: Sequence[str], scale: int | None = None) -> list[Model]:
    """Returns the models that a report compares.

    Args:
        arguments: MODEL arguments and folders of studies. Baselines are skipped, since
            every report has them.
        scale: The scale to use of networks with several.

    Raises:
        InputError: If one of them cannot be loaded.
    """
    return [
        _model(name, sources, of_scale)
        for argument in arguments
        if argument not in BASELINES
        for name, sources, of_scale in _sources(argument, scale)
    ]


def time_files(
    models: Sequence[Model], size: tuple[int, int], kept: Path
) -> dict | None:
    """Times the `.tflite` files among the models; returns None if there are none.

    Args:
        models: Their latencies are set.
        size: Height and width of the input of dynamic files.
        kept: As for `tfsr.tflite.benchmark.kept.measure`, whose result is returned.
    """
    from tfsr.tflite.benchmark.kept import measure

    converted = {model.name: model.file for model in models if model.file}
    if not converted:
        return None
    measured = measure(converted, size, kept)
    for model in models:
        model.latency_ms = measured["median_ms"].get(model.name)
    return measured


def _sources(
    argument: str, scale: int | None
) -> Iterator[tuple[str, list[str], int | None]]:
    """Yields name, MODEL arguments (one per seed) and scale of each model."""
    study = Path(argument) / "study.json"
    if not study.is_file():
        yield argument, [argument], scale
        return
    of_study, seeds_by_name = _read_study(study)
    for network, numbers in seeds_by_name.items():
        name = f"{argument}/{network}"
        seeds = [f"{name}/seed_{seed}" for seed in numbers]
        if not seeds:
            continue
        yield name, seeds, scale or of_study
        int8 = Path(argument) / "tflite" / f"{network}_int8.tflite"
        if int8.is_file():
            yield f"{name} int8", [str(int8)], scale or of_study


def _read_study(file):
    """Returns the scale in a `study.json`, and the seeds of each network by name."""
    facts = files.read_json(file)
    try:
        seeds = {network["name"]: network["seeds"] for network in facts["networks"]}
        scale = facts["scale"]
        integers = [scale, *(seed for of_one in seeds.values() for seed in of_one)]
    except (KeyError, TypeError):
        integers, seeds = [None], {}
    sound = all(isinstance(number, int) for number in integers) and scale > 0
    if not sound or not all(isinstance(name, str) for name in seeds):
        raise InputError(
            f"{file}: damaged; it must name a scale, networks and their seeds; run "
            "tfsr study again."
        )
    return scale, seeds


def _model(name, sources, scale):
    runs = [_run(source, scale) for source in sources]
    upscaler, source = runs[0].upscaler, sources[0]
    if isinstance(upscaler, KerasUpscaler):
        return Model(
            name,
            runs,
            QAT if upscaler.depth == 8 else FLOAT,
            runs[0].weights,
            load_architecture(source, upscaler.scale),
            complexity.params(upscaler.model),
            complexity.mult_adds_720p(upscaler.model, upscaler.scale),
        )
    facts = upscaler.metadata
    kind = FLOAT
    if not format_of(facts, source).is_float:
        kind = QAT if facts.get("quantization_aware") else PTQ
    architecture = facts.get("architecture") or load_architecture(source)
    weights = facts.get("weights_sha256") or files.sha256(source)
    return Model(name, runs, kind, weights, architecture, file=Path(source))


def _run(source, scale):
    upscaler = load_upscaler(source, scale)
    file = Path(source)
    if isinstance(upscaler, KerasUpscaler):
        folder = file if file.is_dir() else None
        return Run(source, upscaler, weights_sha256(upscaler.model), folder)
    return Run(source, upscaler, files.sha256(file))
