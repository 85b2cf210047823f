"""The formats of image files: an entry of `FORMATS` is all that one needs."""

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from tfsr.photos.encoders import write_jpeg, write_png, write_tiff
from tfsr.photos.exif import directory_of
from tfsr.photos.guards import unguarded_pillow
from tfsr.photos.lossy import jpeg_loss, webp_loss
from tfsr.photos.photo import Photo

Writer = Callable[[Path, Iterable[np.ndarray], tuple[int, int, int], Photo], None]
METADATA = ("icc", "dpi", "exif")  # the fields of a `Photo` that most formats hold
MAX_JPEG_EXIF_BYTES = 65533 - len(b"Exif\0\0")


@dataclass(frozen=True)
class ImageFormat:
    """A format of image files.

    Attributes:
        name: Its name in messages; in capitals, Pillow's name.
        suffixes: Endings of its files, the usual one first.
        write: Function that writes a file, given its path, bands of pixels, the shape
            `(H, W, C)` of the whole, and the photograph with the metadata to write.
            None if the format is only read.
        loss: Function of Pillow's image and the stream that returns the loss in words
            ("" if none) and the quality if known. None for a lossless format.
        brands: Bytes 4 to 11 of its files, for formats that Pillow may not know.
        metadata: The fields of a `Photo` that it holds.
        has_alpha: Whether it holds transparency.
        has_16_bits: Whether it holds uint16; otherwise only uint8.
        has_gray: Whether it holds one channel; otherwise gray becomes RGB.
        max_side: Limit of height and width in pixels.
        max_bytes: Limit of the pixels' size.
        max_exif_bytes: Limit of the EXIF block's size.
    """

    name: str
    suffixes: tuple[str, ...]
    write: Writer | Any = None
    loss: Callable[[Any, BinaryIO], tuple[str, int | None]] | None = None
    brands: tuple[bytes, ...] = ()
    metadata: tuple[str, ...] = METADATA
    has_alpha: bool = True
    has_16_bits: bool = False
    has_gray: bool = True
    max_side: float = math.inf
    max_bytes: float = math.inf
    max_exif_bytes: float = math.inf


def _png(file, bands, shape, photo):
    facts = photo.icc, photo.dpi, photo.exif, photo.png_colors
    write_png(file, bands, shape, photo.color.dtype, *facts)


def _tiff(file, bands, shape, photo):
    with unguarded_pillow():
        tags = directory_of(photo.exif) if photo.exif else None
    dtype = photo.color.dtype
    write_tiff(file, bands, shape, dtype, photo.icc, photo.dpi, tags)


def _jpeg(file, bands, shape, photo):
    write_jpeg(file, bands, shape, photo.icc, photo.dpi, photo.exif)


def _by_pillow(kind, options, file, bands, shape, photo):
    facts = {"icc_profile": photo.icc, "dpi": photo.dpi}
    facts["exif"] = photo.exif and b"Exif\0\0" + photo.exif
    facts = {name: value for name, value in facts.items() if value}
    image, top = None, 0
    for band in bands:
        part = Image.fromarray(band[..., 0] if band.shape[2] == 1 else band)
        image = image or Image.new(part.mode, shape[1::-1])
        image.paste(part, (0, top))
        top += len(band)
    image.save(file, kind, **options, **facts)


# Lossless, because lossy WebP halves the resolution of chroma. JPEG makes small files.
LOSSLESS = {"lossless": True, "exact": True, "method": 1, "quality": 30}
FORMATS = (
    ImageFormat(
        "PNG", (".png",), _png, metadata=(*METADATA, "png_colors"), has_16_bits=True
    ),
    ImageFormat(
        "JPEG",
        (".jpg", ".jpeg", ".jfif", ".jpe"),
        _jpeg,
        jpeg_loss,
        has_alpha=False,
        max_side=65500,
        max_exif_bytes=MAX_JPEG_EXIF_BYTES,
    ),
    ImageFormat(
        "BMP",
        (".bmp",),
        functools.partial(_by_pillow, "BMP", {}),
        metadata=("dpi",),
        has_alpha=False,
        max_bytes=2**32 - 2**16,
    ),
    ImageFormat(
        "TIFF", (".tif", ".tiff"), _tiff, has_16_bits=True, max_bytes=2**32 - 2**26
    ),
    ImageFormat(
        "WebP",
        (".webp",),
        functools.partial(_by_pillow, "WEBP", LOSSLESS),
        webp_loss,
        metadata=("icc", "exif"),
        has_gray=False,
        max_side=16383,
    ),
    ImageFormat("GIF", (".gif",)),
    ImageFormat("AVIF", (".avif",), brands=(b"ftypavif", b"ftypavis")),
    ImageFormat(
        "HEIC",
        (".heic", ".heif"),
        brands=tuple(
            b"ftyp" + brand for brand in (b"heic", b"heix", b"heim", b"mif1", b"msf1")
        ),
    ),
)
BY_NAME = {format.name: format for format in FORMATS}
WRITABLE = {
    suffix: format for format in FORMATS if format.write for suffix in format.suffixes
}
# Formats that photos may have but that are not written.
READ_ONLY = tuple(
    suffix for format in FORMATS if not format.write for suffix in format.suffixes
)
