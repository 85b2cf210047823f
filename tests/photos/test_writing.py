import io
import os
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from photo_files import (
    SRGB,
    encode,
    noise,
    pixels_of,
    read_bytes,
    reopened,
)
from tfsr.errors import InputError
from tfsr.photos import Photo, check_writable, encoders, read_photo, write_photo

LOSSLESS = (".png", ".tif", ".webp", ".bmp")


@pytest.mark.parametrize("suffix", LOSSLESS)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_lossless_round_trip_of_8_bits(channels, suffix, tmp_path):
    values = noise(channels)
    photo = read_bytes(tmp_path, encode(Image.fromarray(values), "PNG"))
    file = tmp_path / f"sr{suffix}"
    if suffix == ".bmp" and photo.alpha is not None:
        with pytest.raises(InputError, match=r"sr\.bmp: BMP cannot hold transparency"):
            write_photo(file, photo)
        return
    assert write_photo(file, photo) == []
    mode = ("L", "LA", "RGB", "RGBA")[channels - 1]
    np.testing.assert_array_equal(reopened(file, mode), values)
    again = pixels_of(read_photo(file))
    gray_as_rgb = suffix == ".webp" and channels < 3
    assert again.shape[2] == channels + 2 * gray_as_rgb
    np.testing.assert_array_equal(again[..., -channels:], np.atleast_3d(values))
    assert [path.name for path in tmp_path.glob("*sr*")] == [file.name]


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_lossless_round_trip_of_16_bits(channels, suffix, tmp_path):
    values = np.atleast_3d(noise(channels, np.uint16, 700, 300))  # several bands
    alpha = values[..., -1] if channels in (2, 4) else None
    color = values[..., : 1 if channels < 3 else 3]
    file = tmp_path / f"sr{suffix}"
    assert write_photo(file, Photo(color, alpha)) == []
    again = pixels_of(read_photo(file))
    as_rgba = suffix == ".tiff" and channels == 2
    np.testing.assert_array_equal(
        again, values[..., [0, 0, 0, 1]] if as_rgba else values
    )
    if suffix == ".png":
        reference = unfiltered(file.read_bytes(), 700)
    else:
        reference = np.atleast_3d(reopened_tiff(file))
    np.testing.assert_array_equal(reference.reshape(again.shape), again)


def unfiltered(data, height):
    """Decodes a 16-bit PNG whose rows are all filtered by the one above."""
    content, at = b"", 8
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        name, chunk = data[at + 4 : at + 8], data[at + 8 : at + 8 + length]
        assert (
            zlib.crc32(name + chunk)
            == struct.unpack_from(">I", data, at + 8 + length)[0]
        )
        content += chunk if name == b"IDAT" else b""
        at += length + 12
    rows = np.frombuffer(zlib.decompress(content), np.uint8).reshape(height, -1)
    assert (rows[:, 0] == 2).all()
    return np.ascontiguousarray(rows[:, 1:].cumsum(axis=0, dtype=np.uint8)).view(">u2")


def reopened_tiff(file):
    with tifffile.TiffFile(file) as pages:
        assert [page.tags["Compression"].value for page in pages.pages] == [8]
        strips = pages.pages[0]
        rows = []
        for offset, count in zip(
            strips.dataoffsets, strips.databytecounts, strict=True
        ):
            pages.filehandle.seek(offset)
            rows.append(zlib.decompress(pages.filehandle.read(count)))
        left = np.frombuffer(b"".join(rows), "<u2").reshape(*strips.shape[:2], -1)
        return left.cumsum(axis=1, dtype=np.uint16)


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG", ".jfif", ".jpe"])
def test_jpeg_is_close_and_keeps_gray(suffix, tmp_path):
    smooth = np.linspace(0, 255, 64).astype(np.uint8).reshape(8, 8).repeat(4, 0)
    for color in (smooth[..., None], np.dstack([smooth, smooth[::-1], 255 - smooth])):
        file = tmp_path / f"sr{suffix}"
        assert write_photo(file, Photo(color)) == []
        again = read_photo(file).color
        assert again.shape == color.shape
        assert abs(again.astype(int) - color).max() <= 6
    with Image.open(file) as image:
        assert {layer[1:3] for layer in image.layer} == {(1, 1)}  # 4:4:4


