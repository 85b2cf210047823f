import os
import sys
import time

import pytest

from tfsr import apart


def test_a_value_and_what_was_printed():
    value, log = apart.call("os:listdir", os.path.dirname(__file__), seconds=60)
    assert os.path.basename(__file__) in value
    assert log == ""


def test_an_exception_is_the_reason():
    with pytest.raises(apart.ApartError, match=r"^invalid literal for int"):
        apart.call("builtins:int", "x", seconds=60)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("print('so'); import os; os.abort()", r"^it crashed \(SIGABRT\)$"),
        ("import sys; print('so'); sys.exit(3)", r"^it failed \(exit code 3: so\)$"),
        ("bytearray(2 ** 40)", r"^it failed \(exit code 1: MemoryError\)$"),
        ("import time; print('so', flush=True); time.sleep(60)", r"^no answer within"),
    ],
)
def test_every_end_but_a_good_one_is_one_line(code, reason):
    seconds = 0.5 if "sleep" in code else 60
    with pytest.raises(apart.ApartError, match=reason) as caught:
        apart.run([sys.executable, "-u", "-c", code], seconds)
    assert "so" in caught.value.log or "MemoryError" in caught.value.log


def test_what_hangs_ends_with_all_that_it_started(tmp_path):
    script = f"(sleep 0.7; touch {tmp_path}/late) & sleep 60"
    with pytest.raises(apart.ApartError, match=r"^no answer within 0\.3 s$"):
        apart.run(["/bin/sh", "-c", script], 0.3)
    time.sleep(0.6)
    assert not (tmp_path / "late").exists()


def test_variables_beside_ours():
    log = apart.run(["/bin/sh", "-c", "echo $A $HOME"], 60, {"A": "1"})
    assert log.split() == ["1", os.environ["HOME"]]
