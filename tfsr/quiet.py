"""Silences native libraries that print to standard error without Python's streams."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tfsr.extras import explained


def import_keras() -> None:
    """Imports Keras without the messages TensorFlow prints before its logging is up.

    It enables oneDNN unless `TF_ENABLE_ONEDNN_OPTS` is set. TensorFlow leaves it off on
    processors without AVX512_VNNI, where a training step of a small network then takes
    2.5 times the CPU time (docs/training.md).
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    with explained(), quiet_stderr():
        import keras  # noqa: F401


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Discards the standard error of the process inside the block.

    Exceptions propagate.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
