"""Shards that several machines take give together what one machine gives."""

import json
import re
import shutil
from types import SimpleNamespace

import pytest
from PIL import Image

import tfsr
from tfsr.data import JPEG
from tfsr.data.degradation_type import chain
from tfsr.shards import Shard


def test_shards_are_all_pieces_once():
    pieces = list(range(7))
    shards = [Shard(i, 3).of(pieces) for i in (1, 2, 3)]
    assert shards == [[0, 3, 6], [1, 4], [2, 5]]
    with pytest.raises(ValueError, match="Received: index=4, count=3"):
        Shard(4, 3)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_a_shard_is_i_of_n(run, text):
    code, _, err = run("evaluate", "bicubic", "images", "--shard", text)
    assert code == 2
    assert "--shard" in err


@pytest.fixture
def images(tmp_path, photographs):
    folder = shutil.copytree(photographs, tmp_path / "images")
    Image.new("RGB", (40, 40)).save(folder / "black.png")  # its PSNR is infinite
    return folder


def test_scores_of_shards_are_joined(run, tmp_path, images):
    file = tmp_path / "scores.json"
    command = ("evaluate", "bicubic", images, "--scale", 2, "--json")
    code, _, err = run(*command, file)
    assert (code, "joined" in err) == (0, False)
    alone = json.loads(file.read_text())
    assert alone["mean"]["psnr_y"] == "inf"
    for shard in ("1/2", "2/2"):
        file.unlink(missing_ok=True)
        code, _, err = run(*command, file, "--shard", shard)
        assert (code, file.exists()) == (0, False), err
        assert f"scores_{shard[0]}of2.json: the scores of this shard" in err
    assert run(*command, file)[2] == f"tfsr: {file}: joined from its 2 shards.\n"
    assert json.loads(file.read_text()) == alone


def test_a_shard_gains_on_its_own_images(run, tmp_path, photographs):
    file = tmp_path / "scores.json"
    command = ("evaluate", "sesr_m_x2_int8", photographs, "--jpeg", 30, "--json", file)
    assert run(*command, "--shard", "2/3")[0] == 0
    part = json.loads(file.with_stem("scores_2of3").read_text())
    (only,) = part["images"]
    before = tfsr.evaluate("bicubic", photographs, 2, chain([JPEG(30)]))["images"]
    (bicubic,) = (image for image in before if image["name"] == only["name"])
    _, out, _ = run(*command, "--shard", "2/3")
    gained = re.search(r"over bicubic +([+-][\d.]+)", out)[1]
    assert float(gained) == pytest.approx(only["psnr_y"] - bicubic["psnr_y"], abs=1e-3)


def test_more_shards_than_images(run, tmp_path, images):
    file = tmp_path / "scores.json"
    command = ("evaluate", "bicubic", images, "--scale", 2, "--json", file)
    code, _, err = run(*command, "--shard", "6/8")
    assert (code, err) == (2, f"tfsr: --shard 6/8: {images} has only 5 images.\n")


def test_scores_of_other_images_are_not_joined(run, tmp_path, images):
    file = tmp_path / "scores.json"
    command = ("evaluate", "bicubic", images, "--scale", 2, "--json", file)
    for shard in ("1/2", "2/2"):
        assert run(*command, "--shard", shard)[0] == 0
    Image.new("RGB", (40, 40), "gray").save(images / "black.png")
    assert "joined" not in run(*command)[2]
    assert "joined" not in run(*command, "--border", 4)[2]


def test_a_shard_of_scores_wants_a_file(run, images):
    command = ("evaluate", "bicubic", images, "--scale", 2, "--shard", "1/2")
    for more in ((), ("--json",)):
        code, _, err = run(*command, *more)
        assert code == 2
        assert "--shard 1/2: wants --json FILE" in err


def test_trainings_of_a_study(monkeypatch, tmp_path):
    from tfsr.study import running
    from tfsr.study.planning import Run

    def train(run):
        run.folder.mkdir(parents=True)
        (run.folder / "metrics.json").touch()

    monkeypatch.setattr(running, "train_run", train)
    networks = [
        SimpleNamespace(runs={s: Run(None, tmp_path / f"{name}{s}") for s in (0, 1)})
        for name in "ab"
    ]
    study = SimpleNamespace(seeds=[0, 1], networks=networks)
    assert running.train_part(study, Shard(1, 3)) == (2, 4)
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["a0", "b1"]
    assert running.train_part(study, Shard(2, 3)) == (3, 4)
    assert running.train_part(study, Shard(3, 3)) == (4, 4)
