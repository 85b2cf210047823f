import io
import struct

import numpy as np
import pytest
import tifffile
from PIL import Image, features

from photo_files import (
    DEEP,
    ORIENTATION,
    SRGB,
    SUPPORTED,
    encode,
    noise,
    pixels_of,
    png,
    png_chunk,
    read_bytes,
    reopened,
    tiff,
)
from tfsr.errors import InputError
from tfsr.photos import read_photo, write_photo


def cmyk_profile():
    """A printer profile whose Lab depends on black alone, unlike Pillow's formula."""
    ramp = bytes(range(256))
    corners = [(0 if i & 1 else 255, 128, 128) for i in range(16)]  # black runs fastest
    table = b"mft1" + bytes(4) + bytes([4, 3, 2, 0])
    table += struct.pack(">9i", *(65536 * np.eye(3, dtype=int).ravel()).tolist())
    table += ramp * 4 + bytes(np.ravel(corners).tolist()) + ramp * 3
    header = struct.pack(">I4xI4s4s4s12x4s", 144 + len(table), 0x02400000, *_KINDS)
    header = header.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    return header.ljust(128, b"\0") + tags + table


_KINDS = (b"prtr", b"CMYK", b"Lab ", b"acsp")


@pytest.mark.parametrize("name", SUPPORTED)
def test_reading_8_bits_equals_pillow(name, tmp_path):
    data, mode = SUPPORTED[name]
    photo = read_bytes(tmp_path, data)
    expected = reopened(io.BytesIO(data), mode)
    np.testing.assert_array_equal(pixels_of(photo), np.atleast_3d(expected))
    assert photo.color.dtype == np.uint8
    changed = any(word in name for word in ("palette", "1 bit", "cmyk", "gif"))
    assert len(photo.notes) == changed


@pytest.mark.parametrize("name", DEEP)
def test_reading_16_bits_is_exact(name, tmp_path):
    data, expected = DEEP[name]
    photo = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(pixels_of(photo), np.atleast_3d(expected))
    assert photo.color.dtype == np.uint16
    assert photo.notes == []


@pytest.mark.parametrize("transparency", [2, bytes([255, 0, 128])])
def test_palette_transparency(transparency, tmp_path):
    image = Image.fromarray(noise(3)).quantize(9)
    data = encode(image, "PNG", transparency=transparency)
    photo = read_bytes(tmp_path, data)
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(opened.convert("RGBA"))
    np.testing.assert_array_equal(pixels_of(photo), expected)
    assert photo.notes == ["palette converted to RGB and alpha"]
    assert write_photo(tmp_path / "sr.png", photo) == []
    np.testing.assert_array_equal(reopened(tmp_path / "sr.png"), expected)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_gray_transparency_key(depth, tmp_path):
    key = 1
    values = np.array([[0, 1, 0, 1, 1, 1, 1, 0]])
    packed = np.packbits(((values[..., None] >> np.arange(depth)[::-1]) & 1)[0])
    rows = values if depth == 16 else packed[None]
    extra = png_chunk(b"tRNS", struct.pack(">H", key))
    photo = read_bytes(tmp_path, png(rows, 0, depth, extra, width=8))
    peak = 65535 if depth == 16 else 255
    np.testing.assert_array_equal(photo.alpha, np.where(values == key, 0, peak))
    gray = values * (1 if depth > 4 else 255 // (2**depth - 1))
    np.testing.assert_array_equal(photo.color[..., 0], gray)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_rgb_transparency_key(dtype, tmp_path):
    values = noise(3, dtype)
    values[4] = values[2, 3]
    extra = png_chunk(b"tRNS", struct.pack(">3H", *values[2, 3].tolist()))
    data = png(values, 2, 8 * values.itemsize, extra)
    photo = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(photo.color, values)
    assert not photo.alpha[4].any()
    assert photo.alpha[2, 3] == 0
    assert (photo.alpha == np.iinfo(dtype).max).sum() == 13 * 10 - 11


def test_16_bit_premultiplied_tiff_becomes_straight(tmp_path):
    color = noise(3, np.uint16)
    alpha = np.full((13, 10, 1), 32768, np.uint16)
    alpha[0] = 0
    stored = np.dstack([(color * (alpha / 65535)).round().astype(np.uint16), alpha])
    photo = read_bytes(
        tmp_path, tiff(stored, photometric="rgb", extrasamples=["assocalpha"])
    )
    np.testing.assert_array_equal(photo.alpha, alpha[..., 0])
    np.testing.assert_allclose(photo.color[1:], color[1:].astype(int), atol=2)


def test_12_bit_tiff_fills_the_range(tmp_path):
    rows = np.array([[0x00, 0x0F, 0xFF], [0x80, 0x00, 0x01]], np.uint8)
    # tifffile needs a codec for 12 bits: two pixels in three bytes, by hand.
    tags = {0x0101: 2, 0x0102: 12, 0x0103: 1, 0x0106: 1, 0x0115: 1, 0x0116: 2}
    tags |= {0x0100: 2, 0x0111: 8, 0x0117: 6}
    entries = b"".join(
        struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items())
    )
    data = b"II*\0" + struct.pack("<I", 14) + rows.tobytes()
    data += struct.pack("<H", len(tags)) + entries + bytes(4)
    photo = read_bytes(tmp_path, data)
    assert photo.color[..., 0].tolist() == [[0, 65535], [0x8008, 0x0010]]


