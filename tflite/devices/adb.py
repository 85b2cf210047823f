"""Commands and files on a phone, through Android's `adb`."""

import os
import shlex
import shutil
import subprocess
from pathlib import Path

from tfsr.errors import InputError

EXIT = "tfsr-exit:"  # printed before the exit code, which old phones do not return
ANSWER_S = 60  # time limit of commands that do not compute
COPY_S = 600

NO_SERIAL = "(no serial number)"  # what adb calls a phone that tells none

# The states in which `adb devices` lists a phone that cannot be used, with advice.
STATES = {
    "unauthorized": "unauthorized; accept the prompt about USB debugging on the phone.",
    "authorizing": "not authorized yet; accept the prompt on the phone and try again.",
    "offline": "offline; reconnect the cable or run adb reconnect.",
    "no permissions": "no permission to use the USB device; see adb's udev rules.",
}


class AdbError(InputError):
    """The phone cannot be reached or refuses a command."""


class AdbTimeoutError(AdbError):
    """A command takes longer than its time limit."""


class Adb:
    """A phone connected by `adb`.

    Args:
        serial: The phone's serial number; by default `ANDROID_SERIAL`, or the only
            phone there is.

    Raises:
        AdbError: If there is no `adb`, no usable phone, or more than one to choose.
    """

    def __init__(self, serial: str | None = None):
        self.program = shutil.which("adb")
        if self.program is None:
            raise AdbError(
                "adb: not found on the PATH; install Android's platform tools "
                "(Debian and Ubuntu: apt install adb)."
            )
        self.serial = self._choose(serial or os.environ.get("ANDROID_SERIAL"))

    def shell(self, command: str, timeout_s: float = ANSWER_S) -> tuple[int, str]:
        """Returns the exit code of a command on the phone, and all that it printed.

        Args:
            command: The command, for the phone's shell.
            timeout_s: Time limit of the command.

        Raises:
            AdbTimeoutError: If the command takes longer; it may still run on the phone.
            AdbError: If the phone cannot be reached any more.
        """
        done = self._run(
            ["-s", self.serial, "shell", f"({command}) 2>&1; echo {EXIT}$?"], timeout_s
        )
        output, mark, code = done.stdout.rpartition(EXIT)
        if not mark or not code.strip().isdigit():
            reason = _error(done.stderr) or "the connection ended"
            raise AdbError(f"{self.serial}: lost the phone ({reason}).")
        return int(code), output

    def push(self, file: str | Path, target: str) -> None:
        """Copies a file of this machine to the path `target` on the phone.

        Raises:
            AdbError: If the phone cannot be reached any more or has no space left.
        """
        done = self._run(
            ["-s", self.serial, "push", str(file), target], timeout_s=COPY_S
        )
        if "No space left" in done.stdout + done.stderr:
            size_mb = Path(file).stat().st_size / 1e6
            raise AdbError(
                f"{self.serial}: no space left on the phone for {file} "
                f"({size_mb:.1f} MB) in {Path(target).parent.parent}."
            )
        if done.returncode:
            raise AdbError(f"{self.serial}: cannot copy {file} ({_reason(done)}).")

    def pull(self, file: str, target: str | Path) -> bool:
        """Copies a file of the phone to this machine; returns whether it exists.

        Raises:
            AdbError: If the phone cannot be reached any more.
        """
        code, _ = self.shell(f"test -f {shlex.quote(file)}")
        if code:
            return False
        done = self._run(
            ["-s", self.serial, "pull", file, str(target)], timeout_s=COPY_S
        )
        if done.returncode:
            raise AdbError(f"{self.serial}: cannot fetch {file} ({_reason(done)}).")
        return True

    def _choose(self, serial):
        done = self._run(["devices"], ANSWER_S)
        if done.returncode:
            raise AdbError(f"adb: cannot list phones ({_reason(done)}).")
        _, _, listed = done.stdout.partition("List of devices attached")
        states = _states(listed)
        if not states:
            raise AdbError(
                "adb: no phone; connect one by USB and allow USB debugging in its "
                "developer options."
            )
        names = ", ".join(states)
        if serial is None and len(states) > 1:
            raise AdbError(f"adb: several phones ({names}); choose one with --serial.")
        serial = serial or next(iter(states))
        if serial not in states:
            raise AdbError(f"{serial}: no such phone; adb has {names}.")
        state = states[serial]
        if serial == NO_SERIAL and state == "device":
            raise AdbError("adb: a phone without a serial number; restart the phone.")
        if state != "device":
            known = next((s for s in STATES if state.startswith(s)), None)
            advice = STATES.get(known, f"is in state {state!r}; start Android on it.")
            raise AdbError(f"{serial}: {advice}")
        return serial

    def _run(self, arguments, timeout_s):
        """Runs `adb` in a session of its own, so that Ctrl-C reaches only Python."""
        try:
            return subprocess.run(
                [self.program, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout_s,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            raise AdbTimeoutError(
                f"adb {' '.join(arguments[:3])}: no answer within {timeout_s:g} s."
            ) from None


def _states(listed):
    """Returns the states that `adb devices` lists, by the phones' serial numbers.

    A tab stands between them. The serial of a phone found by wireless may hold spaces
    and brackets, and a USB device that may not be opened can have none.
    """
    states = {}
    for line in listed.splitlines():
        serial, tab, state = line.rpartition("\t")
        if tab:
            states[serial.strip() or NO_SERIAL] = state.strip()
    return states


def _reason(done):
    """Returns why `adb` failed; errors of copying go to its standard output."""
    return _error(done.stdout + done.stderr) or f"adb's exit code is {done.returncode}"


def _error(printed):
    """Returns the line that has the error, else the last; None if there is none.

    What follows an error is advice, or a sum of what was copied.
    """
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line]
    return next(iter(errors or lines[-1:]), None)
