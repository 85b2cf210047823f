"""Photos without what Windows lacks: modules, signals, and UTF-8 as the encoding."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tfsr import files
from tfsr.errors import InputError

ROOT = Path(__file__).parent.parent
# Python runs it at its start, in the processes that a command starts too.
AS_ON_WINDOWS = """
import os, signal, sys
for name in ("fcntl", "grp", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in ("fork", "getuid", "killpg", "mkfifo", "sched_getaffinity", "setsid"):
    delattr(os, name)
for name in ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGPIPE", "SIGQUIT", "SIGUSR1"):
    delattr(signal, name)
"""
ENCODINGS = {  # those of a redirected console, and an error where none is named
    "PYTHONIOENCODING": "cp1252",
    "PYTHONWARNDEFAULTENCODING": "1",
    "PYTHONWARNINGS": "error::EncodingWarning",
}


@pytest.fixture
def windows(tmp_path, photographs):
    """Runs a command; `photos/` has photographs with names in other scripts."""
    (tmp_path / "start").mkdir()
    Path(tmp_path, "start", "sitecustomize.py").write_text(AS_ON_WINDOWS)
    (tmp_path / "photos" / "été").mkdir(parents=True)
    with Image.open(photographs / "coffee.png") as photo:
        crop = photo.convert("RGB").crop((0, 0, 60, 40))
    crop.save(tmp_path / "photos" / "写真.png")
    crop.save(tmp_path / "photos" / "été" / "plage.jpg")
    path = os.pathsep.join([str(tmp_path / "start"), str(ROOT)])

    def run(*arguments, module="tfsr"):
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=tmp_path,
            env={**os.environ, **ENCODINGS, "PYTHONPATH": path},
            capture_output=True,
            encoding="cp1252",
        )

    return run


@pytest.mark.parametrize(
    ("command", "made"),
    [
        ("upscale photos -o large", ["large/写真.png", "large/été/plage.jpg"]),
        ("restore photos/été/plage.jpg", ["photos/été/plage_restored.jpg"]),
        ("benchmark sesr_s_x2_int8 --size 32x32 --runs 1 --json t.json", ["t.json"]),
        ("inspect sesr_s_x2_int8", []),
        ("models", []),
    ],
)
def test_photos(windows, tmp_path, command, made):
    done = windows(*command.split())
    assert done.returncode == 0, done.stderr
    assert [name for name in made if not (tmp_path / name).is_file()] == []


def test_a_name_that_the_encoding_lacks_is_escaped(windows):
    done = windows("evaluate", "sesr_s_x2_int8", "photos")
    assert done.returncode == 0, done.stderr
    assert "\\u5199\\u771f" in done.stdout


def test_training_is_refused_in_one_line(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(InputError, match="on Windows, run it in WSL"):
        files.fill_once(tmp_path / "folder", Path.touch)
