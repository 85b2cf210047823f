"""Training with stock Keras `fit`, resumable after any interruption."""

import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import keras

from tfsr import files
from tfsr.config import Config
from tfsr.data import BenchmarkFolder, PatchSampler, images_left_out
from tfsr.data.degradations import check_scale
from tfsr.errors import InputError, naming_memory
from tfsr.graph import complexity
from tfsr.metrics import key_of
from tfsr.models import scales
from tfsr.scoring.evaluation import baseline
from tfsr.terminal import say
from tfsr.training import distribution
from tfsr.training.callbacks import (
    Checkpoint,
    CopyWeights,
    RunLog,
    StopOnNaN,
    TensorBoardImages,
    TimeEstimate,
    Validation,
    validate,
)
from tfsr.training.checkpoints import completed_epochs, load_state
from tfsr.training.compiling import build_on, repeat_exactly
from tfsr.training.fine_tuning import start_from
from tfsr.training.images import check_channels, training_patches, unpacked
from tfsr.training.pipeline import Batches
from tfsr.training.precision import is_fast
from tfsr.training.run_folder import check_free, locked


def train(
    config: Config,
    out: str | Path,
    tensorboard: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict:
    """Trains `config`'s model into the run folder `out`, or resumes the run there.

    Args:
        config: The experiment. Once the run in `out` has completed an epoch, `config`
            may differ from the run's own only in `run_folder.CHANGEABLE`.
        out: The run folder: `config.toml`, `best.weights.h5`, `last.weights.h5`,
            `model.keras` (the best), `log.csv`, `curve.png`, `metrics.json`, `backup/`.
        tensorboard: Whether to write TensorBoard logs with pictures to `tensorboard/`.
        callbacks: Keras callbacks to call beside those of this package.

    Returns:
        The content of `metrics.json`; `None` on workers other than the chief, which
        write nothing.

    Raises:
        InputError: If the data cannot be used, or `out` holds another experiment.
        NotFiniteError: If the loss or a weight becomes NaN or infinite.
        WorkerLostError: If another worker of this training stops.
    """
    out = Path(out)
    # Checked before the workers connect, after which the chief writes to `out`.
    changes = check_free(out, config)
    config = unpacked(config)
    with distribution.replicas(config.train.strategy, config.train.batch) as replicas:
        return _train(config, out, tensorboard, callbacks, changes, replicas)


def _train(config, out, tensorboard, callbacks, changes, replicas):
    model, folders = prepare(config, resumed=bool(completed_epochs(out)))
    # Checked before the cache is built, which takes minutes.
    callbacks = list(callbacks)
    if tensorboard:
        callbacks += [TensorBoardImages(out / "tensorboard", model, folders)]
    sampler = training_patches(model, config)
    say_skipped(sampler)
    for folder in config.data.train:
        if line := images_left_out(folder):
            say(line)

    if not replicas.chief:
        return _fit(model, config, out, sampler, folders, callbacks, replicas)
    out.mkdir(parents=True, exist_ok=True)
    with locked(out):
        files.remove_stale(out)
        files.remove_stale(out / "backup")
        files.write_text(out / "config.toml", config.text)
        if changes:
            say(f"{out}: the config changes: {'; '.join(changes)}.")
        return _fit(model, config, out, sampler, folders, callbacks, replicas)


def prepare(config: Config, resumed: bool) -> tuple[keras.Model, list]:
    """Returns the model to train and a validation folder for each of its scales.

    Args:
        config: The experiment; sets Keras' random seed.
        resumed: Whether a saved state replaces the weights of `init_from`.

    Raises:
        InputError: If the model or images cannot be used, or do not fit together.
    """
    options, data = config.train, config.data
    keras.utils.set_random_seed(options.seed)
    if options.deterministic:
        repeat_exactly()
    model = config.build()
    channels = check_channels(model, config)
    _warn_of_long_warmup(options)
    if not is_fast(options.mixed_precision):
        say(
            f"this processor has no instructions for {options.mixed_precision}: "
            "training in float32."
        )
    if options.init_from and not resumed:
        say(start_from(model, options.init_from))
    folders = []
    for scale in scales(model):
        try:
            check_scale(data.task, scale)
        except ValueError as error:
            raise InputError(f"{config.source}: [data] {error}") from None
        folder = BenchmarkFolder(data.val, scale, channels, degradation=data.task)
        folders.append(folder.first(data.val_images))
    return model, folders


def _warn_of_long_warmup(options):
    schedule, steps = options.schedule, options.steps
    if schedule.get("warmup", 0) > steps / 2:
        warmup = f", warmup = {steps // 10}" if steps >= 10 else ""
        say(
            f"warning: the learning rate rises for {schedule['warmup']} steps, and the "
            f"training has {steps}, so it will hardly learn; set train.schedule="
            f"'{{ name = \"{schedule['name']}\"{warmup} }}'"
        )


def say_skipped(sampler: PatchSampler) -> None:
    """Prints for each scale how many images are too small and skipped."""
    for s, skipped in sampler.skipped.items():
        if skipped:
            total = len(sampler.images)
            say(f"x{s}: {skipped} of {total} images are too small and skipped.")


def _fit(model, config, out, sampler, folders, callbacks, replicas):
    """Continues training from the last state; returns the content of `metrics.json`."""
    options = config.train
    trainee = build_on(replicas, model, config)
    epoch = completed_epochs(out)
    images = sampler.images
    for what, value in {
        "the config": _checksum([config.model, config.data.task, options]),
        "the training images": _checksum(list(map(images.shapes, images.scales))),
        "the completed epochs (`out` must be a folder they share)": epoch,
    }.items():
        replicas.check_same(what, value)
    more, callbacks = callbacks, [StopOnNaN()]
    if replicas.chief:
        levels = {f"x{f.scale}": validate(baseline(f), f) for f in folders}
        log = RunLog(out, epoch, baseline(folders[0]).name, levels)
        checkpoint = Checkpoint(out, model, log)
        checkpoint.restore(trainee)
        callbacks += [TimeEstimate(), CopyWeights(model), Validation(model, folders)]
        callbacks += [log, checkpoint]
        if epoch:
            say(f"{out}: resuming after epoch {epoch} of {options.epochs}.")
    else:
        load_state(out, trainee)

    batches = Batches(sampler, first_step=epoch * options.batches_per_epoch)
    started = time.monotonic()
    if epoch < options.epochs:
        with naming_memory():
            trainee.fit(
                replicas.distribute(batches),
                steps_per_epoch=options.batches_per_epoch,
                initial_epoch=epoch,
                epochs=options.epochs,
                callbacks=[*callbacks, *more, *replicas.callbacks()],
                shuffle=False,  # the sampler already draws at random
                verbose=_verbosity() if replicas.chief else 0,
            )
    if not replicas.chief:
        return None
    best = log.best()
    psnr = f"val_{key_of('psnr', config.data.channels)}"
    metrics = {
        "model": config.model["name"],
        "params": complexity.params(model),
        "epochs": len(log.rows),
        "steps": len(log.rows) * options.steps_per_epoch,
        "seconds_since_resume": round(time.monotonic() - started, 1),
        "best_epoch": best["epoch"],
        psnr: {f"x{s}": best[f"val_psnr_x{s}"] for s in scales(model)},
        f"{psnr}_{log.baseline}": log.levels,
    }
    files.write_json(out / "metrics.json", metrics)
    return metrics


def _verbosity():
    """Returns Keras' `verbose`: a bar on a terminal, otherwise one line per epoch."""
    return 1 if sys.stdout.isatty() else 2


def _checksum(value):
    return zlib.crc32(repr(value).encode())
