"""One experiment: a TOML file, checked key by key."""

import dataclasses
import math
import tomllib
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tfsr import schedules
from tfsr.config_files import alike, find_config
from tfsr.data.degradation_type import BICUBIC, Degradation, after_bicubic, to_table
from tfsr.data.degradations import DEGRADATIONS, from_table
from tfsr.errors import InputError, reason_of
from tfsr.losses import LOSSES
from tfsr.networks import build_model, check_arguments, check_name
from tfsr.optimizers import OPTIMIZERS
from tfsr.toml import fits, header, in_words, read_section, set_value, to_toml

if typing.TYPE_CHECKING:
    import keras
    import numpy as np

NEEDED = ("model", "data", "train")  # tables
TABLES = (*NEEDED, "quantize")
STRATEGIES = ("auto", "single", "mirrored", "multi_worker")
CHOICES = {
    "optimizer": tuple(OPTIMIZERS),
    "loss": tuple(LOSSES),
    "mixed_precision": ("float32", "float16", "bfloat16"),
    "strategy": STRATEGIES,
}
EXCLUSIVE = (("clip_norm", "clip_value"), ("weight_decay", "l2_penalty"))


@dataclass(frozen=True)
class DataConfig:
    """`[data]`: folders of images, relative to the working directory."""

    train: list[str]
    val: str
    train_lr: list[str] = field(default_factory=list)  # LR folders, one for each
    val_images: int | None = None  # the first so many; all by default
    cache: str = "cache"
    pack: str | None = None  # a file of `tfsr pack`, in place of `train` and `val`
    channels: int | str = 3  # "y" for luma, as luminance networks see it
    downscale: list[float] = field(default_factory=list)  # adds images shrunk by these
    exclude: list[str] = field(default_factory=list)  # names of images, without ending
    # Tables of `tfsr.data.degradations`, in the order in which they are applied.
    degradation: dict | list[dict] = field(default_factory=lambda: {"name": "bicubic"})

    def __post_init__(self):
        if not self.train:
            raise ValueError("train must name at least one folder.")
        if self.channels not in (1, 3, "y"):
            raise ValueError(f'channels must be 1, 3 or "y", not {self.channels!r}.')
        if self.val_images is not None and self.val_images < 1:
            raise ValueError(f"val_images must be positive, not {self.val_images}.")
        if not all(0 < factor < 1 for factor in self.downscale):
            raise ValueError(
                f"downscale must have factors between 0 and 1, not {self.downscale}."
            )
        is_list = isinstance(self.degradation, list)
        for table in self.degradation if is_list else [self.degradation]:
            _check_types(table)
        task = self.task
        self._check_train_lr(task)
        if self.channels == "y" and task != BICUBIC:
            raise ValueError(
                f'channels = "y" needs degradation = "bicubic", not {task}.'
            )

    def _check_train_lr(self, task):
        if not self.train_lr:
            return
        if self.pack:
            raise ValueError("pack excludes train_lr: packed files hold HR alone.")
        if len(self.train_lr) != len(self.train):
            raise ValueError("train_lr must name a folder for each one of train.")
        if self.downscale or self.channels == "y" or after_bicubic(task) is None:
            raise ValueError(
                "train_lr excludes what makes LR from HR: downscale, "
                'channels = "y" and a degradation that does not begin with bicubic.'
            )

    @property
    def task(self) -> Degradation:
        """The degradation that the network learns to undo."""
        return from_table(self.degradation)

    def values(self) -> dict:
        """Returns every value by its key, with the parameters of one degradation."""
        values = {**vars(self), "degradation": to_table(self.task)}
        if isinstance(values["degradation"], dict):
            parameters = values.pop("degradation")
            values = {**values, "degradation": parameters.pop("name"), **parameters}
        return values


