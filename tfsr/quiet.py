"""Silence for libraries that print to standard error below Python."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def import_keras() -> None:
    """Imports Keras without the messages TensorFlow prints before its logging is up."""
    with quiet_stderr():
        import keras  # noqa: F401


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Sends the process's standard error nowhere; exceptions still rise."""
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