@pytest.mark.parametrize("height", [5, 64, 65, 200])
@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_in_bands_is_that_of_the_whole(height, channels, tmp_path):
    color = noise(3, height=height, width=21)[..., :channels]
    photo = Photo(color, icc=SRGB if channels == 3 else None, dpi=(300, 150))
    bands = np.split(color, range(7, height, 30))  # other rows than are compressed
    write_photo(tmp_path / "sr.jpg", photo, bands)
    whole = encode(Image.fromarray(color.squeeze()), "JPEG", **encoders.JPEG_OPTIONS)
    np.testing.assert_array_equal(
        reopened(tmp_path / "sr.jpg"), reopened(io.BytesIO(whole))
    )
    again = read_photo(tmp_path / "sr.jpg")
    assert (again.icc, again.dpi) == (photo.icc, photo.dpi)


def test_a_large_jpeg_is_never_whole_in_memory(tmp_path):
    shape, most = (1500, 8000, 3), []

    def bands():
        for level in range(6):
            yield np.full((250, *shape[1:]), level, np.uint8)
            most.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        encoders.write_jpeg(tmp_path / "sr.jpg", bands(), shape, None, None, None)
    finally:
        tracemalloc.stop()
    assert max(most) < 0.5 * np.prod(shape)
    assert reopened(tmp_path / "sr.jpg").shape == shape


def test_16_bits_are_rounded_for_8_bit_formats(tmp_path):
    values = np.array([[[0], [128], [129], [32896], [65535]]], np.uint16)
    notes = write_photo(tmp_path / "sr.bmp", Photo(values))
    assert notes == ["16 bits a channel reduced to 8, all that BMP holds"]
    assert reopened(tmp_path / "sr.bmp").tolist() == [[0, 0, 1, 128, 255]]
    rgba = np.full((3, 3, 3), 257, np.uint16), np.full((3, 3), 514, np.uint16)
    assert len(write_photo(tmp_path / "sr.webp", Photo(*rgba))) == 1
    assert reopened(tmp_path / "sr.webp")[0, 0].tolist() == [1, 1, 1, 2]


def test_transparency_is_refused_only_where_there_is_some(tmp_path):
    color, alpha = noise(3), np.full((13, 10), 255, np.uint8)
    write_photo(tmp_path / "sr.bmp", Photo(color, alpha))
    np.testing.assert_array_equal(reopened(tmp_path / "sr.bmp"), color)
    alpha[2, 3] = 254
    with pytest.raises(InputError, match=r"sr\.jpg: JPEG .*choose \.png or \.webp"):
        check_writable(tmp_path / "sr.jpg", Photo(color, alpha))


def test_unwritable_files(tmp_path):
    photo = Photo(noise(3))
    with pytest.raises(InputError, match=r"sr\.heic: cannot write \.heic; expected"):
        write_photo(tmp_path / "sr.heic", photo)
    with pytest.raises(InputError, match=r"sr: cannot write a file without ending"):
        write_photo(tmp_path / "sr", photo)
    with pytest.raises(InputError, match=r"cannot be written \(No such file"):
        write_photo(tmp_path / "none" / "sr.png", photo)
    long = Photo(np.zeros((1, 9000, 3), np.uint8))
    assert check_writable(tmp_path / "sr.webp", long) == []
    with pytest.raises(InputError, match=r"WebP holds at most 16383.*18000 x 2"):
        check_writable(tmp_path / "sr.webp", long, scale=2)
    with pytest.raises(InputError, match="too large for TIFF"):
        check_writable(tmp_path / "sr.tif", long, scale=500)


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    file = tmp_path / "sr.tif"
    file.write_bytes(b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(encoders.zlib, "compress", fail)
    with pytest.raises(InputError, match="No space left"):
        write_photo(file, Photo(noise(3)))
    assert file.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["sr.tif"]
