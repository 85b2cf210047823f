"""Keras callbacks for training: validation, log, checkpoints, time estimate."""

import csv
import importlib.util
import math
import time
from pathlib import Path

import keras
import numpy as np

from tfsr import files
from tfsr.data import BenchmarkFolder
from tfsr.errors import InputError, NotFiniteError
from tfsr.models import stages
from tfsr.scoring.evaluation import psnr, result
from tfsr.terminal import duration, say
from tfsr.training.checkpoints import load_state, save_state, save_weights
from tfsr.training.compiling import copy_trained_weights
from tfsr.upscaling.upscalers import KerasUpscaler, Upscaler

ADVICE = (
    "lower learning_rate or set clip_norm in the config, and train again: training "
    "resumes after the last epoch."
)


def validate(upscaler: Upscaler, folder: BenchmarkFolder) -> float:
    """Returns an upscaler's mean PSNR in dB, measured by the evaluation protocol.

    Args:
        upscaler: An upscaler (see `tfsr.upscaling.upscalers`).
        folder: The images: a `tfsr.data.BenchmarkFolder` of the upscaler's scale and
            channels.
    """
    return float(
        np.mean([psnr(result(upscaler, p), p.hr, folder.border) for p in folder])
    )


class StopOnNaN(keras.callbacks.Callback):
    """Ends training with a `NotFiniteError` when the loss or a weight is not finite.

    The loss is checked after every step, the weights after every epoch. This must be
    the first callback, so that the others write nothing for that epoch.
    """

    def on_train_batch_end(self, batch, logs=None):
        loss = logs["loss"]
        if not math.isfinite(loss):
            self._stop(f"the loss is {loss}")

    def on_epoch_end(self, epoch, logs=None):
        for weight in self.model.trainable_variables:
            if not np.isfinite(keras.ops.convert_to_numpy(weight)).all():
                self._stop(f"the weight {weight.path} is not finite")

    def _stop(self, what):
        step = int(self.model.optimizer.iterations)
        print()  # ends the line of Keras' progress bar
        raise NotFiniteError(f"{what} at step {step}; {ADVICE}")


class TimeEstimate(keras.callbacks.Callback):
    """Prints once, after ten batches or an epoch, the time that the rest will take.

    The first batch does not count, because it includes compilation.
    """

    def on_train_begin(self, logs=None):
        self.first = None
        self.said = False

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.first is None:
            self.first, self.started = batch, time.monotonic()
        enough = batch >= self.first + 10 or batch + 1 == self.params["steps"]
        if self.said or not enough or batch == self.first:
            return
        self.said = True
        seconds = (time.monotonic() - self.started) / (batch - self.first)
        total = (self.params["epochs"] - self.epoch) * self.params["steps"]
        left = duration((total - batch - 1) * seconds)
        print()  # ends the line of Keras' progress bar
        say(f"about {left} to go at {seconds:.3g} s per batch, without validation.")


class TimeLimit(keras.callbacks.Callback):
    """Ends training, to be resumed later, if the next epoch would exceed a time limit.

    The next epoch is assumed to take as long as the longest so far. At least one epoch
    is trained.

    Args:
        minutes: How long this process may train.
    """

    def __init__(self, minutes):
        super().__init__()
        self.end = time.monotonic() + 60 * minutes
        self.longest = 0.0

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        now = time.monotonic()
        self.longest = max(self.longest, now - self.started)
        if epoch + 1 < self.params["epochs"] and now + self.longest > self.end:
            self.model.stop_training = True
            say(
                f"time is up after epoch {epoch + 1} of {self.params['epochs']}, each "
                f"of up to {duration(self.longest)}; the same command resumes it."
            )


class CopyWeights(keras.callbacks.Callback):
    """Copies the trained weights, or their moving averages, to the model to save.

    Args:
        model: The model to validate and save.
    """

    def __init__(self, model):
        super().__init__()
        self.saved_model = model

    def on_epoch_end(self, epoch, logs=None):
        copy_trained_weights(self.model, self.saved_model)


