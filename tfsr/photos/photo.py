"""Photographs read and written so that enlarging one loses nothing else of it.

Everything is decoded by Pillow. It opens 16-bit colour too, but keeps only the high
byte of each sample, so such files are decoded twice, once for each byte. That needs no
second decoder: pypng is not maintained, tifffile lacks LZW without imagecodecs, OpenCV
drops the metadata.
"""

import io
import logging
import math
import os
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageCms
from PIL.ExifTags import Base as Tag

from tfsr.errors import InputError
from tfsr.files import replacing
from tfsr.photos.encoders import split_into_bands, write_png, write_tiff
from tfsr.photos.exif import collect, directory_of, set_integers

MAX_PIXELS = 500_000_000
# No photograph comes near: one pixel in 5000 bytes is a blank page. Past the pixel
# count below, where memory hurts, such a file is damaged or a decompression bomb.
MAX_PIXELS_PER_BYTE = 5000
MIN_BOMB_PIXELS = 50_000_000

FORMATS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".bmp": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
# WebP is lossless because JPEG is the format to choose for size, and because lossy WebP
# halves the resolution of colour.
SAVE_OPTIONS = {
    "JPEG": {"quality": 95, "subsampling": "4:4:4"},
    "BMP": {},
    "WEBP": {"lossless": True, "exact": True, "method": 1, "quality": 30},
}
HEIF = [b"ftyp" + brand for brand in (b"heic", b"heix", b"mif1", b"avif")]
OPAQUE = ("JPEG", "BMP")
SIXTEEN_BITS = ("PNG", "TIFF")
MAX_SIDE = {"JPEG": 65500, "WEBP": 16383}
MAX_FILE_BYTES = {"BMP": 2**32 - 2**16, "TIFF": 2**32 - 2**26}
MAX_JPEG_EXIF_BYTES = 65533 - len(b"Exif\0\0")

# What EXIF means by each orientation, as a view of `(H, W, ...)`.
UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}
# Pillow's pixel limit and logger and Python's warning filters belong to the process.
_lock = threading.Lock()


@dataclass
class Photo:
    """A photograph, the right way up, with what writing it needs.

    Attributes:
        color: uint8 or uint16, RGB `(H, W, 3)` or grayscale `(H, W, 1)`.
        alpha: `(H, W)` of the same type, 0 where transparent, or None.
        icc: ICC profile that `color` is in, or None for sRGB.
        dpi: Horizontal and vertical dots per inch, or None.
        exif: EXIF block from its byte order mark on, of orientation 1, or None.
        notes: One-line remarks for the user on what reading changed.
    """

    color: np.ndarray
    alpha: np.ndarray | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    exif: bytes | None = None
    notes: list[str] = field(default_factory=list)


def read_photo(file: str | Path) -> Photo:
    """Returns the photograph in `file`; its content counts, not its ending.

    Raises:
        InputError: If the file is no photograph that can be read in full.
    """
    file = Path(file)
    try:
        if not file.exists():
            raise InputError("no such file.")
        if not file.is_file():
            raise InputError("not a file.")
        with file.open("rb") as stream, _unguarded_pillow():
            return _read(stream)
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # on damaged files decoders raise nearly anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{file}: not a readable image ({reason}).") from error


def check_writable(file: str | Path, photo: Photo, scale: int = 1) -> list[str]:
    """Returns one-line notes on what `file` will lack of `photo` enlarged by `scale`.

    Cheap, so that a user learns of a mistake before a long computation.

    Raises:
        InputError: If the format of `file` cannot hold the photograph.
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
    if kind in OPAQUE and not _is_opaque(photo.alpha):
        raise InputError(
            f"{file}: {kind} cannot hold transparency; choose .png or .webp."
        )
    kept = _metadata_for(kind, photo, scale)
    notes = [
        f"{name.upper()} left out, which does not fit in {kind}"
        for name in ("icc", "dpi", "exif")
        if getattr(photo, name) and not getattr(kept, name)
    ]
    if photo.color.dtype == np.uint16 and kind not in SIXTEEN_BITS:
        notes.insert(0, f"16 bits a channel reduced to 8, all that {kind} holds")
    return notes


def write_photo(
    file: str | Path,
    photo: Photo,
    bands: Iterable[np.ndarray] | None = None,
    scale: int = 1,
) -> list[str]:
    """Writes `photo` in the format that `file` ends in, never half of it.

    Grayscale stays grayscale where the format has it. JPEG is of quality 95 without
    chroma subsampling; the other formats are lossless.

    Args:
        file: The file to write.
        photo: The photograph.
        bands: Its enlargement to write in place of its own pixels, from top to bottom:
            `(h, W * scale, C)` of its type, alpha as the last channel if it has one.
            PNG and TIFF are written as the bands come.
        scale: How much larger the bands are.

    Returns:
        One-line notes on what the file lacks of the photograph.

    Raises:
        InputError: If the format cannot hold the photograph or the file be written.
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
                with _unguarded_pillow():
                    tags = directory_of(photo.exif) if photo.exif else None
                write_tiff(temporary, bands, shape, dtype, photo.icc, photo.dpi, tags)
            elif kind == "PNG":
                write_png(
                    temporary, bands, shape, dtype, photo.icc, photo.dpi, photo.exif
                )
            else:
                _write_by_pillow(temporary, bands, photo, kind)
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise InputError(f"{file}: cannot be written ({reason}).") from None
    return notes


