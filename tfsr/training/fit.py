"""Training with stock Keras `fit`, resumable after any interruption."""

import contextlib
import dataclasses
import sys
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import keras

from tfsr import files
from tfsr.config import Config, DataConfig, read_config
from tfsr.data import BenchmarkFolder, ImageCache, PatchSampler, images_left_out
from tfsr.data.cache import WithSynthetic
from tfsr.data.degradation import Enlarged, after_bicubic, check_scale
from tfsr.data.packed import unpack
from tfsr.errors import InputError, naming_memory
from tfsr.graph import complexity
from tfsr.metrics import key_of
from tfsr.models import luminance_scales, scales, training_scales
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
from tfsr.training.compiling import build_trainee, repeat_exactly
from tfsr.training.fine_tuning import start_from
from tfsr.training.gradients import check_gradients
from tfsr.training.precision import is_fast

# Config keys that may change on resuming. Network and training patches must stay.
CHANGEABLE = {
    "train.epochs",
    "train.learning_rate",
    "train.schedule",
    "train.clip_norm",
    "train.clip_value",
    "train.weight_decay",
    "train.l2_penalty",
    "train.steps_per_execution",
    "train.strategy",
    "data.cache",
    "data.val",
}
SYNTHETIC_EVERY = 16  # patches, of which one is of `Config.synthetic`
LOCK = "run.lock"  # in the run folder, held while training


def train(
    config: Config,
    out: str | Path,
    tensorboard: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> dict:
    """Trains `config`'s model into the run folder `out`, or resumes the run there.

    Args:
        config: The experiment. Once the run in `out` has completed an epoch, `config`
            may differ from the run's own only in `CHANGEABLE`.
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
    # Before the workers connect, because the chief writes to `out` after that.
    changes = check_free(out, config)
    config = unpacked(config)
    with distribution.replicas(config.train.strategy, config.train.batch) as replicas:
        return _train(config, out, tensorboard, callbacks, changes, replicas)


def _train(config, out, tensorboard, callbacks, changes, replicas):
    model, folders = prepare(config, resumed=bool(completed_epochs(out)))
    # Checked before the cache, which takes minutes to build.
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
    with _locked(out):
        files.remove_stale(out)
        files.remove_stale(out / "backup")
        files.write_text(out / "config.toml", config.text)
        if changes:
            say(f"{out}: the config changes: {'; '.join(changes)}.")
        return _fit(model, config, out, sampler, folders, callbacks, replicas)


def unpacked(config: Config) -> Config:
    """Returns `config` with the folders of its packed file, if it names one.

    Raises:
        InputError: If the file cannot be used.
    """
    data = config.data
    if data.pack is None:
        return config
    folder = unpack(data.pack, data.cache, data.channels)
    data = dataclasses.replace(
        data,
        train=[str(folder / "train")],
        val=str(folder / "val"),
        exclude=[],  # what this and `downscale` ask for was done before packing
        downscale=[],
        pack=None,
    )
    return dataclasses.replace(config, data=data)


def training_images(model: keras.Model, data: DataConfig) -> ImageCache:
    """Returns the images that `model` is trained on, as `[data]` has them."""
    return ImageCache(cache=data.cache, **which_images(model, data))


def which_images(model: keras.Model, data: DataConfig) -> dict:
    """Returns what `ImageCache` and `ImageSurvey` are to hold, as their arguments."""
    return {
        "folders": data.train,
        "scales": training_scales(model),
        "channels": data.channels,
        "exclude": data.exclude,
        "downscale": data.downscale,
        "with_lr": after_bicubic(data.task) is not None,
        "lr_folders": data.train_lr,
    }


def training_patches(model: keras.Model, config: Config) -> PatchSampler:
    """Returns the sampler of the patches that `model` is trained on.

    Args:
        model: The network to train.
        config: The experiment, as `unpacked` returns it.
    """
    options, data = config.train, config.data
    cache = training_images(model, data)
    images = (
        WithSynthetic(cache, config.synthetic, SYNTHETIC_EVERY)
        if config.synthetic
        else cache
    )
    task = Enlarged(scales(model)) if data.channels == "y" else data.task
    return PatchSampler(images, options.patch, options.batch, options.seed, task)


def prepare(config: Config, resumed: bool) -> tuple[keras.Model, list]:
    """Returns the model to train and a validation folder for each of its scales.

    Args:
        config: The experiment; sets Keras' random seed.
        resumed: Whether weights will come from a saved state instead of `init_from`.

    Raises:
        InputError: If the model or the images cannot be used, or do not fit together.
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
            f"training has {steps}, so it hardly learns; set train.schedule="
            f"'{{ name = \"{schedule['name']}\"{warmup} }}'"
        )


