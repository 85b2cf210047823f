"""What README and docs show: commands parse, files exist, code runs."""

import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import tfsr
from tfsr.cli.program import _parser
from tfsr.zoo import catalogue, released

ROOT = Path(__file__).parent.parent
# For the reader to write.
EXAMPLES = {"configs/espcn/espcn.toml", "tfsr/models/espcn.py"}
BLANKS = {"S": "2", "Q": "10", "SIGMA": "25"}  # for the reader to fill in
# In this order a reader may type what they show, from a photo to a report.
HOW_TO = [ROOT / "README.md"] + [
    ROOT / "docs" / f"{name}.md"
    for name in ("photos", "training", "convert", "research", "report")
]
# Their trainings on small images, and what a test elsewhere runs.
SHORT = [
    *("--set", "train.epochs=1", "--set", "train.steps_per_epoch=1"),
    *("--set", "train.batch=1", "--set", "train.patch=8"),
    *("--set", "model.filters=8", "--set", "model.blocks=1"),
]
SHORTER = {
    "train": SHORT,
    "study": [*SHORT, "--size", "24x32"],
    "benchmark": ["--runs", "1"],
}
ELSEWHERE = {
    "import-carn": "weights do not come along: zoo/test_carn_checkpoints.py",
    "--android": "there is no phone: tflite/devices/test_android.py",
    "--serve": "it does not end: report/test_server.py",
}
PAGES = [
    *(ROOT / page for page in ("README.md", "CONTRIBUTING.md", "tflite/README.md")),
    *ROOT.glob("docs/*.md"),
]


def _blocks(page):
    """Yields the commands of a page's blocks that start with tfsr."""
    for block in re.findall(r"^```\n(.*?)^```", page.read_text(), re.M | re.S):
        for line in _whole_lines(block):
            if line.startswith("tfsr "):
                yield line.partition("#")[0].strip()


def _commands(page):
    """Yields every command of a page that starts with tfsr, as a shell has it."""
    yield from _blocks(page)
    text = page.read_text()
    inline = re.findall(r"`(tfsr [^`]+)`", _prose(text))
    yield from (" ".join(span.split()) for span in inline)


def _prose(text):
    return re.sub(r"(?ms)^```.*?^```", "", text)


def _whole_lines(block):
    return re.sub(r"\\\n\s*", " ", block).splitlines()


def _braces(word):
    """Expands {a,b} as a shell does."""
    found = re.fullmatch(r"(.*)\{(.*)\}(.*)", word)
    if not found:
        return [word]
    head, middle, tail = found.groups()
    return [head + part + tail for part in middle.split(",")]


def _words(command):
    """Returns the words after tfsr, as a shell passes them."""
    expanded = (
        [word] if f"'{word}'" in command else _braces(word)
        for word in shlex.split(command)[1:]
    )
    return list(itertools.chain.from_iterable(expanded))


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
    _parser().parse_args([BLANKS.get(word, word) for word in _words(command)])


