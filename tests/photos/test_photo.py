import io
import os
import runpy
import struct
import tracemalloc
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms, features

from tfsr.data.resize import imresize
from tfsr.errors import InputError
from tfsr.photos import (
    Photo,
    bleed_opaque,
    check_writable,
    encoders,
    read_photo,
    write_photo,
)

# Not an import: tests are no package.
survey = runpy.run_path(str(Path(__file__).parents[1] / "fuzzing.py"))["survey"]

ORIENTATION, MAKE, EXIF_IFD, MAKER_NOTE, WIDTH = 0x0112, 0x010F, 0x8769, 0x927C, 0xA002
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS = (".png", ".tif", ".webp", ".bmp")


def noise(channels, dtype=np.uint8, height=13, width=10, seed=0):
    values = np.random.default_rng(seed).integers(
        0, np.iinfo(dtype).max + 1, (height, width, channels), dtype
    )
    return values[..., 0] if channels == 1 else values


def encode(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_chunk(name, content):
    checksum = zlib.crc32(name + content)
    return (
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
    )


def png(values, color_type, depth=16, extra=b"", width=None):
    """A PNG of unfiltered rows; `values` is `(H, W, C)` or rows of packed bytes."""
    rows = values.astype(">u2" if depth == 16 else np.uint8).reshape(len(values), -1)
    raw = b"".join(b"\0" + row.tobytes() for row in rows)
    width = width or values.shape[1]
    header = struct.pack(">IIBBBBB", width, len(rows), depth, color_type, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + extra + png_chunk(b"IDAT", zlib.compress(raw))
    return b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b"")


def tiff(values, **options):
    stream = io.BytesIO()
    tifffile.imwrite(stream, values, metadata=None, **options)
    return stream.getvalue()


def read_bytes(folder, data):
    (folder / "lr").write_bytes(data)
    return read_photo(folder / "lr")


def pixels_of(photo):
    """`(H, W, C)` with alpha, if any, as the last channel."""
    parts = [photo.color] if photo.alpha is None else [photo.color, photo.alpha]
    return np.dstack(parts)


def reopened(file, mode=None):
    with Image.open(file) as image:
        return np.asarray(image.convert(mode or image.mode))


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


def exif_block(orientation=6):
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    exif[MAKE] = "Maker"
    exif[EXIF_IFD] = {MAKER_NOTE: b"note", WIDTH: 13, 0x9003: "2024:01:02 03:04:05"}
    return exif.tobytes()


SUPPORTED = {
    "png gray": (encode(Image.fromarray(noise(1)), "PNG"), "L"),
    "png gray alpha": (encode(Image.fromarray(noise(2)), "PNG"), "LA"),
    "png rgb": (encode(Image.fromarray(noise(3)), "PNG"), "RGB"),
    "png rgba": (encode(Image.fromarray(noise(4)), "PNG"), "RGBA"),
    "png palette": (encode(Image.fromarray(noise(3)).quantize(9), "PNG"), "RGB"),
    "png 1 bit": (encode(Image.fromarray(noise(1)).convert("1"), "PNG"), "L"),
    "jpeg gray": (encode(Image.fromarray(noise(1)), "JPEG"), "L"),
    "jpeg rgb": (encode(Image.fromarray(noise(3)), "JPEG"), "RGB"),
    "jpeg progressive": (
        encode(Image.fromarray(noise(3)), "JPEG", progressive=True),
        "RGB",
    ),
    "jpeg cmyk": (encode(Image.fromarray(noise(4), "CMYK"), "JPEG"), "RGB"),
    "bmp gray": (encode(Image.fromarray(noise(1)), "BMP"), "L"),
    "bmp rgb": (encode(Image.fromarray(noise(3)), "BMP"), "RGB"),
    "bmp palette": (encode(Image.fromarray(noise(3)).quantize(9), "BMP"), "RGB"),
    "tiff gray": (tiff(noise(1)), "L"),
    "tiff gray alpha": (encode(Image.fromarray(noise(2)), "TIFF"), "LA"),
    "tiff rgb": (tiff(noise(3), photometric="rgb"), "RGB"),
    "tiff rgba": (encode(Image.fromarray(noise(4)), "TIFF"), "RGBA"),
    "tiff lzw": (
        encode(Image.fromarray(noise(3)), "TIFF", compression="tiff_lzw"),
        "RGB",
    ),
    "tiff jpeg": (encode(Image.fromarray(noise(3)), "TIFF", compression="jpeg"), "RGB"),
    "tiff palette": (encode(Image.fromarray(noise(3)).quantize(9), "TIFF"), "RGB"),
    "tiff 1 bit": (
        encode(Image.fromarray(noise(1)).convert("1"), "TIFF", compression="group4"),
        "L",
    ),
    "tiff cmyk": (encode(Image.fromarray(noise(4), "CMYK"), "TIFF"), "RGB"),
    "webp rgb": (encode(Image.fromarray(noise(3)), "WEBP", lossless=True), "RGB"),
    "webp rgba": (
        encode(Image.fromarray(noise(4)), "WEBP", lossless=True, exact=True),
        "RGBA",
    ),
    "webp lossy": (encode(Image.fromarray(noise(3)), "WEBP", quality=80), "RGB"),
    "gif": (encode(Image.fromarray(noise(3)).quantize(9), "GIF"), "RGB"),
}
DEEP = {
    "png gray": (png(noise(1, np.uint16), 0), noise(1, np.uint16)),
    "png gray alpha": (png(noise(2, np.uint16), 4), noise(2, np.uint16)),
    "png rgb": (png(noise(3, np.uint16), 2), noise(3, np.uint16)),
    "png rgba": (png(noise(4, np.uint16), 6), noise(4, np.uint16)),
    "tiff gray": (tiff(noise(1, np.uint16)), noise(1, np.uint16)),
    "tiff gray big-endian": (
        tiff(noise(1, np.uint16), byteorder=">"),
        noise(1, np.uint16),
    ),
    "tiff white is zero": (
        tiff(~noise(1, np.uint16), photometric="miniswhite"),
        noise(1, np.uint16),
    ),
    "tiff rgb": (tiff(noise(3, np.uint16), photometric="rgb"), noise(3, np.uint16)),
    "tiff rgb big-endian": (
        tiff(noise(3, np.uint16), photometric="rgb", byteorder=">", rowsperstrip=3),
        noise(3, np.uint16),
    ),
    "tiff rgb deflate": (
        tiff(noise(3, np.uint16), photometric="rgb", compression="zlib"),
        noise(3, np.uint16),
    ),
    "tiff rgb tiles": (
        tiff(noise(3, np.uint16), photometric="rgb", tile=(16, 16), byteorder=">"),
        noise(3, np.uint16),
    ),
    "tiff rgba": (
        tiff(noise(4, np.uint16), photometric="rgb", extrasamples=["unassalpha"]),
        noise(4, np.uint16),
    ),
}


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


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "PNG 16"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(orientation, kind, tmp_path):
    if kind == "PNG 16":
        values = noise(3, np.uint16)
        extra = png_chunk(b"eXIf", exif_block(orientation)[6:])
        photo = read_bytes(tmp_path, png(values, 2, 16, extra))
        photo = replace(photo, color=(photo.color >> 8).astype(np.uint8))
        image = Image.fromarray((values >> 8).astype(np.uint8))
    else:
        options = {"lossless": True} if kind == "WEBP" else {}
        image = Image.fromarray(noise(3))
        data = encode(image, kind, exif=exif_block(orientation), **options)
        photo = read_bytes(tmp_path, data)
        image = Image.open(io.BytesIO(encode(image, kind, **options))).convert("RGB")
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    if orientation > 1:
        image = image.transpose(Image.Transpose(turns[orientation]))
    np.testing.assert_array_equal(photo.color, np.asarray(image))
    for suffix in (".jpg", ".png", ".webp", ".tif"):
        write_photo(tmp_path / f"sr{suffix}", photo)
        with Image.open(tmp_path / f"sr{suffix}") as written:
            exif = written.getexif()
            assert exif.get(ORIENTATION, 1) == 1
            assert exif[MAKE] == "Maker"
            assert exif.get_ifd(EXIF_IFD)[MAKER_NOTE] == b"note"
            assert exif.get_ifd(EXIF_IFD)[WIDTH] == image.width
            written.load()
            assert written.size == image.size


def test_orientation_of_tiff_at_both_depths(tmp_path):
    for dtype in (np.uint8, np.uint16):
        values = noise(3, dtype)
        for compression in (None, "zlib"):
            data = tiff(
                values,
                photometric="rgb",
                compression=compression,
                software=False,
                extratags=[(ORIENTATION, 3, 1, 6, True)],
            )
            photo = read_bytes(tmp_path, data)
            np.testing.assert_array_equal(photo.color, np.rot90(values, -1))
            assert photo.exif is None


def test_thumbnail_is_unlinked_and_makers_note_untouched(tmp_path):
    def directory(*entries, link):
        body = b"".join(struct.pack(">HHII", *entry) for entry in entries)
        return struct.pack(">H", len(entries)) + body + struct.pack(">I", link)

    shared = directory((ORIENTATION, 3, 1, 6 << 16), (EXIF_IFD, 4, 1, 56), link=38)
    thumbnail = directory((0x0100, 4, 1, 9), link=0)
    inner = directory((MAKER_NOTE, 7, 8, 74), link=0) + b"OFFSET74"
    block = b"MM\0*\0\0\0\x08" + shared + thumbnail + inner
    data = encode(Image.fromarray(noise(3)), "JPEG", exif=b"Exif\0\0" + block)
    photo = read_bytes(tmp_path, data)
    expected = bytearray(block)
    expected[18:20] = b"\0\1"
    expected[34:38] = bytes(4)
    assert photo.exif == bytes(expected)
    assert photo.notes == []


def test_damaged_exif_is_left_out(tmp_path):
    data = encode(
        Image.fromarray(noise(3)), "JPEG", exif=b"Exif\0\0II*\0\xff\0\0\0junk"
    )
    photo = read_bytes(tmp_path, data)
    assert photo.exif is None
    assert photo.notes == ["unreadable EXIF left out"]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif", ".webp", ".bmp"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_profile_and_dpi_are_kept(suffix, dtype, tmp_path):
    data = encode(Image.fromarray(noise(3)), "JPEG", icc_profile=SRGB, dpi=(300, 150))
    photo = read_bytes(tmp_path, data)
    photo = replace(photo, color=noise(3, dtype), exif=exif_block()[6:])
    notes = write_photo(tmp_path / f"sr{suffix}", photo)
    again = read_photo(tmp_path / f"sr{suffix}")
    lacking = {".webp": {"DPI"}, ".bmp": {"ICC", "EXIF"}}.get(suffix, set())
    assert {note[:3].rstrip() for note in notes} - {"16"} == {n[:3] for n in lacking}
    assert again.icc == (None if "ICC" in lacking else SRGB)
    assert (again.exif is None) == ("EXIF" in lacking)
    if "DPI" not in lacking:
        assert again.dpi == pytest.approx((300, 150), abs=0.02)


def test_metadata_that_does_not_fit_is_noted(tmp_path):
    gray_profile = SRGB[:16] + b"GRAY" + SRGB[20:]
    photo = Photo(noise(3), icc=gray_profile, exif=exif_block()[6:] + bytes(70000))
    notes = check_writable(tmp_path / "sr.jpg", photo)
    assert notes == ["EXIF left out, which does not fit in JPEG"]
    write_photo(tmp_path / "sr.jpg", photo)
    assert read_photo(tmp_path / "sr.jpg").exif is None
    notes = check_writable(tmp_path / "sr.webp", photo)
    assert notes == ["ICC left out, which does not fit in WebP"]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_what_a_png_says_of_its_colours_is_kept(dtype, tmp_path):
    """Gamma 1 and the primaries of Rec. 2020 look other than sRGB."""
    gamma = struct.pack(">I", 100_000)
    primaries = struct.pack(
        ">8I", 31270, 32900, 70800, 29200, 17000, 79700, 13100, 4600
    )
    chunks = {b"cICP": bytes((9, 16, 0, 1)), b"gAMA": gamma, b"cHRM": primaries}
    extra = b"".join(png_chunk(name, content) for name, content in chunks.items())
    depth = 8 * np.dtype(dtype).itemsize
    photo = read_bytes(tmp_path, png(noise(3, dtype), 2, depth, extra))
    assert photo.png_colors == chunks
    assert write_photo(tmp_path / "sr.png", photo) == []
    again = read_photo(tmp_path / "sr.png")
    assert again.png_colors == chunks
    np.testing.assert_array_equal(again.color, photo.color)
    with Image.open(tmp_path / "sr.png") as pillow:
        assert pillow.info["gamma"] == 1.0
    (*_, note) = check_writable(tmp_path / "sr.jpg", photo)
    assert note == "cICP left out, which JPEG cannot hold: colours may differ"


@pytest.mark.parametrize(
    ("chunks", "lost"),
    [
        ({b"gAMA": struct.pack(">I", 100_000)}, "gAMA"),
        ({b"gAMA": struct.pack(">I", 45455)}, ""),  # as sRGB
        ({b"gAMA": struct.pack(">I", 100_000), b"sRGB": b"\0"}, ""),  # sRGB decides
    ],
)
def test_colours_that_are_lost_are_said(chunks, lost, tmp_path):
    notes = check_writable(tmp_path / "sr.tif", Photo(noise(3), png_colors=chunks))
    said = [f"{lost} left out, which TIFF cannot hold: colours may differ"]
    assert notes == (said if lost else [])


def test_a_profile_takes_the_place_of_srgb(tmp_path):
    colors = {b"sRGB": b"\0", b"gAMA": struct.pack(">I", 45455)}
    write_photo(tmp_path / "sr.png", Photo(noise(3), icc=SRGB, png_colors=colors))
    again = read_photo(tmp_path / "sr.png")
    assert (again.icc, set(again.png_colors)) == (SRGB, {b"gAMA"})


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


def test_xmp_is_noted(tmp_path):
    data = encode(Image.fromarray(noise(3)), "WEBP", xmp=b"<x/>")
    assert read_bytes(tmp_path, data).notes == ["XMP and IPTC metadata left out"]


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_animations_and_pages_are_refused(kind, tmp_path):
    frames = [Image.fromarray(noise(3, seed=seed)) for seed in range(3)]
    data = encode(frames[0], kind, save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match="holds 3 frames or pages"):
        read_bytes(tmp_path, data)


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


@pytest.mark.parametrize(
    ("name", "size"), [(b"zTXt", 2_000_000), (b"iTXt", 2_000_000), (b"iCCP", 1_200_000)]
)
def test_long_texts_and_profiles_of_png_are_read(name, size, tmp_path):
    head = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[name]
    long = SRGB.ljust(size, b"\0")
    extra = png_chunk(name, head + zlib.compress(long))
    photo = read_bytes(tmp_path, png(noise(3), 2, 8, extra))
    np.testing.assert_array_equal(photo.color, noise(3))
    assert photo.icc == (long if name == b"iCCP" else None)
    assert photo.notes == []


@pytest.mark.parametrize("space", [b"GRAY", b"RGB ", b"CMYK"])
@pytest.mark.parametrize("mode", ["L", "P", "RGB"])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".jpg"])
def test_a_profile_is_kept_if_it_fits_what_is_written(mode, space, suffix, tmp_path):
    icc = SRGB[:16] + space + SRGB[20:]
    image = Image.fromarray(noise(3)).convert(mode)
    photo = read_bytes(tmp_path, encode(image, "PNG", icc_profile=icc))
    fits = space == (b"GRAY" if mode == "L" else b"RGB ")
    note = "ICC profile of another colour space left out"
    assert (note in photo.notes) == (not fits)
    write_photo(tmp_path / f"sr{suffix}", photo)
    with Image.open(tmp_path / f"sr{suffix}") as written:
        assert written.info.get("icc_profile") == (icc if fits else None)


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


