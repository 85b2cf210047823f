"""Plans a study: networks compared with the same training budget, data and seeds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from tfsr.config import Config, DataConfig, differing_keys, read_config
from tfsr.data import BenchmarkFolder
from tfsr.data.pairs import folders_by_name
from tfsr.errors import InputError
from tfsr.graph import complexity
from tfsr.models import scales, single_scale
from tfsr.networks import build_model
from tfsr.training.images import unpacked
from tfsr.zoo.upscalers import pick_scale

MAY_DIFFER = {"data.cache", "train.seed"}  # between the configs of a study


@dataclass(frozen=True)
class Run:
    """One network trained with one seed; finished once it has a `metrics.json`."""

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
        """The config of the first seed."""
        return next(iter(self.runs.values())).config


@dataclass(frozen=True)
class Study:
    """Networks trained with the same seeds, and the settings of their comparison."""

    out: Path
    seeds: list[int]
    scale: int
    size: tuple[int, int]  # LR height and width for mult-adds and latency
    networks: list[Network]  # the others are compared with the first
    data: DataConfig  # shared by all networks, unpacked
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
    overrides: Sequence[str] = (),
    scale: int | None = None,
    size: tuple[int, int] | None = None,
    tests: Sequence[str | Path] = (),
) -> Study:
    """Returns the study of `sources`, checked before any training.

    Args:
        sources: Config files and folders of them; duplicates count once. The others
            are compared with the first.
        out: The study's folder.
        seeds: Seeds to train each network with.
        overrides: As for `read_config`, for every config.
        scale: The scale to compare; not needed for networks of one scale.
        size: LR height and width of mult-adds and latency; by default for an output
            of 1280x720.
        tests: Benchmark folders; by default the validation images.

    Raises:
        InputError: If the configs differ in data, budget or scales, or from the runs in
            `out`, or if a source or test folder cannot be used.
    """
    out = Path(out)
    networks: list[Network] = []
    for file in _config_files(sources):
        network = _network(file, out, seeds, overrides, scale, size)
        _check_agreement(networks[0] if networks else network, network)
        networks.append(network)
    scale = scale or networks[0].scales[0]
    data = unpacked(networks[0].config).data
    folders = folders_by_name(tests or [data.val], scale, data.channels, data.task)
    size = size or _size_of_720p(scale)
    return Study(out, seeds, scale, size, networks, data, folders)


def budget(network: Network) -> dict:
    """Returns the values that all networks of a study must share, by `section.key`."""
    values = {
        key: value
        for key, value in network.config.values().items()
        if not key.startswith("model.") and key not in MAY_DIFFER
    }
    return {"model.scale": network.scales, **values}


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
    """Returns the network of a config file, with parameters and mult-adds."""
    runs = {
        seed: Run(
            read_config(file, [*overrides, f"train.seed={seed}"]),
            out / file.stem / f"seed_{seed}",
        )
        for seed in seeds
    }
    if any(run.config.quantize for run in runs.values()):
        raise InputError(f"{file}: has [quantize]; see tfsr quantize-train.")
    for run in runs.values():
        _check_run(run)
    keras.utils.clear_session()
    model = build_model(run.config.model, file)
    scale = pick_scale(str(file), scales(model), scale)
    single = single_scale(model, scale)
    mult_adds = (
        complexity.mult_adds(single, *size)
        if size
        else complexity.mult_adds_720p(single, scale)
    )
    params = complexity.params(single)
    return Network(file, runs, scales(model), params, mult_adds)


def _size_of_720p(scale):
    return 720 // scale, 1280 // scale


def _check_run(run):
    """Raises an `InputError` if the run folder has another config."""
    saved = run.folder / "config.toml"
    if not saved.exists():
        return
    changed = read_config(saved).differing(run.config)
    changed = [key for key in changed if key != "data.cache"]
    if changed:
        raise InputError(
            f"{run.config.source}: differs in {', '.join(changed)} from the run in "
            f"{run.folder}; give a new `out`, or the config in {saved}."
        )


def _check_agreement(first, other):
    """Raises an `InputError` if two networks differ in data or budget."""
    ours, theirs = budget(first), budget(other)
    for key in differing_keys(ours, theirs):
        there, here = (
            repr(values[key]) if key in values else "left out"
            for values in (theirs, ours)
        )
        raise InputError(
            f"{other.file}: {key} is {there} where {first.file} has {here}; a study's "
            "configs share data and budget; an override changes all."
        )
