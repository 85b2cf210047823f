"""Writes photographs in the format that a file's ending names, whole or not at all."""

import math
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.ExifTags import Base as Tag

from tfsr.errors import InputError, reason_of
from tfsr.files import replacing
from tfsr.photos.encoders import (
    split_into_bands,
    write_jpeg,
    write_png,
    write_tiff,
)
from tfsr.photos.exif import directory_of, set_integers
from tfsr.photos.opening import unguarded_pillow
from tfsr.photos.photo import SRGB_CHUNKS, Photo, is_opaque

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
# WebP is lossless because lossy WebP halves the resolution of colour; for small files
# there is JPEG.
SAVE_OPTIONS = {
    "BMP": {},
    "WEBP": {"lossless": True, "exact": True, "method": 1, "quality": 30},
}
OPAQUE = ("JPEG", "BMP")
SIXTEEN_BITS = ("PNG", "TIFF")
MAX_SIDE = {"JPEG": 65500, "WEBP": 16383}
MAX_FILE_BYTES = {"BMP": 2**32 - 2**16, "TIFF": 2**32 - 2**26}
MAX_JPEG_EXIF_BYTES = 65533 - len(b"Exif\0\0")


def check_writable(file: str | Path, photo: Photo, scale: int = 1) -> list[str]:
    """Returns one-line notes on what a file cannot keep of an enlarged photograph.

    This is quick, so that a user learns of a mistake before a long computation.

    Args:
        file: The file to write; its ending names the format.
        photo: The photograph before enlargement.
        scale: The upscaling factor.

    Raises:
        InputError: If the format cannot hold the enlarged photograph.
    """
    suffix = Path(file).suffix.lower()
    if suffix not in FORMATS:
        raise InputError(
            f"{file}: cannot write {suffix or 'a file without ending'}; "
            f"expected {', '.join(FORMATS)}."
        )
    kind = FORMATS[suffix]
    height, width = (side * scale for side in photo.color.shape[:2])
    if max(height, width) > MAX_SIDE.get(kind, math.inf):
        raise InputError(
            f"{file}: {kind} holds at most {MAX_SIDE[kind]} pixels a side, "
            f"not {width} x {height}; choose .png or .tif."
        )
    samples = photo.color.shape[2] + (photo.alpha is not None)
    size_bytes = height * width * samples * photo.color.itemsize
    if size_bytes > MAX_FILE_BYTES.get(kind, math.inf):
        raise InputError(f"{file}: too large for {kind}; choose .png.")
    if kind in OPAQUE and not is_opaque(photo.alpha):
        raise InputError(
            f"{file}: {kind} cannot hold transparency; choose .png or .webp."
        )
    kept = _metadata_for(kind, photo, scale)
    notes = [
        f"{name.upper()} left out, which does not fit in {kind}"
        for name in ("icc", "dpi", "exif")
        if getattr(photo, name) and not getattr(kept, name)
    ]
    if kind != "PNG" and (lost := _colors_lost(photo)):
        notes.append(f"{lost} left out, which {kind} has not: colours may look other")
    if photo.color.dtype == np.uint16 and kind not in SIXTEEN_BITS:
        notes.insert(0, f"16 bits a channel reduced to 8, all that {kind} holds")
    return notes


