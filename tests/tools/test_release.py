"""`tools/release.py` makes a card with the figures it is to have."""

import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest

import tfsr
from tfsr.data import BenchmarkFolder
from tfsr.tflite.quantization.aware import quantization_aware
from tfsr.training import read_config, train
from tfsr.upscaling.upscalers import from_uint8
from tfsr.zoo import released

SCRIPT = Path(__file__).parents[2] / "tools" / "release.py"
CARDS = sorted(released.FOLDER.glob("*.md"))


@pytest.fixture(scope="module")
def trained(write_config, photographs, tmp_path_factory, leave_untraced):
    """A folder of `run`, `aware` in 8 bits and images, `Set5`; do not write there."""
    folder, data = tmp_path_factory.mktemp("trained"), {"exclude": ["chelsea"]}
    config = write_config(folder / "c.toml", data=data, train={"epochs": 1})
    run, aware = folder / "run", folder / "aware"
    config.write_text(
        "# A tiny network.\n# tfsr train c.toml\n# Not this.\n" + config.read_text()
    )
    with pytest.MonkeyPatch.context() as patch:
        leave_untraced(patch)
        train(read_config(config, ["train.seed=1"]), run)
    aware.mkdir()
    for name in ("config.toml", "log.csv"):
        shutil.copy(run / name, aware)
    images = [from_uint8(pair.lr) for pair in BenchmarkFolder(photographs, 2)]
    quantization_aware(tfsr.load_model(run), images).save(aware / "model.keras")
    shutil.copytree(photographs, folder / "Set5")
    return folder


@pytest.fixture
def make_card(trained, photographs, tmp_path, monkeypatch, no_memory_measured):
    """Returns a function from further arguments to the card of a tiny network."""
    monkeypatch.setattr(released, "FOLDER", tmp_path)
    monkeypatch.chdir(trained)

    def make(*arguments, run=("--run", "run", "--hours", 1.5)):
        command = [SCRIPT, "tiny", *run, "--size", 24, 32]
        folders = ["--calibrate", photographs, "--test", "Set5"]
        monkeypatch.setattr(sys, "argv", [*map(str, (*command, *folders, *arguments))])
        runpy.run_path(str(SCRIPT), run_name="__main__")
        assert released.names() == ["tiny", "tiny_int8"]
        return (tmp_path / "tiny.md").read_text()

    return make


def test_a_card_as_converted(make_card):
    card = make_card("--note", "The paper prints more.", "--note", "It had longer.")
    assert card.startswith("# tiny\n\nA tiny network.\n\n- Use: `tfsr upscale ")
    (trained_on,) = re.findall("^- Trained on (.*)", card, re.M)
    assert re.match(r"photographs\d+ \(3\) images, without chelsea; the", trained_on)
    assert "- 2 steps, 1.5 hours on a 2-core server" in card
    assert "- The paper prints more.\n- It had longer.\n" in card
    assert "| images | before | float | int8 |\n" in card
    row = (
        r"^\| Set5 x2 \| bicubic \d+\.\d\d dB \| \d+\.\d\d dB "
        r"\| \d+\.\d\d dB, loses -?\d\.\d{3} dB \|$"
    )
    assert re.search(row, card, re.M)
    assert re.search(
        r"^\| 32x24 x2 \| \d+ ms \| \d+ ms \| \d+\.\d\d \|  \| .+ cores, \w+ \|$",
        card,
        re.M,
    )


def test_a_card_of_a_network_trained_for_8_bits(make_card):
    card = make_card("--quantized", "aware")
    assert "- In 8 bits at x2: 2 steps more\n" in card
    assert " | int8 | int8 as converted |\n" in card
    row = r"^\| Set5 x2 .*(\| \d+\.\d\d dB, loses -?\d\.\d{3} dB ){2}\|$"
    assert re.search(row, card, re.M)


def test_a_card_whose_8_bits_are_made_anew(make_card, tmp_path):
    before = make_card("--note", "The paper prints more.")
    weights = (tmp_path / "tiny.npz").read_bytes()
    after = make_card("--quantized", "aware", run=())
    assert (tmp_path / "tiny.npz").read_bytes() == weights
    head = before.partition("- PSNR on Y")[0]
    assert after.startswith(f"{head}- In 8 bits at x2: 2 steps more\n- PSNR on Y")
    assert "run --hours" in before
    assert "run --hours" not in after
    assert after.count("- Made and measured by") == 1
    assert " | int8 | int8 as converted |\n" in after


def test_cards_that_come_along_are_as_it_writes_them(monkeypatch):
    """They begin with the heads of their configs, and their commands parse."""
    tool = runpy.run_path(str(SCRIPT))
    for card in CARDS:
        text = card.read_text()
        about = tool["about"](read_config(card.with_suffix(".toml")))
        head = re.escape(f"# {card.stem}\n\n{about}\n\n- Use: `tfsr ")
        use = rf"{head}.* --model (\w+_int8)`; `{card.stem}` is the network in float, "
        model = re.match(use, text)[1]
        assert model in released.int8_names(card.stem)
        (command,) = re.findall("^- Made and measured by `python (.*)`$", text, re.M)
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        assert tool["parsed"]().name == card.stem
