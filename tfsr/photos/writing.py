"""Writes photographs atomically, in the format that a file's ending names."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL.ExifTags import Base as Tag

from tfsr.errors import InputError, reason_of
from tfsr.files import replacing
from tfsr.photos.encoders import split_into_bands
from tfsr.photos.exif import set_integers
from tfsr.photos.formats import METADATA, WRITABLE
from tfsr.photos.photo import SRGB_CHUNKS, Photo, is_opaque


def check_writable(file: str | Path, photo: Photo, scale: int = 1) -> list[str]:
    """Returns one-line notes on what a file cannot keep of an enlarged photograph.

    It is quick, so that users learn of mistakes before a long computation.

    Args:
        file: The file to write; its ending names the format.
        photo: The photograph before enlargement.
        scale: The upscaling factor.

    Raises:
        InputError: If the format cannot hold the enlarged photograph.
    """
    suffix = Path(file).suffix.lower()
    if suffix not in WRITABLE:
        raise InputError(
            f"{file}: cannot write {suffix or 'a file without ending'}; "
            f"expected {', '.join(WRITABLE)}."
        )
    format = WRITABLE[suffix]
    height, width = (side * scale for side in photo.color.shape[:2])
    if max(height, width) > format.max_side:
        raise InputError(
            f"{file}: {format.name} holds at most {format.max_side} pixels a side, "
            f"not {width} x {height}; choose .png or .tif."
        )
    samples = photo.color.shape[2] + (photo.alpha is not None)
    size_bytes = height * width * samples * photo.color.itemsize
    if size_bytes > format.max_bytes:
        raise InputError(f"{file}: too large for {format.name}; choose .png.")
    if not (format.has_alpha or is_opaque(photo.alpha)):
        raise InputError(
            f"{file}: {format.name} cannot hold transparency; choose .png or .webp."
        )
    kept = _metadata_for(format, photo, scale)
    notes = [
        f"{name.upper()} left out, which does not fit in {format.name}"
        for name in METADATA
        if getattr(photo, name) and not getattr(kept, name)
    ]
    if "png_colors" not in format.metadata and (lost := _colors_lost(photo)):
        notes.append(
            f"{lost} left out, which {format.name} cannot hold: colours may differ"
        )
    if photo.color.dtype == np.uint16 and not format.has_16_bits:
        notes.insert(0, f"16 bits a channel reduced to 8, all that {format.name} holds")
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
            there is one. PNG, TIFF and JPEG are written as the bands arrive; for other
            formats Pillow holds the whole image, colour at 4 bytes per pixel.
        scale: The upscaling factor of `bands`.

    Returns:
        One-line notes on what the file cannot keep of the photograph.

    Raises:
        InputError: If the format cannot hold the photograph, or if the file cannot be
            written.
    """
    notes = check_writable(file, photo, scale)
    format = WRITABLE[Path(file).suffix.lower()]
    photo = _metadata_for(format, photo, scale)
    if bands is None:
        pixels = photo.color
        if photo.alpha is not None:
            pixels = np.dstack([pixels, photo.alpha])
        bands = split_into_bands(pixels)
    height, width, channels = photo.color.shape
    channels += photo.alpha is not None and format.has_alpha
    shape = height * scale, width * scale, channels
    try:
        with replacing(file) as temporary:
            format.write(temporary, _bands_for(format, bands, photo), shape, photo)
    except OSError as error:
        reason = error.strerror or reason_of(error)
        raise InputError(f"{file}: cannot be written ({reason}).") from None
    return notes


def _colors_lost(photo):
    """Returns the names of PNG chunks that change how the colours look."""
    chunks = photo.png_colors
    if b"cICP" in chunks:
        deciding = [b"cICP"]
    else:
        deciding = [] if photo.icc or b"sRGB" in chunks else [b"gAMA", b"cHRM"]
    names = [n for n in deciding if n in chunks and chunks[n] != SRGB_CHUNKS[n]]
    return ", ".join(name.decode() for name in names)


def _metadata_for(format, photo, scale):
    """Returns `photo` with only the metadata that a file of `format` can hold."""
    height, width = (side * scale for side in photo.color.shape[:2])
    size = {Tag.ImageWidth: width, Tag.ImageLength: height}
    size |= {Tag.ExifImageWidth: width, Tag.ExifImageHeight: height}
    facts = {name: getattr(photo, name) for name in METADATA}
    facts["exif"] = photo.exif and set_integers(photo.exif, size)
    if len(facts["exif"] or b"") > format.max_exif_bytes:
        facts["exif"] = None
    if photo.icc and photo.icc[16:20] == b"GRAY" and not format.has_gray:
        facts["icc"] = None
    left_out = dict.fromkeys(set(METADATA) - set(format.metadata))
    return replace(photo, **facts | left_out)


def _bands_for(format, bands, photo):
    """Yields bands without alpha and 16 bits where `format` has none."""
    for band in bands:
        if band.dtype == np.uint16 and not format.has_16_bits:
            band = ((np.arange(65536) + 128) // 257).astype(np.uint8)[band]
        if photo.alpha is not None and not format.has_alpha:
            band = band[..., :-1]
        yield np.ascontiguousarray(band)