def write_photo(
    file: str | Path,
    photo: Photo,
    bands: Iterable[np.ndarray] | None = None,
    scale: int = 1,
) -> list[str]:
    """Writes a photograph, or leaves `file` as it was; returns notes on what is lost.

    Grayscale stays grayscale if the format has it. JPEG has quality 95 and no chroma
    subsampling; the other formats are lossless.

    Args:
        file: The file to write; its ending names the format.
        photo: The photograph.
        bands: The enlarged pixels to write instead of the photograph's own, from top to
            bottom: `(h, W * scale, C)` of the same type, alpha as the last channel if
            there is one. PNG, TIFF and JPEG are written while the bands come; of others
            Pillow holds the whole, of colour at 4 bytes a pixel.
        scale: The upscaling factor of `bands`.

    Returns:
        One-line notes on what the file cannot keep of the photograph.

    Raises:
        InputError: If the format cannot hold the photograph, or if the file cannot be
            written.
    """
    notes = check_writable(file, photo, scale)
    kind = FORMATS[Path(file).suffix.lower()]
    photo = _metadata_for(kind, photo, scale)
    if bands is None:
        pixels = photo.color
        if photo.alpha is not None:
            pixels = np.dstack([pixels, photo.alpha])
        bands = split_into_bands(pixels)
    height, width, channels = photo.color.shape
    shape = height * scale, width * scale, channels + (photo.alpha is not None)
    dtype = photo.color.dtype
    try:
        with replacing(file) as temporary:
            if kind == "TIFF":
                with unguarded_pillow():
                    tags = directory_of(photo.exif) if photo.exif else None
                write_tiff(temporary, bands, shape, dtype, photo.icc, photo.dpi, tags)
            elif kind == "PNG":
                write_png(
                    temporary,
                    bands,
                    shape,
                    dtype,
                    photo.icc,
                    photo.dpi,
                    photo.exif,
                    photo.png_colors,
                )
            else:
                bands = _bands_for(kind, bands, photo)
                if kind == "JPEG":
                    shape = (*shape[:2], channels)
                    facts = photo.icc, photo.dpi, photo.exif
                    write_jpeg(temporary, bands, shape, *facts)
                else:
                    _write_by_pillow(temporary, bands, shape[1::-1], photo, kind)
    except OSError as error:
        reason = error.strerror or reason_of(error)
        raise InputError(f"{file}: cannot be written ({reason}).") from None
    return notes


def _colors_lost(photo):
    """Returns the names of what makes a PNG look other than its pixels and profile."""
    chunks = photo.png_colors
    if b"cICP" in chunks:
        deciding = [b"cICP"]
    else:
        deciding = [] if photo.icc or b"sRGB" in chunks else [b"gAMA", b"cHRM"]
    names = [n for n in deciding if n in chunks and chunks[n] != SRGB_CHUNKS[n]]
    return ", ".join(name.decode() for name in names)


def _metadata_for(kind, photo, scale):
    """Returns `photo` with only the metadata that a file of `kind` can hold."""
    height, width = (side * scale for side in photo.color.shape[:2])
    size = {Tag.ImageWidth: width, Tag.ImageLength: height}
    size |= {Tag.ExifImageWidth: width, Tag.ExifImageHeight: height}
    exif = photo.exif and set_integers(photo.exif, size)
    if kind == "BMP":
        return replace(photo, icc=None, exif=None)
    if kind == "WEBP":  # always RGB, which a gray profile does not fit
        gray = photo.icc is not None and photo.icc[16:20] == b"GRAY"
        return replace(photo, icc=None if gray else photo.icc, dpi=None, exif=exif)
    if kind == "JPEG" and exif and len(exif) > MAX_JPEG_EXIF_BYTES:
        exif = None
    return replace(photo, exif=exif)


def _bands_for(kind, bands, photo):
    """Yields bands in 8 bits, and without alpha where `kind` has none."""
    for band in bands:
        if band.dtype == np.uint16:
            band = ((np.arange(65536) + 128) // 257).astype(np.uint8)[band]
        if kind in OPAQUE and photo.alpha is not None:
            band = band[..., :-1]
        yield np.ascontiguousarray(band)


def _write_by_pillow(file, bands, size, photo, kind):
    options = {"icc_profile": photo.icc, "dpi": photo.dpi}
    options["exif"] = photo.exif and b"Exif\0\0" + photo.exif
    options = {name: value for name, value in options.items() if value}
    image, top = None, 0
    for band in bands:
        part = Image.fromarray(band[..., 0] if band.shape[2] == 1 else band)
        image = image or Image.new(part.mode, size)
        image.paste(part, (0, top))
        top += len(band)
    image.save(file, kind, **SAVE_OPTIONS[kind], **options)