def bleed_opaque(photo: Photo, reach: int = 16) -> Photo:
    """Returns `photo` with the colour around opaque parts spread into transparent ones.

    Enlarging mixes neighbours, so the colour under full transparency, mostly black,
    would show as a fringe. Each transparent pixel next to others gets their mean, ring
    by ring. Takes up to some ten bytes a pixel of the photograph while it works.

    Args:
        photo: A photograph.
        reach: Pixels to go, at least what enlarging sees of the image on each side: 2
            for bicubic.
    """
    if _is_opaque(photo.alpha):
        return photo
    # A border that is neither known nor wanted lets neighbours be plain offsets.
    color = np.pad(photo.color, ((1, 1), (1, 1), (0, 0)))
    known = np.pad(photo.alpha > 0, 1).ravel()
    wanted = np.pad(photo.alpha == 0, 1).ravel()
    flat = color.reshape(len(known), -1)
    row = color.shape[1]
    steps = [y * row + x for y in (-1, 0, 1) for x in (-1, 0, 1) if x or y]
    beside = np.zeros_like(known)
    for step in steps:
        beside |= np.roll(known, step)
    ring = np.flatnonzero(beside & wanted)
    for _ in range(reach):
        total = np.zeros((len(ring), flat.shape[1]), np.float32)
        count = np.zeros((len(ring), 1), np.float32)
        for step in steps:
            near = known[ring + step]
            total[near] += flat[ring[near] + step]
            count[near] += 1
        flat[ring] = total / count + 0.5
        known[ring], wanted[ring] = True, False
        beyond = [ring[wanted[ring + step]] + step for step in steps]
        ring = np.unique(np.concatenate(beyond))
    return replace(photo, color=color[1:-1, 1:-1])


@contextmanager
def _unguarded_pillow() -> Iterator[None]:
    """Silences Pillow and lifts its pixel limit, for which `_open` has its own."""
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        logger = logging.getLogger("PIL")
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)
            Image.MAX_IMAGE_PIXELS = limit


@contextmanager
def _muted_libtiff() -> Iterator[None]:
    """Closes standard error to libtiff, which writes there past Python."""
    with open(os.devnull, "wb") as nowhere:
        standard_error = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


def _read(stream: BinaryIO) -> Photo:
    image = _open(stream)
    if image.format == "PNG":  # decoding skips the checksums; checking ends the image
        image.verify()
        image = _open(stream)
    notes = []
    if image.format == "MPO" and image.n_frames > 1:
        notes.append(f"first of the {image.n_frames} pictures in the file taken")
    raw_mode = _raw_mode(image)
    with _muted_libtiff() if image.format == "TIFF" else nullcontext():
        if image.mode == "CMYK" or ("16" not in image.mode and ";16" not in raw_mode):
            pixels = _eight_bits(image, notes)
        else:
            pixels = _sixteen_bits(stream, image)
    if image.format == "TIFF" and 0 in np.ravel(image.tag_v2.get(Tag.ExtraSamples, ())):
        notes.append("extra channel of unknown meaning left out")
    if "xmp" in image.info or "photoshop" in image.info:
        notes.append("XMP and IPTC metadata left out")
    # After decoding: PNG may keep EXIF behind its pixels, and Pillow turns TIFF itself.
    orientation, exif = _exif(image, notes)
    turn = UPRIGHT.get(orientation, lambda a: a)
    channels = 1 if pixels.shape[2] < 3 else 3
    color, alpha = pixels[..., :channels], None
    if pixels.shape[2] > channels:
        alpha = pixels[..., channels]
    elif image.mode != "P" and "transparency" in image.info:
        alpha = _keyed_alpha(image.info["transparency"], color, raw_mode)
    icc = image.info.get("icc_profile")
    return Photo(
        np.ascontiguousarray(turn(color)),
        None if alpha is None else np.ascontiguousarray(turn(alpha)),
        icc if icc and isinstance(icc, bytes) and image.mode != "CMYK" else None,
        _dpi(image),
        exif,
        notes,
    )


