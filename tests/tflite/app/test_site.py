import json
import re
from pathlib import Path

import pytest
from PIL import Image

from tfsr.tflite.app import icons, site
from tfsr.zoo import released

MODELS = [released.find(f"{name}_int8") for name in ("sesr_m_x2", "photo_x2")]


@pytest.fixture
def out(tmp_path, package):
    """A site of two models; LiteRT.js is not whole."""
    site.write_site(tmp_path / "out", MODELS, package)
    return tmp_path / "out"


def listed(out):
    """Returns what the service worker knows of a site."""
    return json.loads((out / "files.js").read_text().removeprefix("self.SITE = ")[:-2])


def test_the_service_worker_knows_every_file(out):
    facts = listed(out)
    there = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    runtime = {name for name in there if name.startswith(facts["runtime"]["start"])}
    assert len(runtime) == 8
    assert set(facts["files"]) == there - runtime - {"files.js"} | {"./"}
    assert {"box/sesr_m_x2_int8.tflite", "box/box.js", "index.html"} <= there


def test_another_content_is_another_version(out, package, tmp_path):
    before = listed(out)["version"]
    site.write_site(out, MODELS, package)
    assert listed(out)["version"] == before
    site.write_site(out, MODELS[:1], package)
    assert listed(out)["version"] != before


def test_what_an_earlier_site_had_goes(out, package):
    """But for what is asked for, which may be in the site itself."""
    kept = out / "box" / MODELS[0].name
    site.write_site(out, [kept], package)
    assert kept.read_bytes() == MODELS[0].read_bytes()
    assert not (out / "box" / "photo_x2_int8.tflite").exists()


def test_names_are_listed_as_addresses(tmp_path, package):
    model = tmp_path / "mine #1 100%.tflite"
    model.write_bytes(MODELS[0].read_bytes())
    site.write_site(tmp_path / "out", [model], package)
    names = listed(tmp_path / "out")["files"]
    assert "box/mine%20%231%20100%25.tflite" in names


def test_nothing_in_the_page_is_inline_or_from_elsewhere(out):
    text = (out / "index.html").read_text()
    assert re.findall(r"<script(?![^>]* src=)|<style| style=| on\w+=", text) == []
    assert re.findall(r"(?:src|href)=\"(?:\w+:)?//", text) == []
    for name in re.findall(r"(?:src|href)=\"([^\"]+)\"", text):
        assert (out / name).is_file()


def test_the_manifest_has_icons_of_the_sides_it_says(out):
    manifest = json.loads((out / "manifest.webmanifest").read_text())
    purposes = [icon.get("purpose") for icon in manifest["icons"]]
    assert purposes.count("maskable") == 1
    for icon in manifest["icons"]:
        with Image.open(out / icon["src"]) as image:
            assert f"{image.width}x{image.height}" == icon["sizes"]
            corner, side = (
                image.getpixel((0, 0)),
                image.getpixel((0, image.height // 2)),
            )
        assert corner[3] == (0 if icon["src"] in icons.ROUNDED else 255)
        assert side[3] == 255


def test_the_released_models_come_with_the_rule_of_upscale(tmp_path, package):
    report = site.write_site(tmp_path / "out", package=package)
    facts = json.loads((tmp_path / "out" / "box" / "models.json").read_text())
    names = [model["name"] for model in facts["models"]]
    assert names == report["models"]
    sizes = [p.stat().st_size for p in tmp_path.glob("out/**/*") if p.is_file()]
    assert (report["files"], report["size_bytes"]) == (len(sizes), sum(sizes))
    assert set(names) == {name for name in released.names() if "_int8" in name}
    choice = facts["choice"]
    assert {*choice["clean"].values(), *choice["lossy"].values()} <= set(names)
    assert choice["lossy"]["2"] == "photo_x2_int8"
    assert len(choice["sums"]) == 100


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sesr_m_x2"], "sesr_m_x2.npz: the box runs .tflite files"),
        (["sesr_m_x2_int8", "copy/sesr_m_x2_int8.tflite"], "two models have this name"),
        ([], "no LiteRT.js in it; run npm install @litertjs/core@2.5.3 there, or name"),
    ],
)
def test_mistakes_are_one_line(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("copy").mkdir()
    Path("copy", MODELS[0].name).write_bytes(MODELS[0].read_bytes())
    code, out, err = run("app", *arguments, "-o", "out")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert message in err
    assert not Path("out").exists()
