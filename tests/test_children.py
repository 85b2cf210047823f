"""What a child process does wrong is a line, and nothing goes wrong here."""

import subprocess
import sys

import pytest

from tfsr import memory
from tfsr.children import Child, ChildError


@pytest.fixture
def child():
    return Child("m.tflite")


def test_functions_and_an_object_there(child):
    assert child.run("math:hypot", 3, 4) == 5
    child.make("collections:deque", [1, 2])
    child.call("append", 3)
    assert child.call("popleft") == 1
    with pytest.raises(TypeError, match="integer"):  # as it would be raised here
        child.call("rotate", "x")
    assert child.call("pop") == 3
    assert child.run("os:getpid") == child._process.pid


def test_a_crash_is_one_line(child):
    with pytest.raises(ChildError, match=r"^m\.tflite: crashes .* \(SIGABRT\)\.$"):
        child.run("os:abort")
    assert child._process.returncode == -6


def test_no_end_is_one_line(child):
    child.seconds = 0.3
    with pytest.raises(ChildError, match=r"^m\.tflite: no end within 0 s\.$"):
        child.run("time:sleep", 60)


@pytest.mark.skipif(not memory.STATUS.exists(), reason="only Linux limits data")
def test_memory_is_limited(child):
    child.memory_bytes = 2**28
    assert len(child.run("builtins:bytearray", 2**20)) == 2**20
    with pytest.raises(MemoryError):
        child.run("builtins:bytearray", 2**29)


def test_the_child_ends_with_its_parent(tmp_path):
    script = tmp_path / "script.py"  # without a guard of `__main__`
    script.write_text(
        "from tfsr.children import Child\n"
        "child = Child('m')\n"
        "print(child.run('os:getpid'))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", script],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip().isdecimal()
    assert done.stderr == ""