def disc(size=24, soft=False):
    """A red disc on transparent black, with a hard or a soft edge."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    edge = size / 3 - np.hypot(y, x)
    alpha = np.clip(edge + 0.5, 0, 1) if soft else edge > 0
    alpha = (alpha * 255).astype(np.uint8)
    color = np.zeros((size, size, 3), np.uint8)
    color[alpha > 0] = (230, 20, 30)
    return Photo(color, alpha)


@pytest.mark.parametrize("soft", [False, True])
def test_bled_disc_has_no_dark_fringe(soft):
    photo = disc(soft=soft)
    premultiplied = photo.color / 255.0 * photo.alpha[..., None] / 255.0
    alpha = imresize(photo.alpha / 255.0, 4)[..., None]
    expected = imresize(premultiplied, 4) + 1 - alpha

    def on_white(photo):
        return imresize(photo.color / 255.0, 4) * alpha + 1 - alpha

    assert abs(on_white(photo) - expected).max() > 0.1
    bled = bleed_opaque(photo, reach=3)
    np.testing.assert_allclose(on_white(bled), expected, atol=1e-6)
    assert bled.alpha is photo.alpha


def test_bleeding_changes_only_transparent_pixels_within_reach():
    color = noise(3, np.uint16, 9, 9)
    alpha = np.zeros((9, 9), np.uint16)
    alpha[4, 4], alpha[0, 0] = 65535, 1
    photo = Photo(color.copy(), alpha)
    bled = bleed_opaque(photo, reach=2).color
    np.testing.assert_array_equal(photo.color, color)
    np.testing.assert_array_equal(bled[5, 5:7], [color[4, 4]] * 2)
    np.testing.assert_array_equal(bled[0, 1], color[0, 0])
    y, x = np.mgrid[:9, :9]
    near = np.maximum(abs(y - 4), abs(x - 4)) <= 2
    near |= np.maximum(y, x) <= 2
    np.testing.assert_array_equal(bled[~near], color[~near])
    np.testing.assert_array_equal(bled[alpha > 0], color[alpha > 0])
    everywhere = bleed_opaque(photo, reach=9).color
    assert (everywhere[3:6, 3:6] == color[4, 4]).all()


@pytest.mark.parametrize("value", [0, 255, None])
def test_bleeding_without_edges_changes_nothing(value):
    alpha = None if value is None else np.full((13, 10), value, np.uint8)
    color = noise(3)
    np.testing.assert_array_equal(bleed_opaque(Photo(color, alpha)).color, color)


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