class Validation(keras.callbacks.Callback):
    """Adds `val_psnr_x{scale}` and their mean `val_psnr` to the logs of an epoch.

    For a cascade it also adds the PSNR of each stage, `val_psnr_x{scale}_stage_{q}`.

    Args:
        model: The model to validate.
        folders: A `BenchmarkFolder` for each scale.
    """

    def __init__(self, model, folders):
        super().__init__()
        self.folders = folders
        self.upscalers = [KerasUpscaler(model, f.scale, f.channels) for f in folders]
        self.stages = {
            name: [KerasUpscaler(stage, f.scale, f.channels) for f in folders]
            for name, stage in stages(model).items()
        }

    def on_epoch_end(self, epoch, logs):
        for i, folder in enumerate(self.folders):
            try:
                logs[f"val_psnr_x{folder.scale}"] = validate(self.upscalers[i], folder)
            except NotFiniteError:
                step = int(self.model.optimizer.iterations)
                raise NotFiniteError(
                    f"the network's output is not finite at step {step}; {ADVICE}"
                ) from None
            for name, upscalers in self.stages.items():
                level = validate(upscalers[i], folder)
                logs[f"val_psnr_x{folder.scale}_{name}"] = level
        names = [f"val_psnr_x{folder.scale}" for folder in self.folders]
        logs["val_psnr"] = float(np.mean([logs[name] for name in names]))


