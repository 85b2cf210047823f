"""Saves and loads the weights of a run and the state to resume it from."""

import io
import zlib
from pathlib import Path

import keras

from tfsr import files
from tfsr.errors import InputError, reason_of


class _InMemory(io.BytesIO):
    """A file in memory whose name makes Keras write weights into it."""

    def __str__(self):
        return "memory.weights.h5"


def save_weights(model: keras.Model, file: Path) -> None:
    """Writes the weights of `model` and its optimizer atomically.

    HDF5 only writes to memory, because on a full disk it ends the process with a
    segmentation fault (h5py 3.14).
    """
    files.write_bytes(file, _weights(model))


def _weights(model):
    content = _InMemory()
    model.save_weights(content)
    return content.getbuffer()


def _checksum(content):
    return f"{zlib.crc32(content):08x}"


def completed_epochs(out: str | Path) -> int:
    """Returns how many epochs the run in the folder `out` has completed."""
    states = _states(out)
    return int(states[-1].name.split("_")[1].split(".")[0]) if states else 0


def save_state(out: str | Path, trainee: keras.Model, epoch: int) -> None:
    """Saves the state after `epoch` epochs in the run folder `out`; deletes older ones.

    Args:
        out: The run folder.
        trainee: The network in training.
        epoch: Completed epochs.
    """
    content = _weights(trainee)
    name = f"epoch_{epoch:06d}_{_checksum(content)}.weights.h5"
    state = Path(out) / "backup" / name
    state.parent.mkdir(exist_ok=True)
    files.write_bytes(state, content)
    for other in set(_states(out)) - {state}:
        other.unlink()


def load_state(out: str | Path, trainee: keras.Model) -> bool:
    """Loads the last state in the run folder `out`; returns whether there is one.

    Args:
        out: The run folder.
        trainee: The network in training, which gets weights and optimizer state.

    Raises:
        InputError: If the state cannot be read.
    """
    states = _states(out)
    if not states:
        return False
    state = states[-1]
    _, _, checksum = state.name.split(".")[0].rpartition("_")
    try:
        # States of an older tfsr have no checksum.
        if len(checksum) == 8 and checksum != _checksum(state.read_bytes()):
            raise ValueError("its checksum does not match")
        trainee.load_weights(state)
    except MemoryError:
        raise
    except Exception as error:  # on damaged files HDF5 and Keras raise nearly anything
        raise InputError(
            f"{state}: not a readable training state ({reason_of(error)}); "
            "delete it to train from the start."
        ) from None
    return True


def _states(out):
    return sorted((Path(out) / "backup").glob("epoch_*.weights.h5"))