@dataclass(frozen=True)
class TrainConfig:
    """`[train]`: the length of the training, its patches, loss and optimizer."""

    epochs: int
    steps_per_epoch: int
    batch: int  # patches per scale
    patch: int  # LR pixels
    optimizer: str = "adam"
    learning_rate: float = 1e-4
    schedule: dict = field(default_factory=lambda: {"name": "constant"})
    loss: str = "l1"
    clip_norm: float | None = None  # bounds the norm of all gradients together
    clip_value: float | None = None  # bounds each gradient
    weight_decay: float | None = None  # decoupled: learning_rate * this off each weight
    l2_penalty: float | None = None  # coupled: this times the weight to its gradient
    ema: float | None = None  # momentum of the weights' moving average
    mixed_precision: str = "float32"  # of the computation; weights stay float32
    accumulate: int = 1  # batches per step
    steps_per_execution: int = 1
    strategy: str = "auto"
    seed: int = 0
    deterministic: bool = False
    init_from: str | None = None  # a run folder, .keras file, released name

    def __post_init__(self):
        for key in (
            *("epochs", "steps_per_epoch", "batch", "patch", "learning_rate"),
            *("clip_norm", "clip_value", "weight_decay", "l2_penalty"),
            *("accumulate", "steps_per_execution"),
        ):
            value = getattr(self, key)
            if value is not None and not value > 0:
                raise ValueError(f"{key} must be positive, not {value}.")
            if value == math.inf:
                raise ValueError(f"{key} must be finite, not inf.")
        for first, second in EXCLUSIVE:
            if None not in (getattr(self, first), getattr(self, second)):
                raise ValueError(f"{first} and {second} exclude each other.")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ValueError(f"ema must be between 0 and 1, not {self.ema}.")
        if self.batches_per_epoch % self.steps_per_execution:
            raise ValueError(
                f"steps_per_execution must divide the {self.batches_per_epoch} batches "
                f"of an epoch, not {self.steps_per_execution}."
            )
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be between 0 and 2**32 - 1, not {self.seed}.")
        for key, allowed in CHOICES.items():
            if getattr(self, key) not in allowed:
                raise ValueError(
                    f"{key} must be one of {', '.join(allowed)}, "
                    f"not {getattr(self, key)!r}."
                )
        schedules.check(self.schedule)

    @property
    def steps(self) -> int:
        return self.epochs * self.steps_per_epoch

    @property
    def batches_per_epoch(self) -> int:
        return self.steps_per_epoch * self.accumulate


@dataclass(frozen=True)
class QuantizeConfig:
    """`[quantize]`: quantization-aware training of weights trained in float."""

    weight_bits: int = 8
    activation_bits: int = 8
    learn_ranges: float = 0.8  # share of the epochs; then ranges are frozen
    target: str = "hr"  # "hr", or "float" for the float model's output
    in_float: list[str] = field(default_factory=list)  # sums that stay in float32
    fine_sums: bool = False  # sums by convolutions, with less rounding

    def __post_init__(self):
        for key, allowed in {"weight_bits": (4, 8), "activation_bits": (8, 16)}.items():
            value = getattr(self, key)
            if value not in allowed:
                raise ValueError(f"{key} must be one of {allowed}, not {value}.")
        if self.target not in ("hr", "float"):
            raise ValueError(f"target must be hr or float, not {self.target!r}.")
        if not 0 <= self.learn_ranges <= 1:
            raise ValueError(
                f"learn_ranges must be from 0 to 1, not {self.learn_ranges}."
            )
        if self.in_float and self.fine_sums:
            raise ValueError("in_float and fine_sums exclude each other.")


@dataclass(frozen=True)
class Config:
    """A whole experiment."""

    model: dict  # name, a key of `tfsr.models.MODELS`, and its builder's arguments
    data: DataConfig
    train: TrainConfig
    text: str  # TOML that reproduces this config
    source: str  # the file, for messages
    quantize: QuantizeConfig | None = None
    builder: "Callable[[], keras.Model] | None" = None  # replaces that of `MODELS`
    teacher: Callable | None = None  # network whose outputs are the targets, not HR
    synthetic: Sequence["np.ndarray"] = ()  # HR images to train on beside `data`

    def build(self) -> "keras.Model":
        """Returns the network to train.

        Raises:
            InputError: If the model's builder rejects an argument.
        """
        return self.builder() if self.builder else build_model(self.model, self.source)

    def values(self) -> dict:
        """Returns every value by its `section.key`."""
        tables = {
            "model": self.model,
            "data": self.data.values(),
            "train": vars(self.train),
            "quantize": vars(self.quantize) if self.quantize else {},
        }
        return {
            f"{section}.{key}": value
            for section, table in tables.items()
            for key, value in table.items()
        }

    def differing(self, other: "Config") -> list[str]:
        """Returns the `section.key`s whose values differ in `other`, sorted."""
        return differing_keys(self.values(), other.values())


