import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfsr.data.embedded import TRAINING, photographs
from tfsr.photos import read_photo, write_photo
from tfsr.photos.noise import noise_sigma
from tfsr.photos.origin import Origin, origin_of


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pixels = np.random.default_rng(0).integers(0, 256, (8, 10, 3), np.uint8)
    Image.fromarray(pixels).save("photo.png")
    return pixels


@pytest.mark.parametrize("quality", [1, 5, 10, 50, 75, 95, 100])
def test_the_quality_of_a_jpeg(here, quality):
    Image.fromarray(here).save("some.jpg", quality=quality)
    expected = Origin(lossy=f"JPEG of quality {quality}", quality=quality)
    assert origin_of("some.jpg") == expected


def test_the_quality_of_other_tables(here):
    steps = [9] * 64
    Image.fromarray(here).save("some.jpg", qtables=[steps, steps])
    assert origin_of("some.jpg").quality == 92  # 576 is 0.156 of the steps of 50


def test_which_photos_have_16_bits(here):
    photo = read_photo("photo.png")
    deep = dataclasses.replace(photo, color=photo.color.astype(np.uint16))
    for name in ("deep.png", "deep.tif"):
        write_photo(Path(name), deep, iter([deep.color]), 1)
        assert origin_of(name) == Origin(bits=16)
    Image.fromarray(deep.color[..., 0]).save("gray.png")
    assert origin_of("gray.png") == Origin(bits=16)


def test_which_numbers_are_not_bits_of_a_sample(here):
    def bmp(name, bits, width, rows):
        """Writes a BMP of one row, in bit fields where a pixel has 16 bits."""
        fields = np.array([0xF800, 0x07E0, 0x001F], "<u4").tobytes()
        extra = fields if bits == 16 else bytes(4 * 16)
        start = 54 + len(extra)
        head = b"BM" + np.array([start + len(rows), 0, start, 40], "<u4").tobytes()
        head += np.array([width, 1], "<i4").tobytes()
        head += np.array([1, bits], "<u2").tobytes()
        compression = 3 if bits == 16 else 0
        head += np.array([compression, len(rows), 0, 0, 0, 0], "<u4").tobytes()
        Path(name).write_bytes(head + extra + rows)

    bmp("rgb565.bmp", 16, 8, bytes(16))
    bmp("wide.bmp", 4, 320, bytes(160))  # 160 bytes a row
    Image.new("CMYK", (8, 8)).save("ink.tif")
    for name in ("rgb565.bmp", "wide.bmp", "ink.tif"):
        assert read_photo(name).color.dtype == np.uint8
        assert origin_of(name) == Origin()


def test_what_lost_nothing(here):
    image = Image.fromarray(here)
    image.save("lossless.webp", lossless=True)
    image.save("photo.bmp")
    image.save("photo.jpg.tif")
    for name in ("photo.png", "lossless.webp", "photo.bmp", "photo.jpg.tif"):
        assert str(origin_of(name)) == "a file without loss"
    for name in ("missing.png", "."):
        assert origin_of(name) == Origin(known=False)


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_tells_by_its_chunk(here, mode):
    image = Image.fromarray(here).convert(mode)
    if mode == "RGBA":
        image.putalpha(100)
    for lossless, expected in ((False, "lossy WebP file"), (True, "")):
        image.save("some.webp", lossless=lossless, exif=b"Exif\0\0" * (mode == "RGBA"))
        assert origin_of("some.webp").lossy == expected


@pytest.mark.parametrize("brand", [b"heic", b"avif"])
def test_heic_and_avif_are_lossy(here, brand):
    Path("some").write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(20))
    assert origin_of("some").lossy == "HEIC or AVIF file"


@pytest.mark.parametrize("sigma", [0, 10, 25, 50])
def test_noise_is_told_from_the_pixels(sigma):
    clean = read_photo(photographs(TRAINING)[0]).color.astype(float)
    noise = sigma * np.random.default_rng(0).standard_normal(clean.shape)
    noisy = np.clip(clean / 2 + 64 + noise, 0, 255)
    for dtype, levels in ((np.uint8, 1), (np.uint16, 257)):
        found = noise_sigma(np.round(noisy * levels).astype(dtype))
        assert found == pytest.approx(sigma, abs=2.5)


def test_where_noise_is_clipped_others_tell():
    noise = 40 * np.random.default_rng(0).standard_normal((64, 96, 3))
    levels = np.repeat([0, 255, 128], 32)[None, :, None]
    noisy = np.clip(levels + noise, 0, 255).astype(np.uint8)
    assert noise_sigma(noisy) == pytest.approx(40, abs=2)
    assert 5 < noise_sigma(noisy[:, :64]) < 30  # all that is left of it


def test_an_image_of_a_row_has_no_noise_to_tell():
    assert noise_sigma(np.zeros((1, 9, 3), np.uint8)) == 0
