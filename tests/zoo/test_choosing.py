import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfsr.data import GaussianNoise, imresize
from tfsr.errors import InputError
from tfsr.zoo import catalogue, released
from tfsr.zoo.choosing import (
    LOSSY_QUALITY,
    enlarger_of,
    restorer_of,
    rule,
)

CLEAN, DEEP, PHOTO = "sesr_m_x2_int8", "sesr_m", "photo_x2_int8"
ENLARGERS = {
    "scan.png": CLEAN,
    "gray.png": CLEAN,
    "deep.png": DEEP,
    "drawing.bmp": CLEAN,
    "logo.gif": CLEAN,
    "lossless.webp": CLEAN,
    "lossy.webp": PHOTO,
    "fine.jpg": CLEAN,
    "good.jpg": PHOTO,
    "usual.jpg": PHOTO,
    "gray.jpg": PHOTO,
    "phone.heic": PHOTO,
    "phone.avif": PHOTO,
}


@pytest.fixture(scope="module")
def smooth():
    coarse = np.random.default_rng(0).integers(60, 190, (8, 8, 3), np.uint8)
    return imresize(coarse, 8)


@pytest.fixture
def folder(tmp_path, monkeypatch, smooth):
    monkeypatch.chdir(tmp_path)
    image = Image.fromarray(smooth)
    for name in ("scan.png", "drawing.bmp", "logo.gif"):
        image.save(name)
    image.convert("L").save("gray.png")
    Image.fromarray(smooth[..., 0].astype(np.uint16) * 257).save("deep.png")
    image.save("lossless.webp", lossless=True)
    image.save("lossy.webp", quality=80)
    image.save("fine.jpg", quality=LOSSY_QUALITY + 1)
    image.save("good.jpg", quality=LOSSY_QUALITY)
    image.save("usual.jpg", quality=85)
    image.convert("L").save("gray.jpg", quality=10)
    for brand in ("heic", "avif"):
        Path(f"phone.{brand}").write_bytes(
            b"\0\0\0\x18ftyp" + brand.encode() + bytes(20)
        )
    return tmp_path


def test_without_photo_lossy_files_get_the_clean_model_and_a_warning(
    folder, monkeypatch
):
    monkeypatch.setattr(released, "by_scale", lambda name: {})
    assert set(ENLARGERS) == {file.name for file in folder.iterdir()}
    for name, expected in ENLARGERS.items():
        choice = enlarger_of(name, 2)
        lossy = expected == PHOTO
        assert choice.model == (CLEAN if lossy else expected), name
        assert ("comes out sharper" in choice.warning) == lossy, name
    assert enlarger_of("usual.jpg", 2).found == "a JPEG of quality 85"


def test_with_photo_lossy_files_get_it_where_it_has_the_scale(folder):
    for name, expected in ENLARGERS.items():
        choice = enlarger_of(name, 2)
        assert (choice.model, choice.warning) == (expected, ""), name
    of_x3 = enlarger_of("usual.jpg", 3)
    assert of_x3.model == "sesr_m_x3_int8"
    assert of_x3.warning


def test_the_rule_for_other_programs_chooses_alike(folder):
    facts = rule()
    assert 2 in facts["lossy"]
    for scale, clean in facts["clean"].items():
        assert enlarger_of("scan.png", scale).model == clean
        assert enlarger_of("usual.jpg", scale).model == facts["lossy"].get(scale, clean)
    ranges = {r["name"]: (r["kind"], r["low"], r["high"]) for r in facts["restorers"]}
    assert ranges == {
        "denoise_int8": ("noise", -5, 55),
        "restore_jpeg_int8": ("jpeg", 0, 100),
    }


def noisy(image, sigma):
    noise = GaussianNoise(sigma, "uint8")
    return Image.fromarray(noise(image, 1, np.random.default_rng(0)).squeeze())


def test_what_restores_a_file(folder, smooth):
    noisy(smooth[..., :1], 25).save("noisy_gray.png")
    noisy(smooth, 25).save("noisy.png")
    Image.fromarray(smooth).save("coarse.jpg", quality=12)
    found = {
        name: restorer_of(name)
        for name in ("gray.jpg", "coarse.jpg", "noisy_gray.png", "noisy.png")
    }
    assert {name: choice.model for name, choice in found.items()} == {
        "gray.jpg": "restore_jpeg_int8",
        "coarse.jpg": "restore_jpeg_int8",
        "noisy_gray.png": "denoise_int8",
        "noisy.png": "denoise_int8",
    }
    assert found["noisy.png"].found in {f"noise of sigma {n}" for n in range(23, 28)}
    assert not any(choice.warning for choice in found.values())


def test_restorers_are_known_by_their_scale(tmp_path, monkeypatch):
    """Whether or not their config has it."""
    config = Path(__file__).parents[2] / "configs" / "restore" / "restore_jpeg.toml"
    monkeypatch.setattr(released, "FOLDER", tmp_path)
    (tmp_path / "blind.toml").write_text(config.read_text())
    entries = [{"network": "blind", "scale": 1}, {"network": "large", "scale": 2}]
    (tmp_path / catalogue.INDEX).write_text(json.dumps({"models": entries}))
    (name, data), *others = catalogue.restorers().items()
    assert (name, data.task.suits(50), others) == ("blind", True, [])


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("lossy.webp", "a lossy WebP file, for which tfsr has no model"),
        ("scan.png", "no noise found"),
    ],
)
def test_what_no_model_restores(folder, name, found):
    with pytest.raises(InputError, match=f"{name}: {found}; choose") as raised:
        restorer_of(name)
    assert "restore_jpeg (JPEG of quality 5 to 95)" in str(raised.value)
    assert "denoise (noise of sigma 0 to 50)" in str(raised.value)
