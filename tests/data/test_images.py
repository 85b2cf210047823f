import io
import struct
import zlib
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image

from tfsr.data import images_left_out, list_images, read_image, stored_channels
from tfsr.errors import InputError

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
GRAY = RGB[..., 0]


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "tiff", "webp", "PNG"])
def test_lossless_formats(tmp_path, suffix):
    file = tmp_path / f"image.{suffix}"
    Image.fromarray(RGB).save(file, **({"lossless": True} if suffix == "webp" else {}))
    pixels = read_image(file)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, RGB)


@pytest.mark.parametrize("suffix", ["jpg", "jpeg"])
def test_jpeg(tmp_path, suffix):
    smooth = np.linspace(0, 255, 16 * 24 * 3).reshape(16, 24, 3).astype(np.uint8)
    Image.fromarray(smooth).save(tmp_path / f"image.{suffix}", quality=98)
    pixels = read_image(tmp_path / f"image.{suffix}")
    assert pixels.shape == smooth.shape
    assert np.abs(pixels.astype(int) - smooth).max() <= 6


def test_grayscale_is_repeated(tmp_path):
    Image.fromarray(GRAY).save(tmp_path / "gray.png")
    expected = np.stack([GRAY] * 3, axis=-1)
    np.testing.assert_array_equal(read_image(tmp_path / "gray.png"), expected)
    np.testing.assert_array_equal(
        read_image(tmp_path / "gray.png", channels=1), GRAY[..., None]
    )


def test_colour_as_one_channel(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "rgb.png")
    pixels = read_image(tmp_path / "rgb.png", channels=1)
    assert pixels.shape == (5, 7, 1)
    assert np.abs(pixels[..., 0] - RGB @ [0.299, 0.587, 0.114]).max() < 1


@pytest.mark.parametrize("alpha", [0, 7, 255])
def test_alpha_is_dropped(tmp_path, alpha):
    layer = np.full((5, 7, 1), alpha, np.uint8)
    Image.fromarray(np.concatenate([RGB, layer], -1)).save(tmp_path / "rgba.png")
    np.testing.assert_array_equal(read_image(tmp_path / "rgba.png"), RGB)
    gray = np.concatenate([GRAY[..., None], layer], -1)
    Image.fromarray(gray, "LA").save(tmp_path / "la.png")
    np.testing.assert_array_equal(read_image(tmp_path / "la.png", 1)[..., 0], GRAY)


@pytest.mark.parametrize("transparency", [None, 1, b"\x00\x80\xff"])
def test_palette(tmp_path, transparency):
    colours = np.array([[250, 10, 20], [0, 128, 7], [30, 60, 90]], np.uint8)
    indices = np.random.default_rng(0).integers(0, 3, (5, 7), dtype=np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette(colours.tobytes())
    options = {} if transparency is None else {"transparency": transparency}
    image.save(tmp_path / "palette.png", **options)
    np.testing.assert_array_equal(
        read_image(tmp_path / "palette.png"), colours[indices]
    )


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bits_become_8(tmp_path, suffix):
    deep = np.array([[0, 128, 129, 257 * 100 - 128, 257 * 100 + 128, 65535]], np.uint16)
    Image.fromarray(deep).save(tmp_path / f"deep.{suffix}")
    pixels = read_image(tmp_path / f"deep.{suffix}")
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 100, 100, 255]
    assert (pixels == pixels[..., :1]).all()


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda x: x),
        (2, lambda x: x[:, ::-1]),
        (3, lambda x: x[::-1, ::-1]),
        (6, lambda x: np.rot90(x, -1)),
        (8, np.rot90),
    ],
)
def test_exif_orientation(tmp_path, suffix, orientation, turned):
    blocks = np.repeat(np.repeat(RGB[:2, :3, :1] // 2 + 60, 16, 0), 16, 1)
    image = np.repeat(blocks, 3, -1)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 98} if suffix == "jpg" else {}
    Image.fromarray(image).save(tmp_path / f"image.{suffix}", exif=exif, **options)
    pixels = read_image(tmp_path / f"image.{suffix}")
    assert pixels.shape == turned(image).shape
    assert np.abs(pixels.astype(int) - turned(image)).max() <= 3


@pytest.mark.parametrize("name", ["missing.png", "text.png", "empty.jpg", "folder.png"])
def test_unreadable_files_are_named(tmp_path, name):
    (tmp_path / "text.png").write_text("this is not an image")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(InputError, match=rf"{name}: (no|the file is empty)"):
        read_image(tmp_path / name)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
def test_truncated_files_are_named(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = tmp_path / f"half.{suffix}"
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"half\.{suffix}: (not a readable|part)"):
        read_image(file)


def test_damaged_png_is_named(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "damaged.png")
    data = bytearray((tmp_path / "damaged.png").read_bytes())
    data[data.index(b"IDAT") + 8] ^= 0xFF
    (tmp_path / "damaged.png").write_bytes(data)
    with pytest.raises(InputError, match=r"damaged\.png: not a readable image"):
        read_image(tmp_path / "damaged.png")


def gray_png(width, height):
    """A black gray PNG, packed row by row in little memory."""
    deflate, data = zlib.compressobj(9), []
    for _ in range(height):
        data.append(deflate.compress(b"\0" + bytes(width)))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    packed = b"".join([*data, deflate.flush()])
    for name, content in ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b"")):
        png += struct.pack(">I", len(content)) + name + content
        png += struct.pack(">I", zlib.crc32(name + content))
    return png


