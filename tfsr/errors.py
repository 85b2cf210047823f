import contextlib
import re
from collections.abc import Callable, Iterator
from typing import Any


class InputError(ValueError):
    """The user's mistake: a file, folder, option or config value that cannot be used.

    The message is one line that names the mistake and says what would be right. The
    command line prints it and exits with 2.
    """


class NotFiniteError(ValueError):
    """Weights, a loss or an output are NaN or infinite: the training has diverged.

    The command line prints its one line and exits with 1.
    """


class WorkerLostError(RuntimeError):
    """Another worker of a training on several machines has stopped.

    The command line prints its one line and exits with 1.
    """


@contextlib.contextmanager
def naming_memory() -> Iterator[None]:
    """Turns out-of-memory errors of TensorFlow and JAX into `MemoryError`."""
    try:
        yield
    except Exception as error:
        kind = type(error).__name__
        if kind == "ResourceExhaustedError" or "RESOURCE_EXHAUSTED" in str(error):
            raise MemoryError(str(error)) from None
        raise


def reason_of(error: Exception) -> str:
    """Returns the message of an exception as one line of 200 characters at most.

    It is without the colours and the names of nodes that TensorFlow adds.
    """
    plain = re.sub(r"\x1b\[\d*m|\{\{.*?\}\}", "", str(error))
    return " ".join(plain.split())[:200] or type(error).__name__


def or_input_error(function: Callable, *arguments: Any) -> Any:
    """Returns `function(*arguments)`; turns its `ValueError` into an `InputError`."""
    try:
        return function(*arguments)
    except ValueError as error:
        raise InputError(error) from None
