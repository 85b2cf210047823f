"""Python in a process of its own, which may crash, hang or ask for all memory.

Not by `multiprocessing`, which would run the caller's script once more.
"""

import contextlib
import functools
import json
import os
import pickle
import pkgutil
import signal
import subprocess
import sys
import threading
import weakref
from typing import Any

from tfsr import memory
from tfsr.errors import InputError

SERVE = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from tfsr.children import serve
serve()
"""
START_S = 120  # for Python to start, on a machine that does much else
is_child = False  # whether this process is one; what it runs needs no other


class ChildError(InputError):
    """A child process crashed, or did not end within its deadline."""


class Child:
    """A process that does what it is asked for, one thing after another.

    Args:
        name: What messages call it: the file that it works on.

    Attributes:
        seconds: The deadline of an answer; None for none.
        memory_bytes: How much data an answer may add to what the process began with,
            where the system can hold it to that; None for any.

    Raises:
        InputError: If there is no Python to start.
    """

    def __init__(self, name: str):
        if not sys.executable:
            raise InputError(f"{name}: needs a Python to run it apart from this one.")
        self.name = name
        self.seconds: float | None = START_S
        self.memory_bytes: int | None = None
        self._process: Any = subprocess.Popen(
            [sys.executable, "-c", SERVE, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._end = weakref.finalize(self, _end, self._process)
        self.run("builtins:bool")  # answers when it has started
        self.seconds = None

    def run(self, function: str, *arguments: Any) -> Any:
        """Returns what `module:function` returns there of `arguments`.

        Raises:
            ChildError: If the process crashes or does not answer in time.
            Exception: What the function raises.
        """
        return self._ask("run", function, arguments)

    def make(self, function: str, *arguments: Any) -> None:
        """Calls `module:function` there; `call` is for the object that it returns.

        Raises:
            ChildError: As for `run`.
        """
        self._ask("make", function, arguments)

    def call(self, method: str, *arguments: Any) -> Any:
        """Returns what a method of the object returns that `make` has made.

        Raises:
            ChildError: As for `run`.
        """
        return self._ask("call", method, arguments)

    def _ask(self, *question):
        stdin, stdout = self._process.stdin, self._process.stdout
        late = threading.Event()

        def stop():
            late.set()
            self._process.kill()

        timer = threading.Timer(self.seconds or threading.TIMEOUT_MAX, stop)
        timer.daemon = True
        timer.start()
        try:
            pickle.dump((*question, self.memory_bytes), stdin, protocol=5)
            stdin.flush()
            is_value, answer = pickle.load(stdout)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            raise self._death(late.is_set()) from None
        finally:
            timer.cancel()
        if not is_value:
            raise answer
        return answer

    def _death(self, is_late):
        self._end()
        if is_late:
            return ChildError(f"{self.name}: no end within {self.seconds:.0f} s.")
        code = self._process.returncode
        reason = f"exit code {code}"
        with contextlib.suppress(ValueError):
            reason = signal.Signals(-code).name
        limit = self.memory_bytes
        more = f" or wants more than {limit / 2**30:.1f} GB" if limit else ""
        return ChildError(f"{self.name}: crashes what runs it ({reason}){more}.")


def _end(process):
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(0.2)  # it ends of itself if it waits for a question
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()


def serve() -> None:
    """Answers the questions of a `Child` on standard input until it ends."""
    global is_child
    is_child = True
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # native libraries write to them
        os.dup2(nowhere, stream)
    made = None
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            kind, name, arguments, memory_bytes = pickle.load(questions)
            _limit(memory_bytes)
            try:
                if kind == "call":
                    value = getattr(made, name)(*arguments)
                else:
                    value = pkgutil.resolve_name(name)(*arguments)
                if kind == "make":
                    made, value = value, None
                answer = pickle.dumps((True, value), protocol=5)
            except Exception as error:
                answer = pickle.dumps((False, error))
            answers.write(answer)
            answers.flush()


def _limit(memory_bytes):
    """Limits what this process adds to its data, where it can; None for no limit."""
    try:
        import resource
    except ImportError:  # Windows has none
        return
    with contextlib.suppress(OSError, ValueError):  # what some systems refuse
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        limit = resource.RLIM_INFINITY
        if memory_bytes is not None:
            limit = _data_at_start() + memory_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


@functools.cache
def _data_at_start():
    """Returns how much data this process has at first; 0 where nothing tells."""
    if not memory.STATUS.exists():
        return 0
    status = memory.STATUS.read_text()
    return 1024 * int(status.partition("VmData:")[2].split()[0])
