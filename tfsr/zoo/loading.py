"""Loads models, degradations and architectures from files and run folders."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from tfsr import files
from tfsr.errors import InputError, reason_of
from tfsr.zoo import released

if TYPE_CHECKING:
    import keras

    from tfsr.data.degradation_type import Degradation


def load_model(model: str | Path, scale: int | None = None) -> "keras.Model":
    """Returns a Keras model.

    Args:
        model: A run folder (its best weights), a `.keras` file or the name of a
            released model.
        scale: As for `released.find`; a network of several scales is returned whole.

    Raises:
        InputError: If there is no such model or the file is damaged.
    """
    file = find_model(model, scale)
    from tfsr.zoo.keras_models import read_keras

    if file.suffix == ".npz":
        return _load_arrays(file)
    return read_keras(file)


def find_model(model: str | Path, scale: int | None = None) -> Path:
    """Returns the file of a model, as for `load_model`, without loading Keras.

    Raises:
        InputError: If there is no such model.
    """
    file = released.find(model, scale)
    if file.is_dir():
        file = file / "model.keras"
    if not file.is_file():
        raise InputError(
            f"{model}: no such model; give a run folder, a .keras file or one of "
            f"{', '.join(released.names())}."
        )
    if file.suffix == ".tflite":
        raise InputError(
            f"{model}: a TFLite model where a Keras model is needed; only "
            "tfsr.load_upscaler and the commands that take .tflite files run it."
        )
    return file


def weights_sha256(model: "keras.Model") -> str:
    """Returns the SHA-256 of a Keras model's weights, in order, as hexadecimal digits.

    A `.tflite` file has that of the `single_scale(model, scale)` it was made from.
    """
    from keras import ops

    digest = hashlib.sha256()
    for weight in model.weights:
        digest.update(ops.convert_to_numpy(weight).tobytes())
    return digest.hexdigest()


def save_arrays(model: "keras.Model", file: str | Path) -> None:
    """Writes the weights of a Keras model, in order, as float16 in a `.npz` file."""
    import numpy as np

    weights = (weight.astype("float16") for weight in model.get_weights())
    with files.replacing(file) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, *weights)


def _load_arrays(file):
    """Returns the model of the config beside a `.npz` file, with the file's weights."""
    import numpy as np

    from tfsr.config import read_config

    config = file.with_suffix(".toml")
    if not config.is_file():
        raise InputError(f"{file}: has only weights; {config.name} must be beside it.")
    model = read_config(config).build()
    try:
        with open(file, "rb") as stream, np.load(stream) as arrays:
            weights = [arrays[name].astype("float32") for name in arrays.files]
        if not all(np.isfinite(weight).all() for weight in weights):
            raise ValueError("a weight is not finite")
        model.set_weights(weights)
    except MemoryError:
        raise
    except Exception as error:  # on damaged files NumPy raises nearly anything
        raise InputError(
            f"{file}: not the weights of the model in {config} ({reason_of(error)})."
        ) from None
    return model


def load_degradation(model: str | Path) -> "Degradation | None":
    """Returns the `Degradation` that `model` was trained on; None if unknown.

    Args:
        model: A run folder, the `model.keras` in it, or the name of a released model,
            all of which have a config. For other files it is unknown.

    Raises:
        InputError: If the config cannot be read.
    """
    config = _load_config(model)
    return config and config.data.task


def load_architecture(model: str | Path, scale: int | None = None) -> dict | None:
    """Returns the `[model]` table that `model` was trained with, without its scale.

    Returns None if it is unknown.

    Args:
        model: As for `load_degradation`, or a released `.tflite` file.
        scale: As for `released.find`.

    Raises:
        InputError: If the config cannot be read.
    """
    config = _load_config(model, scale)
    return config and {k: v for k, v in config.model.items() if k != "scale"}


def _load_config(model, scale=None):
    """Returns the `Config` of a run folder or a released model; None for others."""
    from tfsr.config import read_config

    file = released.find(model, scale)
    if file.suffix == ".npz" or file.parent == released.FOLDER:
        return read_config(released.config(file))
    config = (file if file.is_dir() else file.parent) / "config.toml"
    known = config.is_file() and (file.is_dir() or file.name == "model.keras")
    return read_config(config) if known else None
