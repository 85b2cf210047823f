"""What a child process does wrong is a line, and nothing goes wrong here."""

import os
import re
import subprocess
import sys
import time

import pytest

from tfsr import children, memory
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
    expected = r"^m\.tflite: its process crashed \(SIGABRT\)\.$"
    with pytest.raises(ChildError, match=expected) as caught:
        child.run("os:abort")
    assert caught.value.reason == "its process crashed (SIGABRT)"
    assert child._process.returncode == -6


def test_no_answer_is_one_line(child):
    child.seconds = 0.3
    with pytest.raises(ChildError, match=r"^m\.tflite: no answer within 0\.3 s\.$"):
        child.run("time:sleep", 60)


def test_an_exception_that_cannot_be_sent_is_its_message(child):
    """A `ChildError` is one, as it is made of three things."""
    with pytest.raises(RuntimeError, match=r"^m: it failed \(exit"):
        child.run("tfsr.children:run", "m", ["/bin/false"], 60)


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


def test_a_value_and_what_was_printed():
    value, log = children.call("m", "os:listdir", os.path.dirname(__file__), seconds=60)
    assert os.path.basename(__file__) in value
    assert log == ""
    script = "import os; print('a', flush=True); os.system('echo b'); print('c')"
    _, log = children.call("m", "builtins:exec", script, seconds=60)
    assert log == "a\nb\nc\n"


def test_an_exception_is_the_reason():
    with pytest.raises(ChildError, match=r"^m: invalid literal for int.*'x'\.$"):
        children.call("m", "builtins:int", "x", seconds=60)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("print('so'); import os; os.abort()", r"^it failed \(SIGABRT: so\)$"),
        ("import sys; print('so'); sys.exit(3)", r"^it failed \(exit code 3: so\)$"),
        ("import os; os._exit(4)", r"^it failed \(exit code 4: it printed nothing\)$"),
        ("bytearray(2 ** 40)", r"^it failed \(exit code 1: MemoryError\)$"),
    ],
)
def test_a_program_that_fails_is_one_line(code, reason):
    with pytest.raises(ChildError) as caught:
        children.run("m", [sys.executable, "-u", "-c", code], 60)
    assert re.search(reason, caught.value.reason)
    assert str(caught.value) == f"m: {caught.value.reason}."


def test_what_hangs_ends_with_all_that_it_started(tmp_path):
    script = f"(sleep 0.7; touch {tmp_path}/late) & echo so; sleep 60"
    with pytest.raises(ChildError, match=r"^m: no answer within 0\.3 s\.$") as caught:
        children.run("m", ["/bin/sh", "-c", script], 0.3)
    assert caught.value.log == "so\n"
    time.sleep(0.6)
    assert not (tmp_path / "late").exists()


def test_variables_beside_ours():
    log = children.run("m", ["/bin/sh", "-c", "echo $A $HOME"], 60, {"A": "1"})
    assert log.split() == ["1", os.environ["HOME"]]
