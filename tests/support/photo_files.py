"""Photos of every format, made in memory."""

import io
import struct
import zlib

import numpy as np
import tifffile
from PIL import Image, ImageCms

from tfsr.photos import read_photo

ORIENTATION, MAKE, EXIF_IFD, MAKER_NOTE, WIDTH = 0x0112, 0x010F, 0x8769, 0x927C, 0xA002
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


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