def check_channels(model: keras.Model, config: Config) -> int | str:
    """Returns the channels of the images that `model` is trained on: 1, 3 or "y".

    Raises:
        InputError: If `[data]` of `config` has other channels.
    """
    channels = "y" if luminance_scales(model) else model.inputs[0].shape[-1]
    if channels != config.data.channels:
        raise InputError(
            f"{config.source}: [data] channels is {config.data.channels!r} "
            f"where the model has {channels!r}."
        )
    return channels


def say_skipped(sampler: PatchSampler) -> None:
    """Prints for each scale how many images are skipped because they are too small."""
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
    """Returns Keras' `verbose`: a bar on a terminal, elsewhere a line an epoch."""
    return 1 if sys.stdout.isatty() else 2


def build_on(
    replicas: distribution.Replicas, model: keras.Model, config: Config
) -> keras.Model:
    """Returns the network to train, compiled for `replicas`, its optimizer built.

    Args:
        replicas: A `distribution.Replicas` or one of its subclasses.
        model: The model to validate and save; the network is a copy.
        config: The experiment.

    Raises:
        InputError: If several replicas cannot train as `config` asks, or if no gradient
            reaches some trainable weight.
    """
    with replicas.scope():
        trainee = build_trainee(model, config)
        trainee.optimizer.build(trainee.trainable_variables)
    alone = trainee if replicas.count == 1 else build_trainee(model, config)
    check_gradients(alone, config.train.patch)
    replicas.prepare(trainee)
    return trainee


class Batches(keras.utils.PyDataset):
    """An endless `PatchSampler` for `fit`, prefetched by two threads.

    `fit` takes an extra batch first, to learn the shapes; it gets the first batch
    twice. TensorFlow reads them by `pipeline.dataset` instead.

    Args:
        sampler: A `PatchSampler`, or what has its `[step]` and `share`.
        first_step: Index of the first batch.
    """

    def __init__(self, sampler, first_step=0):
        super().__init__(workers=2, max_queue_size=4)
        self.sampler = sampler
        self.first_step = first_step

    @property
    def num_batches(self):
        return None

    def __getitem__(self, index):
        return self.sampler[self.first_step + max(index - 1, 0)]

    def draw(self, index, part, parts):
        """Returns the part of a batch that one of `parts` replicas takes, in 8 bits."""
        return self.sampler.draw(self.first_step + index, part, parts)


def _checksum(value):
    return zlib.crc32(repr(value).encode())


def check_free(out: Path, config: Config) -> list[str]:
    """Returns one-line descriptions of how `config` changes the run in `out`.

    The list is empty if there is no run yet.

    Args:
        out: The run folder.
        config: The experiment to start or resume.

    Raises:
        InputError: If `out` is no run folder, or holds the run of another experiment.
    """
    saved = out / "config.toml"
    if not saved.exists():
        free = not out.exists() or (
            out.is_dir() and {file.name for file in out.iterdir()} <= {LOCK}
        )
        if not free:
            raise InputError(
                f"{out}: exists and is not a run folder; give a new `out`."
            )
        return []
    before = read_config(saved)
    changed = before.differing(config)
    fixed = [key for key in changed if key not in CHANGEABLE]
    if fixed and completed_epochs(out):
        raise InputError(
            f"{out}: holds a run of another config, which differs in "
            f"{', '.join(fixed)}; give a new `out`, or the config in {saved}."
        )
    old, new = before.values(), config.values()
    return [f"{key} was {old.get(key)}, now {new.get(key)}" for key in changed]


@contextlib.contextmanager
def _locked(out):
    try:
        with files.locked(out / LOCK, wait=False):
            yield
    except BlockingIOError:
        raise InputError(f"{out}: another training is running there.") from None
