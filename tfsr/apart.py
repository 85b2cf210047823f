"""Runs what may throw, hang, abort or ask for all memory in a process of its own.

Not by `multiprocessing`, which would run the caller's script once more.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

GIGABYTES = 8  # of memory that a process may take
LIMIT = """
import os, sys
try:
    import resource
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[1]),) * 2)
except (ImportError, OSError, ValueError):  # Windows has none
    pass
os.execv(sys.argv[2], sys.argv[2:])
"""
CALL = """
import json, pkgutil, sys
path, function, arguments, answer = json.loads(sys.argv[1])
sys.path[:] = path
try:
    answered = {"value": pkgutil.resolve_name(function)(*arguments)}
except Exception as error:
    answered = {"error": f"{error or type(error).__name__}"}
with open(answer, "w") as file:
    json.dump(answered, file)
"""


class ApartError(Exception):
    """A process apart gave no result, for the reason in the message.

    Attributes:
        log: What it printed before.
    """

    def __init__(self, reason: str, log: str):
        super().__init__(" ".join(reason.split()))
        self.log = log


def run(
    command: Sequence[str | Path],
    seconds: float,
    environment: Mapping[str, str] | None = None,
) -> str:
    """Returns all that a command prints.

    Args:
        command: The program's path and its arguments.
        seconds: How long it may take.
        environment: Variables beside those of this process.

    Raises:
        ApartError: If it fails, crashes or takes longer.
    """
    limit = [sys.executable, "-c", LIMIT, str(GIGABYTES * 2**30)]
    with tempfile.TemporaryFile() as printed:
        process = subprocess.Popen(
            [*limit, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,  # all that it starts ends with it
        )
        late = False
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            late = True
        finally:
            _end(process)
        printed.seek(0)
        log = printed.read().decode(errors="replace")
    if late:
        raise ApartError(f"no answer within {seconds:g} s", log)
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        raise ApartError(f"it crashed ({name})", log)
    if process.returncode:
        last = [line.strip() for line in log.splitlines() if line.strip()][-1:]
        reason = last[0] if last else "it printed nothing"
        raise ApartError(f"it failed (exit code {process.returncode}: {reason})", log)
    return log


def call(
    function: str,
    *arguments: Any,
    seconds: float,
    environment: Mapping[str, str] | None = None,
) -> tuple[Any, str]:
    """Returns what a function returns, and all that was printed meanwhile.

    Args:
        function: `module:function`.
        arguments: What JSON can hold; so must be what the function returns.
        seconds: As for `run`.
        environment: As for `run`.

    Raises:
        ApartError: As for `run`, or if the function raises an exception.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        request = json.dumps([sys.path, function, arguments, str(answer)])
        command = [sys.executable, "-c", CALL, request]
        log = run(command, seconds, environment)
        answered = json.loads(answer.read_text())
    if "error" in answered:
        raise ApartError(answered["error"], log)
    return answered["value"], log


def _end(process):
    with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
