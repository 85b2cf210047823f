import errno
import json
import os
import subprocess
import sys

import pytest

from tfsr import files
from tfsr.errors import InputError


def test_a_file_is_replaced_whole(tmp_path):
    file = tmp_path / "model.weights.h5"
    files.write_text(file, "old")
    with files.replacing(file) as temporary:
        assert temporary.name.endswith(".weights.h5")
        temporary.write_text("new")
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert os.listdir(tmp_path) == ["model.weights.h5"]


def test_a_failure_leaves_the_file_as_it_was(tmp_path):
    file = tmp_path / "a.txt"
    files.write_text(file, "old")

    def fail():
        with files.replacing(file) as temporary:
            temporary.write_text("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("parent", ["missing", "file"])
def test_an_error_names_the_file_that_was_asked_for(tmp_path, parent):
    (tmp_path / "file").touch()
    file = tmp_path / parent / "a.txt"
    with pytest.raises(OSError, match="a\\.txt") as caught:
        files.write_text(file, "text")
    assert caught.value.filename == str(file)
    assert "tfsr-tmp" not in str(caught.value)


def test_a_full_disk_names_the_file(tmp_path):
    def fill():
        with files.replacing(tmp_path / "a.txt"):
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        fill()
    assert caught.value.filename == str(tmp_path / "a.txt")


def test_an_error_of_another_file_stays(tmp_path):
    def read():
        with files.replacing(tmp_path / "a.txt"):
            (tmp_path / "b.txt").read_text()

    with pytest.raises(FileNotFoundError, match="b\\.txt"):
        read()


def test_stale_temporary_files_are_removed(tmp_path):
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    ours = {f"tmp-{dead}-a-b.png", "log.csv"}
    for name in ours:
        (tmp_path / name).touch()
    stale = []
    for name in ("log.csv", "a.png"):
        with files.replacing(tmp_path / name) as temporary:
            stale.append(temporary.name.replace(f"-{os.getpid()}-", f"-{dead}-"))
            temporary.touch()
            (tmp_path / stale[-1]).touch()
            files.remove_stale(tmp_path, "other.csv")
            assert (tmp_path / stale[-1]).exists()
            files.remove_stale(tmp_path, name)
            assert not (tmp_path / stale[-1]).exists()
            (tmp_path / stale[-1]).touch()
    files.remove_stale(tmp_path)
    assert set(os.listdir(tmp_path)) == {*ours, "a.png"}


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("a" * 236 + ".jpg", ".jpg"),
        ("画" * 80 + ".png", ".png"),
        ("a." * 120, ""),
        ("v1.2.3 of a photo, so to speak.png", ".png"),
        ("best.weights.h5", ".weights.h5"),
        ("." + "b" * 250, ""),
    ],
)
def test_temporary_names_are_short_and_not_to_be_foreseen(tmp_path, name, ending):
    seen = set()
    for _ in range(3):
        with files.replacing(tmp_path / name) as temporary:
            temporary.write_text("new")
            assert len(temporary.name) < 72
            assert temporary.name.endswith(ending)
            seen.add(temporary.name)
    assert len(seen) == 3
    assert os.listdir(tmp_path) == [name]


def test_json_says_infinity_in_words(tmp_path):
    value = {"a": [float("inf"), (1, -float("inf"))], "b": {"c": 0.5, "d": None}}
    files.write_json(tmp_path / "a.json", value)
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "a": ["inf", [1, "-inf"]],
        "b": {"c": 0.5, "d": None},
    }


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


def test_kept_as_long_as_the_subject_is_the_same(tmp_path):
    file, made = tmp_path / "kept.json", []

    def make():
        made.append(1)
        return {"count": len(made), "best": float("inf")}

    assert files.cached_json(file, {"a": 1}) == {}
    assert not file.exists()
    expected = {"subject": {"a": 1}, "count": 1, "best": "inf"}
    for maker in (make, make, None):
        assert files.cached_json(file, {"a": 1}, maker) == expected
    assert files.cached_json(file, {"a": 2}) == {}
    assert files.cached_json(file, {"a": 2}, make)["count"] == 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text[:-9],
        lambda text: "[" * 100_000,
        lambda text: "[1]",
        lambda text: text.replace('"count": 1', '"count": 3'),
        lambda text: text.replace('"count": 1', '"count": null'),
    ],
)
def test_a_damaged_file_is_not_taken_for_what_was_kept(tmp_path, damage):
    file = tmp_path / "kept.json"
    files.cached_json(file, {"a": 1}, lambda: {"count": 1})
    file.write_text(damage(file.read_text()))
    with pytest.raises(InputError, match=r"kept\.json: damaged.*; delete it") as caught:
        files.cached_json(file, {"a": 1}, lambda: {"count": 2})
    assert "\n" not in str(caught.value)


def test_what_an_older_version_kept_is_made_again(tmp_path):
    file = tmp_path / "kept.json"
    files.write_json(file, {"subject": {"a": 1}, "count": 1})
    assert files.cached_json(file, {"a": 1}) == {}
    assert files.cached_json(file, {"a": 1}, lambda: {"count": 2})["count"] == 2


def test_names_that_are_not_utf_8_stop_no_report(tmp_path):
    files.write_text(tmp_path / "a.html", "caf\u00e9 \udcff")
    assert (tmp_path / "a.html").read_bytes() == "caf\u00e9 \\udcff".encode()


def test_a_lock_is_held_once_and_given_back(tmp_path):
    file = tmp_path / "lock"
    with (
        files.locked(file),
        pytest.raises(BlockingIOError),
        files.locked(file, wait=False),
    ):
        pass
    with files.locked(file, wait=False):
        pass