def _open(stream):
    size_bytes = os.fstat(stream.fileno()).st_size
    if size_bytes == 0:
        raise InputError("the file is empty.")
    stream.seek(0)
    try:
        image = Image.open(
            stream, formats=("PNG", "JPEG", "BMP", "TIFF", "WEBP", "GIF")
        )
    except Image.UnidentifiedImageError:
        stream.seek(4)
        if stream.read(8) in HEIF:
            raise InputError("HEIC or AVIF; save it as JPEG or PNG.") from None
        raise InputError(
            "not an image of a supported kind (PNG, JPEG, BMP, TIFF, WebP, GIF), "
            "or damaged."
        ) from None
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise InputError(
            f"{width} x {height} pixels; at most {MAX_PIXELS / 1e6:g} megapixels "
            "can be read."
        )
    if width * height > max(MIN_BOMB_PIXELS, MAX_PIXELS_PER_BYTE * size_bytes):
        raise InputError(
            f"claims {width} x {height} pixels in {size_bytes} bytes; damaged?"
        )
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":  # MPO: a phone's photo and its previews
        raise InputError(
            f"holds {frames} frames or pages; save the one to use as a file of its own."
        )
    if image.mode in ("F", "I", "LAB"):
        content = {"F": "floating-point", "I": "32-bit or signed", "LAB": "L*a*b*"}
        raise InputError(
            f"{content[image.mode]} pixels cannot be read; convert the file to "
            "grayscale or RGB of 8 or 16 bits."
        )
    if image.format == "TIFF":
        _check_tiff(image)
    return image


def _check_tiff(image):
    """Refuses what Pillow would misread without a word."""
    separate = image.tag_v2.get(Tag.PlanarConfiguration) == 2
    if separate and max(image.tag_v2.get(Tag.BitsPerSample, (1,))) > 8:
        raise InputError("16-bit TIFF in separate planes; save it interleaved.")
    raw = image.tile and image.tile[0].codec_name == "raw"
    planes = len(image.getbands()) if separate and raw else 1
    boxes = [tile.extents for tile in image.tile]
    covered = sum((right - left) * (low - top) for left, top, right, low in boxes)
    if covered < planes * image.width * image.height:
        raise InputError("part of its pixels is missing.")


def _raw_mode(image):
    args = image.tile[0].args if image.tile else ""
    return args if isinstance(args, str) else str(args[0])


def _eight_bits(image, notes):
    """Returns the pixels as uint8 `(H, W, C)`, C from 1, gray, to 4, RGB and alpha."""
    if image.mode == "CMYK":
        image = _rgb_from_cmyk(image, notes)
    elif image.mode in ("P", "PA"):
        image.load()  # only now is the transparency known
        transparent = image.mode == "PA" or "transparency" in image.info
        notes.append(f"palette converted to RGB{' and alpha' * transparent}")
        image = image.convert("RGBA" if transparent else "RGB")
    elif image.mode == "1":
        notes.append("black and white converted to 8-bit grayscale")
        image = image.convert("L")
    elif image.mode == "La":
        image = image.convert("LA")
    elif image.mode not in ("L", "LA", "RGB", "RGBA"):
        image = image.convert("RGB")
    return np.atleast_3d(np.asarray(image))


