import io
import struct
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from photo_files import (
    EXIF_IFD,
    MAKE,
    MAKER_NOTE,
    ORIENTATION,
    SRGB,
    WIDTH,
    encode,
    exif_block,
    noise,
    png,
    png_chunk,
    read_bytes,
    tiff,
)
from tfsr.photos import Photo, check_writable, read_photo, write_photo


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


def test_texts_are_noted(tmp_path):
    texts = PngInfo()
    texts.add_text("Author", "me")
    texts.add_itxt("Title", "Ünder", zip=True)
    data = encode(Image.fromarray(noise(3)), "PNG", pnginfo=texts)
    assert read_bytes(tmp_path, data).notes == ["texts left out: Author, Title"]
    data = encode(Image.fromarray(noise(3)), "JPEG", comment=b"hello")
    assert read_bytes(tmp_path, data).notes == ["texts left out: comment"]


def test_xmp_is_noted(tmp_path):
    data = encode(Image.fromarray(noise(3)), "WEBP", xmp=b"<x/>")
    assert read_bytes(tmp_path, data).notes == ["XMP and IPTC metadata left out"]


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
    # The iTXt's bytes are no UTF-8, so it is no text.
    assert photo.notes == (["texts left out: k"] if name == b"zTXt" else [])


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
