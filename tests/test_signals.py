import signal
import subprocess
import sys

import pytest

from tfsr.cli import main

# Waits in a command, beside a file that is half written.
WAITING = """
import pathlib, signal, sys, time
from tfsr import files
from tfsr.cli import main, summary
class Waits:
    def __del__(self):
        print("ready", flush=True)
        time.sleep(60)
def wait(options):
    with files.replacing(pathlib.Path(sys.argv[1]) / "a.txt") as temporary:
        temporary.write_text("half")
        if sys.argv[2] == "collected":
            Waits()
        else:
            print("ready", flush=True)
        for _ in range(600):
            time.sleep(0.1)
summary.run = wait
signal.signal(signal.SIGINT, signal.default_int_handler)
if sys.argv[2] == "ignored":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
sys.exit(main(["summary", "carn_m"]))
"""


@pytest.mark.parametrize(
    ("name", "code", "message"),
    [
        ("SIGINT", 130, "interrupted."),
        ("SIGTERM", 143, "ended by SIGTERM."),
        ("SIGHUP", 129, "ended by SIGHUP."),
    ],
)
def test_a_signal_ends_in_a_line_and_leaves_nothing_half(tmp_path, name, code, message):
    with waiting(tmp_path, "") as process:
        process.send_signal(getattr(signal, name))
        out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert error == f"tfsr: {message}\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_in_a_garbage_collection_ends_too(tmp_path, name, code):
    with waiting(tmp_path, "collected") as process:
        process.send_signal(getattr(signal, name))
        _, error = process.communicate(timeout=60)
    assert process.returncode == code
    assert error.startswith("tfsr: ")
    assert not list(tmp_path.iterdir())


def test_a_signal_that_is_ignored_stays_so(tmp_path):
    with waiting(tmp_path, "ignored") as process:
        process.send_signal(signal.SIGHUP)  # as of nohup
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=60)
    assert process.returncode == 143
    assert error == "tfsr: ended by SIGTERM.\n"


def test_the_signals_are_given_back():
    before = signal.getsignal(signal.SIGTERM)
    assert main(["evaluate", "bicubic", "nowhere", "--json", "no/where"]) == 2
    assert signal.getsignal(signal.SIGTERM) == before


def waiting(folder, way):
    process = subprocess.Popen(
        [sys.executable, "-c", WAITING, folder, way],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process
