"""The images that a config trains on."""

import dataclasses

import keras

from tfsr.config import Config, DataConfig
from tfsr.data import ImageCache, PatchSampler
from tfsr.data.cache import WithSynthetic
from tfsr.data.degradation_type import after_bicubic
from tfsr.data.degradations import Enlarged
from tfsr.data.packed import unpack
from tfsr.errors import InputError
from tfsr.models import luminance_scales, scales, training_scales

SYNTHETIC_EVERY = 16  # one patch in this many is from `Config.synthetic`


def unpacked(config: Config) -> Config:
    """Returns `config` with the folders of its packed file, if it has one.

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
        exclude=[],  # applied before packing, like `downscale`
        downscale=[],
        pack=None,
    )
    return dataclasses.replace(config, data=data)


def training_images(model: keras.Model, data: DataConfig) -> ImageCache:
    """Returns the images of `[data]` that `model` is trained on."""
    return ImageCache(cache=data.cache, **which_images(model, data))


def which_images(model: keras.Model, data: DataConfig) -> dict:
    """Returns the arguments of `ImageCache` and `ImageSurvey` for these images."""
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
        config: The experiment, after `unpacked`.
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