def long_tiff():
    """A TIFF of 48 x 16 pixels that claims 48 x 524288."""
    stream = io.BytesIO()
    Image.new("RGB", (48, 16)).save(stream, "TIFF")
    length = struct.pack("<HHII", 257, 4, 1, 16)
    assert stream.getvalue().count(length) == 1
    return stream.getvalue().replace(length, length[:-4] + struct.pack("<I", 524288))


def damaged_checksum():
    stream = io.BytesIO()
    Image.fromarray(RGB).save(stream, "PNG")
    data = stream.getvalue()
    end = data.index(b"IEND") - 8  # the last byte of the checksum before it
    return data[: end + 3] + bytes([data[end + 3] ^ 1]) + data[end + 4 :]


HOSTILE = {
    "postscript": (
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
        "not an image of a supported kind",
    ),
    "bomb": (gray_png(8100, 8000), "8100 x 8000 pixels; .* at most 64 mega"),
    "missing": (long_tiff(), "part of its pixels is missing"),
    "checksum": (damaged_checksum(), "not a readable image .*checksum"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused_in_a_line(tmp_path, capfd, monkeypatch, kind):
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", Mock(side_effect=SystemError))
    content, message = HOSTILE[kind]
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.png: {message}") as caught:
        read_image(tmp_path / "a.png")
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_decoders_print_nothing(tmp_path, capfd):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    file = tmp_path / "a.tif"
    Image.fromarray(noise).save(file, compression="tiff_lzw")
    data = bytearray(file.read_bytes())
    data[2000:3000] = bytes(1000)
    file.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.tif: not a readable image"):
        read_image(file)
    assert capfd.readouterr() == ("", "")


def test_list_images(tmp_path):
    for name in (
        *("b.png", "a.JPG", "c.tiff", "notes.txt", "d.webp", "e.jfif", "f.jpe"),
        *("._b.png", ".tfsr-tmp-1-x.png", "g.jp2", "h.JXL", "i.jp2", "._g.jp2"),
    ):
        (tmp_path / name).touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "e.png").touch()
    names = [file.name for file in list_images(tmp_path)]
    assert names == ["a.JPG", "b.png", "c.tiff", "d.webp", "e.jfif", "f.jpe"]
    line = f"{tmp_path}: left out, of kinds not read here: 2 .jp2, 1 .jxl."
    assert images_left_out(tmp_path) == line
    assert images_left_out(tmp_path / "sub") == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "not a folder of images"),
        ("notes.txt", "not a folder of images"),
        ("empty", "no image in it"),
    ],
)
def test_list_images_errors(tmp_path, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=f"{name}: {message}"):
        list_images(tmp_path / name)


@pytest.mark.parametrize(
    ("modes", "channels"),
    [(["L"], 1), (["L", "LA", "1", "I;16"], 1), (["L", "RGB"], 3), (["P"], 3)],
)
def test_stored_channels(tmp_path, modes, channels):
    files = [tmp_path / f"{i}.png" for i, _ in enumerate(modes)]
    for file, mode in zip(files, modes, strict=True):
        Image.new(mode, (4, 3)).save(file)
    assert stored_channels(files) == channels


def test_stored_channels_of_no_image(tmp_path):
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(InputError, match=r"a\.png: not an image of a supported"):
        stored_channels([tmp_path / "a.png"])


def test_set12_has_an_image_of_training(shared):
    bsd = read_image(shared / "data/train/BSD400/12003.jpg", 1).astype(int)
    set12 = read_image(shared / "data/test/Set12/04.png", 1)
    train400 = read_image(shared / "data/train/Train400_gray/test_020.png", 1)
    np.testing.assert_allclose(bsd[7:263, 109:365], set12, atol=1)
    np.testing.assert_array_equal(train400[:, 74:], set12[72:252, :106])
