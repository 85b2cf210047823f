"""What README and docs show: commands parse, files exist, code runs."""

import itertools
import re
import shlex
from pathlib import Path

import pytest

from tfsr.cli.program import _parser

ROOT = Path(__file__).parent.parent
EXAMPLE = "configs/espcn/espcn.toml"  # for the reader to write
BLANKS = {"S": "2", "Q": "10", "SIGMA": "25"}  # for the reader to fill in
PAGES = [ROOT / "README.md", ROOT / "tflite" / "README.md", *ROOT.glob("docs/*.md")]


def _commands(page):
    """Yields every command of a page that starts with tfsr, as a shell has it."""
    text = page.read_text()
    blocks = re.findall(r"^```\n(.*?)^```", text, re.M | re.S)
    inline = re.findall(r"`(tfsr [^`]+)`", re.sub(r"(?ms)^```.*?^```", "", text))
    lines = [line for block in blocks for line in _whole_lines(block)]
    for line in (*lines, *(" ".join(span.split()) for span in inline)):
        if line.startswith("tfsr "):
            yield line.partition("#")[0].strip()


def _whole_lines(block):
    return re.sub(r"\\\n\s*", " ", block).splitlines()


def _braces(word):
    """Expands {a,b} as a shell does."""
    found = re.fullmatch(r"(.*)\{(.*)\}(.*)", word)
    if not found:
        return [word]
    head, middle, tail = found.groups()
    return [head + part + tail for part in middle.split(",")]


def _is_whole(command):
    """Returns whether a command can be typed as it stands, without a blank to fill."""
    return "..." not in command and " [" not in command and len(command.split()) > 2


ALL = [
    pytest.param(command, id=f"{page.stem}-{i}")
    for page in PAGES
    for i, command in enumerate(_commands(page))
    if _is_whole(command)
]


@pytest.mark.parametrize("command", ALL)
def test_commands_parse(command):
    words = itertools.chain.from_iterable(map(_braces, shlex.split(command)[1:]))
    _parser().parse_args([BLANKS.get(word, word) for word in words])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_named_exist(page):
    text = page.read_text()
    named = re.findall(r"\b(?:configs|benchmarks|tests)/[\w/{},.]+?\.(?:toml|py)", text)
    named = itertools.chain.from_iterable(map(_braces, named))
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if ":" not in link]
    missing = [n for n in named if n != EXAMPLE and not (ROOT / n).exists()]
    missing += [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_the_network_of_the_example(monkeypatch, tmp_path):
    import keras
    import numpy as np

    from tfsr.data import BenchmarkFolder
    from tfsr.data.photographs import TRAINING, photographs
    from tfsr.inference import KerasUpscaler, from_uint8
    from tfsr.models import MODELS
    from tfsr.tflite.convert import convert
    from tfsr.tflite.runtime import TFLiteUpscaler, inspect
    from tfsr.training import read_config

    text = (ROOT / "docs" / "add_a_network.md").read_text()
    code, toml = (
        re.search(rf"^```{language}\n(.*?)^```", text, re.M | re.S).group(1)
        for language in ("python", "toml")
    )
    names = {}
    exec(compile(code, "espcn.py", "exec"), names)
    monkeypatch.setitem(MODELS, "espcn", names["espcn"])
    file = tmp_path / "espcn.toml"
    file.write_text(toml)
    keras.utils.set_random_seed(0)
    model = read_config(file).build()
    folder = BenchmarkFolder(photographs(TRAINING), 3).first(1)
    size = folder[0].lr.shape[:2]

    (made,) = convert(model, 3, "int8", [size], tmp_path / "espcn.tflite", folder)

    assert inspect(made)["float_operators"] == 0
    lr = from_uint8(folder[0].lr)
    sr = np.clip(KerasUpscaler(model, 3)(lr), 0, 1)
    difference = np.abs(TFLiteUpscaler(made)(lr) - sr)
    assert difference.mean() < 1 / 255


def test_messages_explained_are_ours():
    text = (ROOT / "docs" / "troubleshooting.md").read_text()
    rows = re.findall(r"^\| (`.+?`) \|", text, re.M)
    messages = [message for row in rows for message in re.findall(r"`([^`]+)`", row)]
    sources = [*ROOT.glob("tfsr/**/*.py"), *ROOT.glob("tflite/*.py")]
    source = "\n".join(file.read_text() for file in sources)
    assert len(messages) > 10
    assert [message for message in messages if message not in source] == []