def differing_keys(ours: dict, theirs: dict) -> list[str]:
    """Returns the keys whose values differ, or that only one side has, sorted."""
    keys = ours.keys() | theirs.keys()
    return sorted(key for key in keys if ours.get(key) != theirs.get(key))


def read_config(file: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Returns the experiment in `file`.

    Args:
        file: A TOML file, or the name of one that comes with tfsr (see `find_config`).
            Its tables are `[model]`, `[data]`, `[train]` and, for
            quantization-aware training, `[quantize]`.
        overrides: `section.key=value` each, the value in TOML (a bare word is text).

    Raises:
        InputError: If a key is missing, unknown or of the wrong type; names the file,
            the key and the allowed values.
    """
    config = parse_config(file, overrides)
    check_arguments(config.model, file)
    return config


def parse_config(file: str | Path, overrides: Sequence[str] = ()) -> Config:
    """Returns the experiment in `file` without loading Keras.

    It does not check the builder's arguments, which would need Keras.

    Args:
        file: As for `read_config`.
        overrides: As for `read_config`.

    Raises:
        InputError: As `read_config`, except on the builder's arguments.
    """
    text, tables = _read_toml(file)
    for override in overrides:
        set_value(tables, override)
    _check_tables(tables, file)
    quantize = None
    if "quantize" in tables:
        quantize = read_section(QuantizeConfig, "quantize", tables["quantize"], file)
    return Config(
        model=check_name(tables["model"], file),
        data=read_section(DataConfig, "data", _with_degradation(tables["data"]), file),
        train=read_section(TrainConfig, "train", tables["train"], file),
        text=header(text) + to_toml(tables) if overrides else text,
        source=str(file),
        quantize=quantize,
    )


def _read_toml(file):
    """Returns the text of a config and its tables."""
    try:
        text = find_config(file).read_text(encoding="utf-8-sig")  # editors on Windows
        return text, tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # long integers, nested brackets
        raise InputError(f"{file}: not valid TOML ({reason_of(error)}).") from None
    except OSError as error:
        others = ", ".join(alike(file))
        advice = f"; tfsr has {others}" if others else ""
        raise InputError(
            f"{file}: cannot be read ({error.strerror}){advice}."
        ) from None


def _check_tables(tables, file):
    for name in tables:
        if name not in TABLES:
            allowed = ", ".join(TABLES)
            raise InputError(f"{file}: unknown table [{name}]; allowed: {allowed}.")
    for name in (*NEEDED, *tables):
        if not isinstance(tables.get(name), dict):
            raise InputError(f"{file}: needs a table [{name}].")


def _with_degradation(data):
    """Returns `[data]` with a degradation that is one word as a table.

    Parameters beside the word move into the table.
    """
    name = data.get("degradation", "bicubic")
    if not isinstance(name, str):
        return data
    known = {f.name for kind in DEGRADATIONS.values() for f in dataclasses.fields(kind)}
    beside = {key: value for key, value in data.items() if key in known}
    rest = {key: value for key, value in data.items() if key not in known}
    return {**rest, "degradation": {"name": name, **beside}}


def _check_types(degradation):
    """Raises a `ValueError` if a parameter of a degradation has the wrong type."""
    named = DEGRADATIONS.get(str(degradation.get("name")))
    for key, value in degradation.items():
        hints = [
            typing.get_type_hints(kind)[key]
            for kind in (named, *DEGRADATIONS.values())
            if kind and key in {f.name for f in dataclasses.fields(kind)}
        ]
        if hints and not fits(value, hints[0]):
            raise ValueError(f"{key} must be {in_words(hints[0])}, not {value!r}.")
