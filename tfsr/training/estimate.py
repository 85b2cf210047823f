"""A dry run: checks whether a training would work, and estimates its time."""

import time
from pathlib import Path

import keras
import numpy as np

from tfsr.config import Config, TrainConfig
from tfsr.data import ImageSurvey, PatchSampler
from tfsr.data.sampler import in_unit_range
from tfsr.errors import naming_memory
from tfsr.graph import complexity
from tfsr.graph.footprint import working_values
from tfsr.memory import peak_memory_mb, total_memory
from tfsr.models import scales, single_scale, training_scales
from tfsr.training import distribution
from tfsr.training.checkpoints import completed_epochs
from tfsr.training.compiling import build_on
from tfsr.training.fit import prepare, say_skipped
from tfsr.training.images import unpacked, which_images
from tfsr.training.pipeline import Batches
from tfsr.training.run_folder import check_free
from tfsr.upscaling.upscalers import KerasUpscaler, from_uint8

STEPS = 3  # timed steps, after one for compilation


def dry_run(config: Config, out: str | Path) -> dict:
    """Checks `config` and its data, takes a few steps on noise, and writes nothing.

    Steps run with the config's strategy, so several workers wait for one another. Only
    the headers of the training images are read. Validation is timed on the first image
    of each scale.

    Args:
        config: The experiment.
        out: The run folder, which is checked but not changed.

    Returns:
        `model`, `params`, `images`, `cache_bytes`, `epochs` (remaining), `steps`,
        `step_seconds`, `validation_seconds` (of an epoch), `estimated_seconds` (of
        all epochs) and `peak_memory_mb` (of this process; None where unknown).

    Raises:
        InputError: If `train` would raise one.
        MemoryError: If a step does not fit into memory.
    """
    out, options = Path(out), config.train
    check_free(out, config)
    config = unpacked(config)
    with distribution.replicas(options.strategy, options.batch) as replicas:
        return _dry_run(config, completed_epochs(out), replicas)


def _dry_run(config, done, replicas):
    options = config.train
    model, folders = prepare(config, resumed=bool(done))
    survey = ImageSurvey(**which_images(model, config.data))
    say_skipped(PatchSampler(survey, options.patch, options.batch))
    with naming_memory():
        step_seconds = _step_seconds(model, config, replicas)
        validation_seconds = sum(_validation_seconds(model, f) for f in folders)
    epochs = max(0, options.epochs - done)
    steps = epochs * options.steps_per_epoch
    return {
        "model": config.model["name"],
        "params": complexity.params(model),
        "images": len(survey),
        "cache_bytes": survey.bytes,
        "epochs": epochs,
        "steps": steps,
        "step_seconds": step_seconds,
        "validation_seconds": validation_seconds,
        "estimated_seconds": steps * step_seconds + epochs * validation_seconds,
        "peak_memory_mb": peak_memory_mb(),
    }


class FixedBatch:
    """Replaces a `PatchSampler`: gives the same batch at every step.

    Args:
        batch: LR and HR on the scale of 8 bits, as `PatchSampler.draw` returns them.
    """

    def __init__(self, batch):
        self.batch = batch

    def __getitem__(self, step):
        return in_unit_range(self.batch)

    def draw(self, step, part, parts):
        return keras.tree.map_structure(
            lambda array: np.split(array, parts)[part], self.batch
        )


def noise(model: keras.Model, options: TrainConfig) -> tuple:
    """Returns LR and HR of uniform noise for a training step of `model`."""
    rng = np.random.default_rng(0)

    def batch(scale):
        side = options.patch * scale
        shape = (options.batch, side, side, model.inputs[0].shape[-1])
        return rng.integers(256, size=shape, dtype=np.uint8)

    sizes = training_scales(model)
    if len(sizes) == 1:
        return batch(1), batch(*sizes)
    lr = {f"lr_x{s}": batch(1) for s in sizes}
    return lr, {f"sr_x{s}": batch(s) for s in sizes}


def _step_seconds(model, config, replicas):
    options = config.train
    _check_memory(model, options, replicas)
    trainee = build_on(replicas, model, config)
    batches = replicas.distribute(Batches(FixedBatch(noise(model, options))))

    def fit(executions):
        trainee.fit(
            batches,
            steps_per_epoch=executions * options.steps_per_execution,
            shuffle=False,
            verbose=0,
        )

    fit(1)
    started = time.monotonic()
    fit(STEPS)
    seconds = (time.monotonic() - started) / STEPS / options.steps_per_execution
    return seconds * options.accumulate


def _check_memory(model, options, replicas):
    """Raises a `MemoryError` if even the maps of a forward pass cannot fit.

    A step holds several times as much. It is not begun, because the system may end the
    process rather than refuse it memory.
    """
    several = len(model.inputs) > 1
    models = [single_scale(model, s) for s in scales(model)] if several else [model]
    values = max(map(working_values, models))
    needed = 4 * values * options.patch**2 * options.batch / replicas.count
    if needed > total_memory():
        raise MemoryError(f"a step needs more than {needed / 2**30:.0f} GiB")


def _validation_seconds(model, folder):
    lr = from_uint8(next(iter(folder)).lr)
    started = time.monotonic()
    KerasUpscaler(model, folder.scale, folder.channels)(lr)
    return (time.monotonic() - started) * len(folder)
