"""Child processes for code that may raise, hang, crash or take all memory.

`multiprocessing` would run the caller's script a second time, so this module does
without it.
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
import tempfile
import threading
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tfsr import memory
from tfsr.errors import InputError

SERVE = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from tfsr.children import serve
serve()
"""
START_S = 120  # seconds for Python to start on a busy machine
ONCE_BYTES = 2**33  # memory limit of the processes that `call` and `run` start
is_child = False  # whether this process is a child, which starts no further ones


class ChildError(InputError):
    """A child process crashed, failed or did not answer within its deadline.

    Args:
        name: What it worked on.
        reason: Why it has no result.
        log: What it printed before.
    """

    def __init__(self, name: str, reason: str, log: str):
        self.reason = " ".join(reason.split())
        self.log = log
        super().__init__(f"{name}: {self.reason}.")


class Child:
    """A process that runs functions on request, one after another.

    Processes that it starts end with it, where the system has process groups.

    Args:
        name: What messages call it: the file that it works on.
        environment: Variables beside those of this process.

    Attributes:
        seconds: The deadline of an answer; None for none.
        memory_bytes: How much data an answer may add to what the process began with,
            where the system can hold it to that; None for any.

    Raises:
        InputError: If there is no Python to start.
    """

    def __init__(self, name: str, environment: Mapping[str, str] | None = None):
        if not sys.executable:
            raise InputError(f"{name}: needs a Python to run it apart from this one.")
        self.name = name
        self.seconds: float | None = START_S
        self.memory_bytes: int | None = None
        printed = tempfile.TemporaryFile()  # noqa: SIM115
        self._process: Any = subprocess.Popen(
            [sys.executable, "-c", SERVE, json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=printed,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
        self._log = ""
        self._end = weakref.finalize(self, _end, self._process, printed)
        self.run("builtins:bool")  # answers when it has started
        self.seconds = None

    def end(self) -> str:
        """Ends the process; returns all that it printed."""
        log = self._end()  # None but the first time
        if log is not None:
            self._log = log
        return self._log

    def run(self, function: str, *arguments: Any) -> Any:
        """Returns the result of `module:function(*arguments)` in the child.

        Raises:
            ChildError: If the process crashes or does not answer in time.
            Exception: What the function raises.
        """
        return self._ask("run", function, arguments)

    def make(self, function: str, *arguments: Any) -> None:
        """Creates an object by `module:function` in the child, for `call` to use.

        Raises:
            ChildError: As for `run`.
        """
        self._ask("make", function, arguments)

    def call(self, method: str, *arguments: Any) -> Any:
        """Returns the result of a method of the object that `make` created.

        Raises:
            ChildError: As for `run`.
        """
        return self._ask("call", method, arguments)

    def _ask(self, *question):
        stdin, stdout = self._process.stdin, self._process.stdout
        late = threading.Event()

        def stop():
            late.set()
            _kill(self._process)

        timer = threading.Timer(self.seconds or threading.TIMEOUT_MAX, stop)
        timer.daemon = True
        timer.start()
        try:
            pickle.dump((*question, self.memory_bytes), stdin, protocol=5)
            stdin.flush()
            is_value, answer = pickle.load(stdout)
        except (OSError, EOFError, ValueError, pickle.UnpicklingError):
            raise self._death(late.is_set()) from None
        except BaseException:  # interrupted: an answer that comes late is of no use
            self.end()
            raise
        finally:
            timer.cancel()
        if not is_value:
            raise answer
        return answer

    def _death(self, is_late):
        log = self.end()
        if is_late:
            reason = f"no answer within {round(self.seconds, 1):g} s"
            return ChildError(self.name, reason, log)
        reason = f"its process crashed ({_named(self._process.returncode)})"
        if self.memory_bytes:
            reason += f" or wanted more than {self.memory_bytes / 2**30:.1f} GB"
        return ChildError(self.name, reason, log)


def call(
    name: str,
    function: str,
    *arguments: Any,
    seconds: float,
    environment: Mapping[str, str] | None = None,
) -> tuple[Any, str]:
    """Returns a function's result in a new child, and the text printed meanwhile.

    Args:
        name: As for `Child`.
        function: `module:function`.
        arguments: Its arguments.
        seconds: How long it may take.
        environment: As for `Child`.

    Raises:
        ChildError: If the process crashes or does not answer in time, or if the
            function raises an exception.
    """
    child = Child(name, environment)
    child.seconds, child.memory_bytes = seconds, ONCE_BYTES
    try:
        value = child.run(function, *arguments)
    except ChildError:
        raise
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise ChildError(name, reason, child.end()) from None
    return value, child.end()


def run(
    name: str,
    command: Sequence[str | Path],
    seconds: float,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Returns the text that a program prints.

    Args:
        name: As for `Child`.
        command: The program's path and its arguments.
        seconds: How long it may take.
        environment: As for `Child`.

    Raises:
        ChildError: If it fails, crashes or takes longer.
    """
    command = [*map(str, command)]
    code, log = call(
        name, "subprocess:call", command, seconds=seconds, environment=environment
    )
    if code:
        *_, last = ["it printed nothing", *filter(str.strip, log.splitlines())]
        raise ChildError(name, f"it failed ({_named(code)}: {last})", log)
    return log


def _named(code):
    """Returns an exit code in words, such as the signal that ended the process."""
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"exit code {code}"


def _end(process, printed):
    """Ends a process and those that it started; returns the text they printed."""
    with contextlib.suppress(OSError):
        process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(0.2)  # it ends of itself if it waits for a question
    _kill(process)
    process.wait()
    process.stdout.close()
    with printed:
        printed.seek(0)
        return printed.read().decode(errors="replace")


def _kill(process):
    if not hasattr(os, "killpg"):  # Windows has no groups
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended
        os.killpg(process.pid, signal.SIGKILL)


def serve() -> None:
    """Serves the requests of a `Child` on standard input until it is closed."""
    global is_child
    is_child = True
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # printed text goes to the log
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
                answer = pickle.dumps((False, _sendable(error)))
            sys.stdout.flush()
            answers.write(answer)
            answers.flush()


def _sendable(error):
    """Returns `error`, or an exception with its message if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(str(error) or type(error).__name__)
    return error


def _limit(memory_bytes):
    """Limits how much this process may add to its data; None sets no limit."""
    try:
        import resource
    except ImportError:  # Windows has none
        return
    with contextlib.suppress(OSError, ValueError):  # some systems refuse it
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        limit = resource.RLIM_INFINITY
        if memory_bytes is not None:
            limit = _data_at_start() + memory_bytes
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


@functools.cache
def _data_at_start():
    """Returns the bytes of data that this process starts with; 0 if unknown."""
    if not memory.STATUS.exists():
        return 0
    status = memory.STATUS.read_text(encoding="utf-8")
    return 1024 * int(status.partition("VmData:")[2].split()[0])