class RunLog(keras.callbacks.Callback):
    """Writes `log.csv` and `curve.png` after every epoch.

    `best()` returns the row with the highest `val_psnr`.

    Args:
        out: The run folder.
        epoch: Completed epochs; later rows, which a killed run may have written, are
            dropped.
        baseline: Name of the baseline to draw, "bicubic" or "input".
        levels: PSNR of the baseline by scale, `{"x2": ...}`.
    """

    def __init__(self, out, epoch, baseline, levels):
        super().__init__()
        self.out = out
        self.baseline = baseline
        self.levels = levels
        self.rows = []
        if epoch:
            self.rows = read_log(out)[:epoch]
            if len(self.rows) < epoch:
                raise InputError(
                    f"{out / 'log.csv'}: has {len(self.rows)} of the {epoch} completed "
                    "epochs; put the whole log back, or give a new `out`."
                )
            missing = {"loss", "val_psnr", *(f"val_psnr_{name}" for name in levels)}
            if missing := sorted(missing - set(self.rows[0])):
                raise InputError(
                    f"{out / 'log.csv'}: has no column {missing[0]}; put the whole log "
                    "back, or give a new `out`."
                )

    def best(self):
        return max(self.rows, key=lambda row: row["val_psnr"])

    def on_epoch_end(self, epoch, logs):
        rate = float(self.model.optimizer.learning_rate)
        scalars = {key: float(value) for key, value in logs.items()}
        self.rows.append({"epoch": epoch + 1, **scalars, "learning_rate": rate})
        files.write_csv(self.out / "log.csv", self.rows)
        self._draw()

    def _draw(self):
        try:
            from matplotlib.figure import Figure
        except ModuleNotFoundError:  # on a machine with little more than Keras
            return

        epochs = [row["epoch"] for row in self.rows]
        figure = Figure(figsize=(10, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        left.plot(epochs, [row["loss"] for row in self.rows], marker=".")
        left.set(xlabel="epoch", ylabel="training loss", yscale="log")
        for name, level in self.levels.items():
            values = [row[f"val_psnr_{name}"] for row in self.rows]
            (line,) = right.plot(epochs, values, marker=".", label=name)
            for key in self.rows[0]:
                if key.startswith(f"val_psnr_{name}_"):  # a stage of a cascade
                    values = [row[key] for row in self.rows]
                    label = key.removeprefix("val_psnr_").replace("_", " ")
                    right.plot(epochs, values, "--", linewidth=1, label=label)
            style = {"color": line.get_color(), "linestyle": ":"}
            right.axhline(level, label=f"{name} {self.baseline}", **style)
        right.set(xlabel="epoch", ylabel="validation PSNR (dB)")
        figure.legend(loc="outside right upper", fontsize=8)
        for axes in (left, right):
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.grid(alpha=0.3)
        with files.replacing(self.out / "curve.png") as temporary:
            figure.savefig(temporary, dpi=120)


def read_log(out: str | Path) -> list[dict]:
    """Returns the rows of `log.csv` in the run folder `out`, one for each epoch.

    Raises:
        InputError: If the file is damaged, or an epoch is missing.
    """
    log = Path(out) / "log.csv"
    try:
        with open(log, newline="", encoding="utf-8") as file:
            rows = [
                {key: float(value) for key, value in row.items()}
                for row in csv.DictReader(file)
            ]
        epochs = [int(row["epoch"]) for row in rows]
    except FileNotFoundError:
        raise InputError(f"{log}: missing; it belongs to the run.") from None
    except (ValueError, TypeError, KeyError, OverflowError, csv.Error) as error:
        raise InputError(f"{log}: damaged ({error}); put the log back.") from None
    if epochs != list(range(1, len(rows) + 1)):
        raise InputError(
            f"{log}: damaged; epochs must be 1, 2, 3 and so on, without gaps."
        )
    if any(math.isnan(value) for row in rows for value in row.values()):
        raise InputError(f"{log}: damaged; a value is not a number.")
    return [{**row, "epoch": epoch} for row, epoch in zip(rows, epochs, strict=True)]


class Checkpoint(keras.callbacks.Callback):
    """Saves the best and the last weights, and the state to resume from.

    Keras' own `BackupAndRestore` writes its files in place, so a kill at the wrong
    moment loses them. Here every file is written under a temporary name and renamed.
    The name of a state has its epoch and checksum, so there is always one complete
    state, and damage is detected.

    The state is written first, which completes the epoch, then the weights. If a kill
    comes between, `restore(trainee)` writes the weights after loading the state.

    Args:
        out: The run folder.
        model: The model to save, whose weights `CopyWeights` sets.
        log: The `RunLog`, which has the best epoch.
    """

    def __init__(self, out, model, log):
        super().__init__()
        self.out = out
        self.saved_model = model
        self.log = log

    def restore(self, trainee) -> None:
        if load_state(self.out, trainee):
            copy_trained_weights(trainee, self.saved_model)
            self._save_weights()

    def on_epoch_end(self, epoch, logs):
        save_state(self.out, self.model, epoch + 1)
        self._save_weights()

    def _save_weights(self):
        save_weights(self.saved_model, self.out / "last.weights.h5")
        if self.log.best() is self.log.rows[-1]:
            save_weights(self.saved_model, self.out / "best.weights.h5")
            with files.replacing(self.out / "model.keras") as temporary:
                self.saved_model.save(temporary)


class TensorBoardImages(keras.callbacks.TensorBoard):
    """Keras' TensorBoard callback with the first validation image of each scale."""

    def __init__(self, folder, model, folders):
        if importlib.util.find_spec("tensorboard") is None:
            raise InputError("TensorBoard needs pip install tensorboard.")
        super().__init__(str(folder))
        self.upscalers = [KerasUpscaler(model, f.scale, f.channels) for f in folders]
        self.pairs = [next(iter(f)) for f in folders]

    def on_epoch_end(self, epoch, logs=None):
        import tensorflow as tf

        super().on_epoch_end(epoch, logs)
        with self._train_writer.as_default():
            for upscaler, pair in zip(self.upscalers, self.pairs, strict=True):
                sr = result(upscaler, pair)
                tf.summary.image(f"x{upscaler.scale}", sr[None], step=epoch)
