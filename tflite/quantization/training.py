"""Quantization-aware training, which starts from a float model's weights."""

import dataclasses
from pathlib import Path

import keras

from tfsr import files
from tfsr.data import BenchmarkFolder
from tfsr.data.cache import training_files
from tfsr.errors import InputError
from tfsr.graph.complexity import params
from tfsr.layers import FakeQuantize
from tfsr.models import in_color, scales, single_scale
from tfsr.tflite.quantization.aware import is_quantization_aware, quantization_aware
from tfsr.tflite.quantization.calibration import (
    calibration_patches,
    with_saturated,
)
from tfsr.tflite.quantization.saturation import saturated_images
from tfsr.training import Config, train
from tfsr.training.images import check_channels, unpacked
from tfsr.zoo.loading import load_model, weights_sha256

STARTED_FROM = "float.sha256"  # file in the run folder: digest of the float weights


def quantize_train(
    run: str | Path, config: Config, out: str | Path, tensorboard: bool = False
) -> dict:
    """Trains a float model for 8 bits into the run folder `out`, or resumes there.

    A luminance network is trained as it runs, from RGB LR to RGB SR. Saturated colours
    are trained on beside the images of the config. One scale of a
    model of several scales may be trained alone; it then has its own ranges.

    Args:
        run: A run folder or a `.keras` file with float weights.
        config: An experiment with `[quantize]`, for the same model or one scale of it.
        out: The run folder; its `model.keras` is quantization-aware, for `convert`.
        tensorboard: As for `tfsr.training.train`.

    Returns:
        As `tfsr.training.train`.

    Raises:
        InputError: If the config has no `[quantize]` or another model, if the run in
            `out` started from other weights, or if `tfsr.training.train` raises one.
    """
    options = config.quantize
    if options is None:
        raise InputError(f"{config.source}: needs a table [quantize].")
    if config.train.mixed_precision != "float32":
        raise InputError(
            f"{config.source}: has mixed_precision, too coarse to train for 8 bits in; "
            "leave it out."
        )
    model = in_color(_load(run, config))
    check_channels(model, config)
    digest = weights_sha256(model)
    started_from = Path(out) / STARTED_FROM
    if started_from.is_file() and started_from.read_text(encoding="utf-8") != digest:
        raise InputError(
            f"{run}: has other weights than those that {out} started from; "
            "give these, or another --out."
        )
    patches = [patch for scale in scales(model) for patch in _patches(config, scale)]
    aware = quantization_aware(
        model,
        with_saturated(patches, model),
        options.weight_bits,
        options.activation_bits,
        options.in_float,
        options.fine_sums,
    )

    def build():
        copy = keras.models.clone_model(aware)
        copy.set_weights(aware.get_weights())
        return copy

    def teach(lr):
        return keras.tree.map_structure(_as_pixels, model(lr, training=False))

    config = dataclasses.replace(
        config,
        builder=build,
        teacher=teach if options.target == "float" else None,
        synthetic=saturated_images(model.inputs[0].shape[-1]),
    )
    callbacks = [
        FreezeRanges(round(config.train.epochs * options.learn_ranges)),
        keras.callbacks.LambdaCallback(
            on_train_begin=lambda _: files.write_text(started_from, digest)
        ),
    ]
    return train(config, out, tensorboard, callbacks)


class FreezeRanges(keras.callbacks.Callback):
    """Freezes the learned ranges at the beginning of an epoch.

    Args:
        epoch: Number of the epoch, from 0.
    """

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch >= self.epoch:
            for layer in self.model.layers:
                if isinstance(layer, FakeQuantize):
                    layer.freeze()


def _load(run, config):
    """Returns the float model of a run; only one of its scales if `config` has one."""
    wanted = config.build()
    scale = scales(wanted)[0] if len(scales(wanted)) == 1 else None
    model = load_model(run, scale)
    if is_quantization_aware(model):
        raise InputError(f"{run}: is quantization-aware already; give the float model.")
    if scale and {scale} < {*scales(model)}:
        model, wanted = (single_scale(m, scale) for m in (model, wanted))
    for what, ours, theirs in (
        ("scales", scales(model), scales(wanted)),
        ("parameters", params(model), params(wanted)),
    ):
        if ours != theirs:
            raise InputError(
                f"{config.source}: [model] has {what} {theirs}, and {run} {ours}."
            )
    return model


def _as_pixels(sr):
    """Returns a model's output clipped to [0, 1], as 8 bits hold it."""
    return keras.ops.clip(sr, 0, 1)


def _patches(config, scale):
    """Returns patches of the training images that give the initial ranges."""
    data = unpacked(config).data
    folder = BenchmarkFolder(
        training_files(data.train, data.exclude),
        scale,
        data.channels,
        degradation=data.task.rounded(),
    )
    return calibration_patches(folder)
