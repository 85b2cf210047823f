"""Opens image files safely, since they may come from untrusted sources."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image
from PIL.ExifTags import Base as Tag
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from tfsr import extras
from tfsr.errors import InputError, reason_of
from tfsr.photos.formats import BY_NAME
from tfsr.photos.guards import unguarded_pillow
from tfsr.quiet import quiet_stderr

# Pillow reads more formats, but some start other programs, as EPS starts Ghostscript.
# Pillow before 11.3 and some builds cannot read AVIF.
HAS_AVIF = importlib.util.find_spec("PIL._avif") is not None
UNREAD = {"HEIC"} if HAS_AVIF else {"AVIF", "HEIC"}  # not by Pillow alone
READ_BY_PILLOW = [name.upper() for name in BY_NAME if name not in UNREAD]
MAX_PIXELS = 500_000_000
# No photograph comes near this: a blank page has 5000 pixels per byte. Beyond it, an
# image with more than MIN_BOMB_PIXELS is damaged or a decompression bomb.
MAX_PIXELS_PER_BYTE = 5000
MIN_BOMB_PIXELS = 50_000_000
# By TIFF's numbers: the colour space and its samples per pixel; the sample format.
TIFF_COLORS = {
    0: ("gray", 1),
    1: ("gray", 1),
    2: ("RGB", 3),
    3: ("palette", 1),
    5: ("CMYK", 4),
    6: ("YCbCr", 3),
    8: ("L*a*b*", 3),
    32803: ("raw sensor data", 1),
    34892: ("linear raw data", 3),
}
RGB565 = "BGR;16"  # in BMP: 16 bits per pixel, not per sample
TIFF_NUMBERS = {1: "", 2: "signed ", 3: "floating-point ", 4: ""}


@contextmanager
def image_file(file: str | Path) -> Iterator[BinaryIO]:
    """Yields an open image file; decoders print nothing inside the block.

    Raises:
        InputError: If the file is missing or the block raises; names `file`.
    """
    file = Path(file)
    try:
        if not file.exists():
            raise InputError("no such file.")
        if not file.is_file():
            raise InputError("not a file.")
        with file.open("rb") as stream, unguarded_pillow(), quiet_stderr():
            yield stream
    except InputError as error:
        raise InputError(f"{file}: {error}") from None
    except MemoryError:
        raise
    except Exception as error:  # decoders raise nearly anything on damaged files
        raise InputError(
            f"{file}: not a readable image ({reason_of(error)})."
        ) from error


def open_image(stream: BinaryIO, whole: bool = True) -> Any:
    """Returns Pillow's image; its content tells the format, not its ending.

    Args:
        stream: What `image_file` yields.
        whole: Whether the pixels will be read, so that a PNG's checksums are checked.

    Raises:
        InputError: If its format is none of `FORMATS`, if it claims more pixels than
            can be true, or if pixels are missing.
    """
    size_bytes = os.fstat(stream.fileno()).st_size
    if size_bytes == 0:
        raise InputError("the file is empty.")
    image = _identified(stream)
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
    frames = _frames(image)
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
    if whole and image.format == "PNG":  # Pillow checks checksums only in `verify`
        image.verify()
        image = _identified(stream)  # `verify` makes the image unusable
    return image


def raw_mode_of(image: Any) -> str:
    """Returns how Pillow unpacks the pixels of an open image, such as "RGB;16B"."""
    args = image.tile[0].args if image.tile else ""
    return args if isinstance(args, str) else str(args[0])


def has_16_bits(image: Any) -> bool:
    """Returns whether the samples of an open image are read as 16 bits."""
    if image.mode == "CMYK":  # which is converted to RGB of 8 bits
        return False
    return "16" in image.mode or ";16" in raw_mode_of(image).removeprefix(RGB565)


def _identified(stream):
    stream.seek(0)
    try:
        return Image.open(stream, formats=READ_BY_PILLOW)
    except Image.UnidentifiedImageError:
        stream.seek(4)
        brand = stream.read(8)
        if brand in BY_NAME["HEIC"].brands:
            return _identified_heic(stream)
        if brand in BY_NAME["AVIF"].brands and not HAS_AVIF:
            raise InputError(
                "AVIF, which this Pillow does not read: save it as JPEG or PNG."
            ) from None
        if kind := _kind_of_tiff(stream):
            raise InputError(
                f"a TIFF of {kind}, which cannot be read; save it as PNG, or as gray, "
                "RGB or RGBA of 8 or 16 bits."
            ) from None
        raise InputError(
            f"not an image of a supported kind ({', '.join(BY_NAME)}), or damaged."
        ) from None


def _identified_heic(stream):
    try:
        import pillow_heif
    except ModuleNotFoundError:
        raise InputError(
            f"HEIC, which needs pillow-heif: {extras.command('heic')}; or save it as "
            "JPEG or PNG."
        ) from None
    pillow_heif.register_heif_opener()
    stream.seek(0)
    try:
        return Image.open(stream, formats=["HEIF"])
    except Image.UnidentifiedImageError:
        raise InputError("HEIC, but damaged.") from None


def _frames(image):
    """Returns the number of frames or pages, without the reduced copies in a TIFF."""
    frames = getattr(image, "n_frames", 1)
    if image.format != "TIFF" or frames == 1:
        return frames
    reduced = 0
    for page in range(1, frames):
        image.seek(page)
        reduced += image.tag_v2.get(Tag.NewSubfileType, 0) & 1
    image.seek(0)
    return frames - reduced


def _kind_of_tiff(stream):
    """Returns in words the pixels of a TIFF that Pillow cannot read; "" for others."""
    stream.seek(0)
    header = stream.read(8)
    if header[:4] not in (b"II*\0", b"MM\0*"):
        return ""
    try:
        tags = ImageFileDirectory_v2(header)
        stream.seek(tags.next)
        tags.load(stream)
        color, samples = TIFF_COLORS[tags[Tag.PhotometricInterpretation]]
        more = tags.get(Tag.SamplesPerPixel, 1) - samples
        bits = tags.get(Tag.BitsPerSample, (1,))[0]
        number = TIFF_NUMBERS[tags.get(Tag.SampleFormat, (1,))[0]]
        alpha = tags.get(Tag.ExtraSamples, (0,))[0] in (1, 2)
    except Exception:  # Pillow raises nearly anything on a damaged directory
        return ""
    extra = f" and {more} more channels" if more > 0 else ""
    if more == 1:
        extra = " with alpha" if alpha else " with another channel"
    return f"{bits}-bit {number}{color}{extra}"


def _check_tiff(image):
    """Raises an `InputError` for TIFFs that Pillow would silently misread."""
    separate = image.tag_v2.get(Tag.PlanarConfiguration) == 2
    if separate and max(image.tag_v2.get(Tag.BitsPerSample, (1,))) > 8:
        raise InputError("16-bit TIFF in separate planes; save it interleaved.")
    raw = image.tile and image.tile[0].codec_name == "raw"
    planes = len(image.getbands()) if separate and raw else 1
    boxes = [tile.extents for tile in image.tile]
    covered = sum((right - left) * (low - top) for left, top, right, low in boxes)
    if covered < planes * image.width * image.height:
        raise InputError("part of its pixels is missing.")