def _rgb_from_cmyk(image, notes):
    depth = "16-bit " if ";16" in _raw_mode(image) else ""
    icc = image.info.get("icc_profile")
    if icc:
        image.load()
        try:
            rgb = ImageCms.profileToProfile(
                image,
                io.BytesIO(icc),
                ImageCms.createProfile("sRGB"),
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            notes.append("unusable ICC profile left out")
        else:
            notes.append(f"{depth}CMYK converted to 8-bit sRGB by its ICC profile")
            return rgb
    notes.append(
        f"{depth}CMYK converted to 8-bit RGB without a profile: colours may be off"
    )
    return image.convert("RGB")


def _sixteen_bits(stream, image):
    """Returns the pixels as uint16 `(H, W, C)`, C from 1, gray, to 4, RGB and alpha."""
    raw_mode = _raw_mode(image)
    tags = image.tag_v2 if image.format == "TIFF" else {}
    if raw_mode == "LA;16B":  # unpacked as RGBA, the four bytes of gray and alpha
        return _decode(image, "RGBA").view(">u2").astype(np.uint16)
    if image.mode not in ("RGB", "RGBA"):
        pixels = _decode(image, raw_mode).astype(np.uint16)
        if raw_mode == "I;12":
            pixels = pixels << 4 | pixels >> 8
        # Which Pillow ignores at 16 bits.
        white_is_zero = tags.get(Tag.PhotometricInterpretation) == 0
        return 65535 - pixels if white_is_zero else pixels
    # Unpacked in the other byte order, the low byte of each sample passes for the high.
    straight = raw_mode.replace("RGBa", "RGBA")
    big = straight[-1] == "B" or (straight[-1] == "N" and sys.byteorder == "big")
    pixels = _decode(image, straight).astype(np.uint16) << 8
    pixels |= _decode(_open(stream), straight[:-1] + ("L" if big else "B"))
    if straight != raw_mode:  # colour is stored multiplied by alpha
        alpha = np.maximum(pixels[..., 3:], 1).astype(np.float32)
        color = pixels[..., :3] * (65535 / alpha) + 0.5
        pixels[..., :3] = np.minimum(color, 65535)
    return pixels


def _decode(image, raw_mode):
    """Returns the pixels as `(H, W, C)`, unpacked as if `raw_mode` were the file's."""
    if image.format == "TIFF":
        args = [(raw_mode, *tile.args[1:]) for tile in image.tile]
    else:
        args = [raw_mode for _ in image.tile]
    image.tile = [
        tile._replace(args=arg) for tile, arg in zip(image.tile, args, strict=True)
    ]
    return np.atleast_3d(np.asarray(image))


def _keyed_alpha(key, color, raw_mode):
    """Returns alpha `(H, W)` where PNG names one value or colour as transparent."""
    peak = np.iinfo(color.dtype).max
    # Pillow spreads 2- and 4-bit pixels over 0 to 255, but not the key.
    key = np.asarray(key) * {"L;2": 85, "L;4": 17}.get(raw_mode, 1) & peak
    return (color != key).any(axis=2).astype(color.dtype) * color.dtype.type(peak)


def _dpi(image):
    if image.format == "TIFF" and Tag.XResolution not in image.tag_v2:
        return None  # Pillow makes it 1
    try:
        x, y = (float(value) for value in image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return (x, y) if 1 <= x <= 30000 and 1 <= y <= 30000 else None


def _exif(image, notes):
    """Returns the orientation, and the EXIF block made upright or None.

    The block is changed in place: its makers' notes hold offsets that writing it anew
    would break. A TIFF has none, only tags among its own, which are collected.
    """
    orientation, block = 1, None
    try:
        tags = image.getexif()
        orientation = tags.get(Tag.Orientation, 1)
        if image.format != "TIFF" and isinstance(image.info.get("exif"), bytes):
            block = image.info["exif"].removeprefix(b"Exif\0\0")
            directory_of(block).tobytes()  # now, so that writing a TIFF cannot fail
        elif directory := collect(tags):
            block = b"II*\0\x08\0\0\0" + directory.tobytes(8)
        return orientation, block and set_integers(block, {Tag.Orientation: 1})
    except Exception:  # Pillow raises nearly anything on damaged EXIF
        notes.append("unreadable EXIF left out")
        return orientation, None


def _is_opaque(alpha):
    return alpha is None or alpha.min() == np.iinfo(alpha.dtype).max


def _metadata_for(kind, photo, scale):
    """Returns `photo` with what of its metadata a file of `kind` can hold."""
    height, width = (side * scale for side in photo.color.shape[:2])
    size = {Tag.ImageWidth: width, Tag.ImageLength: height}
    size |= {Tag.ExifImageWidth: width, Tag.ExifImageHeight: height}
    exif = photo.exif and set_integers(photo.exif, size)
    if kind == "BMP":
        return replace(photo, icc=None, exif=None)
    if kind == "WEBP":  # is RGB even where the photograph is gray
        gray = photo.icc is not None and photo.icc[16:20] == b"GRAY"
        return replace(photo, icc=None if gray else photo.icc, dpi=None, exif=exif)
    if kind == "JPEG" and exif and len(exif) > MAX_JPEG_EXIF_BYTES:
        exif = None
    return replace(photo, exif=exif)


def _write_by_pillow(file, bands, photo, kind):
    pixels = np.concatenate(list(bands))
    if pixels.dtype == np.uint16:
        pixels = ((np.arange(65536) + 128) // 257).astype(np.uint8)[pixels]
    if kind in OPAQUE and photo.alpha is not None:
        pixels = pixels[..., :-1]
    options = {"icc_profile": photo.icc, "dpi": photo.dpi}
    options["exif"] = photo.exif and b"Exif\0\0" + photo.exif
    options = {name: value for name, value in options.items() if value}
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    image.save(file, kind, **SAVE_OPTIONS[kind], **options)
