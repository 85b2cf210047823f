"""LiteRT's interpreter; it reads files of other programs only in a child process."""

import functools
import math
import time
from pathlib import Path
from typing import Any

from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tfsr import children
from tfsr.memory import available_memory
from tfsr.tflite.checking import check
from tfsr.tflite.flatbuffer import pack
from tfsr.tflite.metadata import is_trusted

# Limits of a child process. Upscaling by 4 takes about 1 KB of memory for each value of
# LR and, on a slow core, 0.1 ms.
BYTES, BYTES_OF_VALUE = 2**30, 2**12
SECONDS, SECONDS_OF_VALUE = 15.0, 1e-3


class TimedInterpreter(Interpreter):
    """An interpreter that can time itself, wherever it is."""

    def invoke_ms(self) -> float:
        """Runs the model once; returns how many milliseconds that took."""
        started = time.perf_counter()
        self.invoke()
        return (time.perf_counter() - started) * 1e3


def interpreter_of(file: str | Path, threads: int, delegates: bool = True) -> Any:
    """Returns the interpreter of a `.tflite` file, in a child process unless trusted.

    Args:
        file: The file.
        threads: CPU threads.
        delegates: Whether XNNPACK runs what it takes; if not, LiteRT's own kernels do.

    Raises:
        InputError: If it is not trusted, and damaged or harmful.
    """
    if children.is_child or is_trusted(Path(file).read_bytes()):
        return TimedInterpreter(str(file), **_options(threads, delegates))
    return GuardedInterpreter(str(file), threads, delegates)


def _options(threads, delegates):
    kind = "AUTO" if delegates else "BUILTIN_WITHOUT_DEFAULT_DELEGATES"
    resolver = OpResolverType[kind]
    return {"num_threads": threads, "experimental_op_resolver_type": resolver}


def checked_interpreter(
    file: str, threads: int, delegates: bool = True
) -> TimedInterpreter:
    """Returns the interpreter of another program's file, for a child process.

    Raises:
        InputError: If the file is damaged or harmful.
    """
    content = pack(check(Path(file).read_bytes(), file))
    return TimedInterpreter(model_content=content, **_options(threads, delegates))


def child_of(file: str, values: int) -> children.Child:
    """Returns a child process for a file, with a deadline and a limit of its memory.

    Args:
        file: The file.
        values: How many numbers its input has.
    """
    child = children.Child(file)
    _allow(child, values)
    return child


def _allow(child, values):
    child.memory_bytes = min(BYTES + BYTES_OF_VALUE * values, available_memory())
    child.seconds = SECONDS + SECONDS_OF_VALUE * values


class GuardedInterpreter:
    """An interpreter in a child process; has the methods of `TimedInterpreter`.

    Each raises `ChildError` where the child crashes or does not end in time.
    """

    def __init__(self, file: str, threads: int, delegates: bool = True):
        self._child = child_of(file, 0)
        maker = "tfsr.tflite.interpreters:checked_interpreter"
        self._child.make(maker, file, threads, delegates)
        self._allow(*(lr["shape"] for lr in self.get_input_details()))

    def __getattr__(self, method: str) -> Any:
        if method.startswith("__"):
            raise AttributeError(method)
        return functools.partial(self._child.call, method)

    def resize_tensor_input(self, index: int, shape: tuple[int, ...]) -> None:
        self._allow(shape)
        self._child.call("resize_tensor_input", index, shape)

    def _allow(self, *shapes):
        _allow(self._child, sum(math.prod(map(int, shape)) for shape in shapes))