def test_cmyk_goes_through_its_profile(tmp_path):
    cmyk = np.zeros((8, 8, 4), np.uint8)
    cmyk[:4, :, 3] = 255
    cmyk[..., 0] = 200  # which this profile's printer ignores
    image = Image.fromarray(cmyk, "CMYK")
    for kind, options in (("JPEG", {"quality": 100}), ("TIFF", {})):
        data = encode(image, kind, icc_profile=cmyk_profile(), **options)
        photo = read_bytes(tmp_path, data)
        assert photo.notes == ["CMYK converted to 8-bit sRGB by its ICC profile"]
        assert photo.icc is None
        assert photo.color[0].max() < 10
        assert photo.color[7].min() > 245
        photo = read_bytes(tmp_path, encode(image, kind, icc_profile=SRGB))
        assert photo.notes[0] == "unusable ICC profile left out"
        assert "without a profile" in photo.notes[1]


def test_planes_stored_one_after_the_other(tmp_path):
    planes = noise(3).transpose(2, 0, 1).copy()
    for compression in (None, "zlib"):
        data = tiff(
            planes, photometric="rgb", planarconfig="separate", compression=compression
        )
        photo = read_bytes(tmp_path, data)
        np.testing.assert_array_equal(photo.color, noise(3))


def test_16_bit_cmyk_is_reduced(tmp_path):
    data = tiff(noise(4, np.uint16), photometric="separated")
    photo = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(photo.color, reopened(io.BytesIO(data), "RGB"))
    assert photo.notes[0].startswith("16-bit CMYK converted to 8-bit RGB")


def test_unknown_extra_channel_is_noted(tmp_path):
    values = noise(4)
    data = tiff(values, photometric="rgb", extrasamples=["unspecified"])
    photo = read_bytes(tmp_path, data)
    np.testing.assert_array_equal(photo.color, values[..., :3])
    assert photo.alpha is None
    assert photo.notes == ["extra channel of unknown meaning left out"]


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow has no AVIF")
def test_avif_is_read(tmp_path):
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    pixels = np.broadcast_to(ramp[None, :, None], (48, 64, 3))
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encode(
        Image.fromarray(pixels),
        "AVIF",
        quality=100,
        subsampling="4:4:4",
        icc_profile=SRGB,
        exif=exif,
    )
    photo = read_bytes(tmp_path, data)
    assert photo.color.shape == (64, 48, 3)
    assert np.abs(photo.color.astype(int) - np.rot90(pixels, -1)).max() < 6
    assert photo.icc == SRGB
    with pytest.raises(InputError, match=r"lr: .*\Z"):
        read_bytes(tmp_path, data[: len(data) // 2])


def test_heic_is_read(tmp_path):
    pillow_heif = pytest.importorskip("pillow_heif", reason="comes with tfsr[heic]")
    pixels = np.full((64, 48, 3), (200, 90, 30), np.uint8)
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(tmp_path / "a.heic")
    photo = read_photo(tmp_path / "a.heic")
    assert np.abs(photo.color.astype(int) - pixels).max() < 6


def test_first_picture_of_a_phone_jpeg_is_taken(tmp_path):
    frames = [Image.fromarray(noise(3, seed=seed)) for seed in range(2)]
    data = encode(frames[0], "MPO", save_all=True, append_images=frames[1:])
    photo = read_bytes(tmp_path, data)
    assert photo.notes == ["first of the 2 pictures in the file taken"]
    np.testing.assert_array_equal(photo.color, reopened(io.BytesIO(data)))


def test_thumbnails_in_a_tiff_are_left_out(tmp_path):
    stream, values = io.BytesIO(), noise(3)
    with tifffile.TiffWriter(stream) as writer:
        writer.write(values, photometric="rgb")
        writer.write(values[::4, ::4].copy(), photometric="rgb", subfiletype=1)
    photo = read_bytes(tmp_path, stream.getvalue())
    np.testing.assert_array_equal(photo.color, values)
    assert photo.notes == ["smaller copies of the picture in the file left out"]


def test_bmp_of_5_6_5_bits(tmp_path):
    pixels = np.array([[0xF800, 0x07E0], [0x001F, 0xFFFF]], "<u2")  # lowest row first
    header = struct.pack("<IiiHHIIiiII", 40, 2, 2, 1, 16, 3, 8, 0, 0, 0, 0)
    masks = struct.pack("<3I", 0xF800, 0x07E0, 0x001F)
    start = 14 + len(header) + len(masks)
    data = b"BM" + struct.pack("<IHHI", start + 8, 0, 0, start) + header + masks
    photo = read_bytes(tmp_path, data + pixels.tobytes())
    assert photo.color.tolist() == [
        [[0, 0, 255], [255, 255, 255]],
        [[255, 0, 0], [0, 255, 0]],
    ]
