"""Encoders of PNG, TIFF and JPEG that write an image in bands, as pixels arrive.

Pillow needs the whole image at once, writes only 8-bit colour, and its TIFF encoder
cannot compress a file with EXIF. No small maintained library writes these formats with
ICC profile, DPI and EXIF.
"""

import io
import struct
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from PIL.TiffTags import LONG

LEVEL = 4  # deflate level: half the time of 6, files no larger
JPEG_OPTIONS = {"quality": 95, "subsampling": "4:4:4"}
JPEG_ROWS = 64  # eight rows of blocks, the period of restart markers
START_OF_FRAME, START_OF_SCAN = 0xC0, 0xDA  # markers in a JPEG


def write_png(
    file: Path,
    bands: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    icc: bytes | None,
    dpi: tuple[float, float] | None,
    exif: bytes | None,
    colors: dict[bytes, bytes],
) -> None:
    """Writes a PNG whose rows are stored as differences from the row above.

    Args:
        file: The file to write.
        bands: The pixels from top to bottom, `(h, W, C)` each.
        shape: Shape of the whole image, `(H, W, C)`.
        dtype: uint8 or uint16.
        icc: ICC profile, if any.
        dpi: Horizontal and vertical dots per inch, if known.
        exif: EXIF block from its byte order mark on, if any.
        colors: Chunks of `COLOR_CHUNKS`, by name; an ICC profile replaces sRGB.

    Reference:
        https://www.w3.org/TR/png-3/
    """
    height, width, channels = shape
    wide = np.dtype(dtype).newbyteorder(">")
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    deflate = zlib.compressobj(LEVEL)
    with open(file, "wb") as stream:

        def chunk(name, data):
            checksum = zlib.crc32(data, zlib.crc32(name))
            stream.write(struct.pack(">I", len(data)) + name + data)
            stream.write(struct.pack(">I", checksum))

        stream.write(b"\x89PNG\r\n\x1a\n")
        sizes = struct.pack(
            ">IIBBBBB", width, height, 8 * wide.itemsize, color_type, 0, 0, 0
        )
        chunk(b"IHDR", sizes)
        for name, content in colors.items():
            if not (icc and name == b"sRGB"):
                chunk(name, content)
        if icc:
            chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
        if dpi:
            x, y = (round(value / 0.0254) for value in dpi)
            chunk(b"pHYs", struct.pack(">IIB", x, y, 1))
        if exif:
            chunk(b"eXIf", exif)
        above = np.zeros((1, width * channels * wide.itemsize), np.uint8)
        for rows in _fixed_bands(bands, _rows_per_band(shape, dtype)):
            rows = rows.astype(wide).reshape(len(rows), -1).view(np.uint8)
            up = rows - np.concatenate([above, rows[:-1]])
            above = rows[-1:]
            filtered = np.pad(up, ((0, 0), (1, 0)), constant_values=2)
            if data := deflate.compress(filtered.tobytes()):
                chunk(b"IDAT", data)
        chunk(b"IDAT", deflate.flush())
        chunk(b"IEND", b"")


