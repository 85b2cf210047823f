import os
import struct

import numpy as np
import pytest
from PIL import Image

from fuzzing import survey
from photo_files import (
    DEEP,
    SRGB,
    SUPPORTED,
    encode,
    exif_block,
    noise,
    png,
    read_bytes,
    tiff,
)
from tfsr.errors import InputError
from tfsr.photos import read_photo, write_photo


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_and_pages_are_refused(kind, tmp_path):
    frames = [Image.fromarray(noise(3, seed=seed)) for seed in range(3)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="holds 3 frames or pages"):
        read_bytes(tmp_path, data)


REFUSED = {
    "empty": (b"", "the file is empty"),
    "text": (b"no image at all\n" * 9, "not an image of a supported kind"),
    "heic": (
        b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
        "HEIC, (which needs pillow-heif: |but damaged)",
    ),
    "float": (tiff(np.zeros((4, 4), np.float32)), "floating-point pixels"),
    "float rgb": (
        tiff(np.zeros((4, 4, 3), np.float32), photometric="rgb"),
        "a TIFF of 32-bit floating-point RGB, .* save it as PNG",
    ),
    "double rgb": (
        tiff(np.zeros((4, 4, 3)), photometric="rgb"),
        "a TIFF of 64-bit floating-point RGB, ",
    ),
    "deep gray with alpha": (
        tiff(
            np.zeros((4, 4, 2), np.uint16),
            photometric="minisblack",
            planarconfig="contig",
            extrasamples=["unassalpha"],
        ),
        "a TIFF of 16-bit gray with alpha, ",
    ),
    "cmyk with alpha": (
        tiff(
            np.zeros((4, 4, 5), np.uint8),
            photometric="separated",
            planarconfig="contig",
            extrasamples=["unassalpha"],
        ),
        "a TIFF of 8-bit CMYK with alpha, ",
    ),
    "more channels": (
        tiff(
            np.zeros((4, 4, 5), np.uint16),
            photometric="rgb",
            planarconfig="contig",
            extrasamples=[0, 0],
        ),
        "a TIFF of 16-bit RGB and 2 more channels, ",
    ),
    "signed": (tiff(np.zeros((4, 4), np.int16)), "32-bit or signed pixels"),
    "lab": (
        encode(Image.fromarray(noise(3), "LAB"), "TIFF"),
        r"L\*a\*b\* pixels cannot be read",
    ),
    "planes": (
        tiff(
            noise(3, np.uint16).transpose(2, 0, 1).copy(),
            photometric="rgb",
            planarconfig="separate",
        ),
        "separate planes",
    ),
    "too large": (png(np.zeros((1, 1)), 0, 8, width=500_000_001), "500 megapixels"),
    "bomb": (png(np.zeros((1, 1)), 0, 8, width=60_000_000), "claims 60000000 x 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line_that_names_the_file(name, tmp_path):
    data, message = REFUSED[name]
    with pytest.raises(InputError, match=rf"\A\S+/lr: .*{message}.*\Z"):
        read_bytes(tmp_path, data)


@pytest.mark.parametrize("name", ["png rgb", "jpeg rgb", "tiff lzw", "webp rgb"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated_files_are_refused(name, part, tmp_path):
    data = SUPPORTED[name][0]
    with pytest.raises(InputError, match=r"\A\S+/lr: .*\Z"):
        read_bytes(tmp_path, data[: int(len(data) * part)])


def test_damaged_tiff_prints_nothing(tmp_path, capfd):
    data = SUPPORTED["tiff lzw"][0]
    strip = noise(3).nbytes // 2
    with pytest.raises(InputError, match="decoder error"):
        read_bytes(tmp_path, data[:20] + bytes(strip) + data[20 + strip :])
    samples = struct.pack("<HHIH", 0x0115, 3, 1, 3)
    assert data.count(samples) == 1
    with pytest.raises(InputError, match="252 more channels"):
        read_bytes(tmp_path, data.replace(samples, samples[:-2] + b"\xff\0"))
    os.write(2, b"after")
    assert capfd.readouterr().err == "after"


def test_png_checksums_are_checked(tmp_path):
    flat = np.arange(64 * 64 * 3).reshape(64, 64, 3) // 50 % 256
    data = encode(Image.fromarray(flat.astype(np.uint8)), "PNG")
    start = data.index(b"IDAT") + 4
    (length,) = struct.unpack_from(">I", data, start - 8)
    for at in range(start, start + length, 7):
        damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        with pytest.raises(InputError):
            read_bytes(tmp_path, damaged)


def test_tiff_with_missing_strips_is_refused(tmp_path):
    data = tiff(noise(3), photometric="rgb", rowsperstrip=4)
    height = struct.pack("<HHII", 0x0101, 4, 1, 13)
    assert data.count(height) == 1
    damaged = data.replace(height, height[:-4] + struct.pack("<I", 130))
    with pytest.raises(InputError, match="part of its pixels is missing"):
        read_bytes(tmp_path, damaged)


def test_missing_directory_and_unreadable(tmp_path):
    with pytest.raises(InputError, match=r"none\.png: no such file\."):
        read_photo(tmp_path / "none.png")
    with pytest.raises(InputError, match=r": not a file\."):
        read_photo(tmp_path)
    with pytest.raises(InputError, match="File name too long"):
        read_photo(tmp_path / ("x" * 999))
    if os.getuid() == 0:
        pytest.skip("root reads every file")
    (tmp_path / "lr").write_bytes(SUPPORTED["png rgb"][0])
    (tmp_path / "lr").chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        read_photo(tmp_path / "lr")


def test_large_photo_is_read_without_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    photo = read_bytes(tmp_path, SUPPORTED["png rgb"][0])
    assert photo.color.shape == (13, 10, 3)
    assert Image.MAX_IMAGE_PIXELS == 10


def test_damaged_files_never_give_a_traceback(tmp_path):
    def use(data):
        photo = read_bytes(tmp_path, data)
        for suffix in (".png", ".tif", ".webp"):
            write_photo(tmp_path / f"sr{suffix}", photo)

    corpus = [data for data, _ in (SUPPORTED | DEEP).values()]
    corpus += [
        encode(Image.fromarray(noise(3)), kind, icc_profile=SRGB, exif=exif_block())
        for kind in ("JPEG", "PNG", "WEBP", "TIFF")
    ]
    counts = survey(use, corpus, cases=5, seed=0, allowed=InputError)
    assert min(counts.values()) > 20
