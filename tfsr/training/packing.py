"""Packs the images of a config into one file."""

from pathlib import Path

from tfsr.config import Config
from tfsr.data.packed import write_pack
from tfsr.errors import InputError
from tfsr.training.fit import prepare
from tfsr.training.images import training_images, unpacked

PIECE = 1.5  # side of a piece relative to that of a training patch


def pack(config: Config, file: str | Path, megabytes: int) -> dict:
    """Writes the images of `config`, or pieces of them, to `file`.

    Args:
        config: An experiment; others with the same or smaller patches may use the file.
        file: The file, for `[data] pack`.
        megabytes: Its largest size.

    Returns:
        As `write_pack`.

    Raises:
        InputError: If the images cannot be used, or do not fit.
    """
    if config.data.train_lr:
        raise InputError(
            f"{config.source}: [data] train_lr: LR files cannot be packed, as LR is "
            "made of the pieces."
        )
    config = unpacked(config)
    model, folders = prepare(config, resumed=True)
    images = training_images(model, config.data)
    side = int(config.train.patch * max(images.scales) * PIECE)
    return write_pack(file, megabytes, images, side, folders, config.data.channels)