@pytest.fixture
def reader(tmp_path, monkeypatch, photographs):
    """The folder of a reader, who has the configs and images."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "configs", "configs")
    for folder in (
        *("photos/train", "photos/held_out", "holiday"),
        *(f"data/test/{name}" for name in ("Set5", "Set14", "LIVE1_gray")),
    ):
        Path(folder).mkdir(parents=True)
        for image in sorted(photographs.iterdir())[:2]:
            shutil.copy(image, folder)
    shutil.copy(photographs / "coffee.png", "photo.jpg")


@pytest.mark.usefixtures("no_memory_measured", "untraced")
def test_the_readme_and_the_how_to_run(reader, run):
    litert_js = ROOT / "node_modules"
    if litert_js.is_dir():
        Path("node_modules").symlink_to(litert_js)
    done = []
    for command in itertools.chain.from_iterable(map(_blocks, HOW_TO)):
        words = _words(command)
        if skipped := ELSEWHERE.keys() & {*words}:
            done += skipped
            continue
        if "--try" in words and not litert_js.is_dir():
            del words[(box := words.index("--try")) : box + 2]
        code, _, err = run(*words, *SHORTER.get(words[0], []))
        assert code == 0, f"{command}\n{err}"
        done.append(words[0])
    assert {*ELSEWHERE, "upscale", "train", "study", "convert", "report"} <= {*done}
    photos = ("photo_x2.jpg", "photo_x2.png", "large", "restored.png")
    for picture in (*photos, "report/index.html"):
        assert Path(picture).exists()


def test_the_table_of_the_readme():
    """Its figures are those of `tfsr models`, its times those of the cards."""
    models = {model["name"]: model for model in catalogue.models()["released"]}
    text = (ROOT / "README.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", text, re.M)
    assert len(rows) == 5
    for name, row in rows:
        _, quality, time, size = row.split(" | ")
        images, before, after, ms, of = re.fullmatch(
            r"(\w+(?:, \w+ \d+)?), (\S+) to (\S+) dB\|(\d+) ms, (\w+)",
            f"{quality}|{time}",
        ).groups()
        model = models[name]
        assert float(after) == model["psnr_y"][images]
        assert size == f"{model['size_bytes'] / 1000:.0f} KB"
        card = released.config(released.find(name)).with_suffix(".md").read_text()
        scale = f" x{model['scale']}" if model["scale"] > 1 else ""
        assert re.search(rf"^\| {images}{scale} \| \w+ {before} dB \|", card, re.M)
        assert re.search(rf"^\| {of}{scale} \| \d+ ms \| {ms} ms \|", card, re.M)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_named_exist(page):
    text = page.read_text()
    folders = "configs|benchmarks|tests|tflite|tfsr|tools"
    named = re.findall(rf"\b(?:{folders})/[\w/{{}},.]+?\.(?:toml|py)", text)
    named = {*itertools.chain.from_iterable(map(_braces, named))} - EXAMPLES
    prose = _prose(text)
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", prose) if ":" not in link]
    missing = [n for n in named if not (ROOT / n).exists()]
    missing += [link for link in links if not (page.parent / link).exists()]
    assert not missing


def test_the_network_of_the_example(monkeypatch, tmp_path):
    import keras
    import numpy as np

    from tfsr.data import BenchmarkFolder
    from tfsr.data.embedded import TRAINING, photographs
    from tfsr.models import MODELS
    from tfsr.tflite.conversion import convert
    from tfsr.tflite.runtime import TFLiteUpscaler, inspect
    from tfsr.training import read_config
    from tfsr.upscaling.upscalers import KerasUpscaler, from_uint8

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


def test_the_python_page_runs(reader):
    text = (ROOT / "docs" / "python.md").read_text()
    shutil.copy("photo.jpg", "photo.png")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    assert max(block.count("\n") for block in blocks) <= 10
    code = "\n".join(blocks)  # as one script, without a guard
    Path("page.py").write_text(code)
    subprocess.run([sys.executable, "page.py"], check=True, capture_output=True)
    names = set(re.findall(r"tfsr\.(\w+)", code))
    assert {"upscale", "convert", "evaluate", "benchmark", "load_model"} <= names
    with Image.open("photo.png") as before, Image.open("large.png") as after:
        assert after.size == tuple(2 * side for side in before.size)


@pytest.mark.usefixtures("no_memory_measured")
def test_the_notebook_runs(tmp_path, monkeypatch, capsys):
    """Cell by cell, with the numbers of the first cell made small."""
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "docs" / "start.ipynb").read_text())
    cells = [c["source"] for c in notebook["cells"] if c["cell_type"] == "code"]
    names = {}
    exec("".join(cells[0]), names)
    assert names.keys() >= {"EPOCHS", "STEPS", "FILTERS", "SIDE"}
    names.update(EPOCHS=1, STEPS=1, FILTERS=8, SIDE=48)
    for cell in cells[1:]:
        exec("".join(cell), names)
    out = capsys.readouterr().out
    assert re.search(r"^small.keras .*'psnr_y'", out, re.M)
    assert re.search(r"^8 bits lose \S+ dB; \d+ KB$", out, re.M)
    assert names["images"][0].shape == names["images"][2].shape == names["hr"].shape


def test_every_public_name_is_on_the_python_page():
    text = (ROOT / "docs" / "python.md").read_text()
    named = {n for n in tfsr.__all__ if f"tfsr.{n}" in text}
    assert {*tfsr.__all__} - named <= {"__version__", "models"}