def write_tiff(
    file: Path,
    bands: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    dtype: np.dtype,
    icc: bytes | None,
    dpi: tuple[float, float] | None,
    tags: ImageFileDirectory_v2 | None,
) -> None:
    """Writes a TIFF with deflate, its pixels as differences from the left neighbour.

    Args:
        file: The file to write.
        bands: The pixels from top to bottom, `(h, W, C)` each.
        shape: Shape of the whole image, `(H, W, C)`.
        dtype: uint8 or uint16.
        icc: ICC profile, if any.
        dpi: Horizontal and vertical dots per inch, if known.
        tags: EXIF as TIFF tags, if any.

    Reference:
        https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf
    """
    dtype = np.dtype(dtype)
    if shape[2] == 2 and dtype == np.uint16:  # which Pillow cannot read
        bands = (rows[..., [0, 0, 0, 1]] for rows in bands)
        shape = (*shape[:2], 4)
    height, width, channels = shape
    rows_per_strip = _rows_per_band(shape, dtype)
    strips = -(-height // rows_per_strip)
    directory = ImageFileDirectory_v2() if tags is None else tags
    directory[Tag.ImageWidth] = width
    directory[Tag.ImageLength] = height
    directory[Tag.BitsPerSample] = (8 * dtype.itemsize,) * channels
    directory[Tag.Compression] = 8  # deflate
    directory[Tag.PhotometricInterpretation] = 1 if channels < 3 else 2
    directory[Tag.SamplesPerPixel] = channels
    directory[Tag.RowsPerStrip] = rows_per_strip
    directory[Tag.PlanarConfiguration] = 1
    directory[Tag.Predictor] = 2  # horizontal differences
    if channels in (2, 4):
        directory[Tag.ExtraSamples] = 2  # alpha, not premultiplied
    if icc:
        directory[Tag.InterColorProfile] = icc
    if dpi:
        directory[Tag.XResolution], directory[Tag.YResolution] = dpi
        directory[Tag.ResolutionUnit] = 2  # inches
    # Strip lengths are known only after compressing, so the directory is written twice.
    starts, sizes = Tag.StripOffsets, Tag.StripByteCounts
    directory.tagtype[starts] = directory.tagtype[sizes] = LONG
    directory[starts] = directory[sizes] = (0,) * strips
    with open(file, "wb") as stream:
        directory.save(stream)
        lengths = []
        for rows in _fixed_bands(bands, rows_per_strip):
            left = rows.astype(dtype.newbyteorder("<"))
            left[:, 1:] -= rows[:, :-1]
            lengths.append(stream.write(zlib.compress(left.tobytes(), LEVEL)))
        directory[starts] = tuple(np.cumsum([0, *lengths[:-1]]).tolist())
        directory[sizes] = tuple(lengths)
        stream.seek(0)
        directory.save(stream)


def write_jpeg(
    file: Path,
    bands: Iterable[np.ndarray],
    shape: tuple[int, int, int],
    icc: bytes | None,
    dpi: tuple[float, float] | None,
    exif: bytes | None,
) -> None:
    """Writes a JPEG of quality 95 without chroma subsampling.

    Pillow compresses bands of `JPEG_ROWS`. A restart marker after each row of blocks
    makes the next row independent, so the concatenated bands are the whole image. Its
    header is that of the first band, with the height of the image.

    Args:
        file: The file to write.
        bands: The pixels from top to bottom, uint8 `(h, W, C)` each.
        shape: Shape of the whole image, `(H, W, C)`; C is 1 or 3.
        icc: ICC profile, if any.
        dpi: Horizontal and vertical dots per inch, if known.
        exif: EXIF block from its byte order mark on, if any.

    Reference:
        https://www.w3.org/Graphics/JPEG/itu-t81.pdf, B.2.1 and E.1.4
    """
    facts = {"icc_profile": icc, "dpi": dpi, "exif": exif and b"Exif\0\0" + exif}
    options = {key: value for key, value in facts.items() if value}
    with open(file, "wb") as stream:
        for i, rows in enumerate(_fixed_bands(bands, JPEG_ROWS)):
            encoded = io.BytesIO()
            image = Image.fromarray(rows[..., 0] if shape[2] == 1 else rows)
            image.save(
                encoded, "JPEG", restart_marker_rows=1, **JPEG_OPTIONS, **options
            )
            options = {}  # metadata belongs into the first header only
            content = bytearray(encoded.getvalue()[:-2])  # less the end-of-image marker
            frame, scan = _places_in_jpeg(content)
            if i:
                stream.write(b"\xff\xd7" + content[scan:])
            else:
                struct.pack_into(">H", content, frame + 5, shape[0])
                stream.write(content)
        stream.write(b"\xff\xd9")


def _places_in_jpeg(content):
    """Returns the offsets of the frame header and of the pixels in a JPEG."""
    frame, at = 0, 2
    while True:
        marker, length = struct.unpack_from(">xBH", content, at)
        if marker == START_OF_FRAME:
            frame = at
        at += 2 + length
        if marker == START_OF_SCAN:
            return frame, at


def split_into_bands(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Yields an image `(H, W, C)` as bands `(h, W, C)` of about a megabyte each."""
    rows = _rows_per_band(pixels.shape, pixels.dtype)
    for top in range(0, len(pixels), rows):
        yield pixels[top : top + rows]


def _rows_per_band(shape, dtype):
    _, width, channels = shape
    return max(1, 2**20 // (width * channels * np.dtype(dtype).itemsize))


def _fixed_bands(bands, rows):
    """Yields the rows of `bands` in bands of `rows` rows; the last may be shorter."""
    pending = None
    for band in bands:
        if pending is not None:
            missing = rows - len(pending)
            pending, band = np.concatenate([pending, band[:missing]]), band[missing:]
            if len(pending) < rows:
                continue
            yield pending
        whole = len(band) - len(band) % rows
        yield from (band[top : top + rows] for top in range(0, whole, rows))
        pending = band[whole:].copy()  # a view would keep the band in memory
    if pending is not None and len(pending):
        yield pending
