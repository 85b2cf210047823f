"""Tells the bit depth of an image file, and what compression has lost."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from PIL.JpegImagePlugin import JpegImageFile

from tfsr.errors import InputError
from tfsr.photos.formats import FORMATS
from tfsr.photos.opening import has_16_bits, image_file, open_image

LOSS_OF = {format.name.upper(): format.loss for format in FORMATS}  # by Pillow's name
LOSSY_BRANDS = [brand for format in FORMATS for brand in format.brands]


@dataclass(frozen=True)
class Origin:
    """How an image file stores its pixels.

    Attributes:
        bits: Bits per sample, 8 or 16.
        lossy: The lossy compression, such as "JPEG of quality 75"; "" if lossless.
        quality: Quality of a JPEG on the scale of the IJG's encoder, 1 to 100.
        known: Whether the file could be read; it has no words if not.
    """

    bits: int = 8
    lossy: str = ""
    quality: int | None = None
    known: bool = True

    def __str__(self):
        if not self.known:
            return ""
        return f"a {self.lossy}" if self.lossy else "a file without loss"


def origin_of(file: str | Path) -> Origin:
    """Returns the origin of a file; if it cannot be read, lossless 8 bits."""
    with contextlib.suppress(InputError), image_file(file) as stream:
        stream.seek(4)
        if stream.read(8) in LOSSY_BRANDS:
            return Origin(lossy="HEIC or AVIF file")
        image = open_image(stream, whole=False)
        # Pillow calls a JPEG with previews MPO.
        kind = "JPEG" if isinstance(image, JpegImageFile) else image.format
        loss = LOSS_OF.get(kind)
        lossy, quality = loss(image, stream) if loss else ("", None)
        return Origin(16 if has_16_bits(image) else 8, lossy, quality)
    return Origin(known=False)
