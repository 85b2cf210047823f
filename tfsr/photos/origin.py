"""What a file tells of how its pixels were kept: their bits, and what was lost."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from PIL.JpegImagePlugin import JpegImageFile

from tfsr.errors import InputError
from tfsr.photos.opening import AVIF, HEIC, has_16_bits, image_file, open_image

# Steps for luma, of Annex K of ITU-T T.81: the IJG's of quality 50.
TABLE_K_1 = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)


@dataclass(frozen=True)
class Origin:
    """How the pixels of a file were kept.

    Attributes:
        bits: Bits of a sample, 8 or 16.
        gray: Whether there is one channel.
        lossy: Such as "JPEG of quality 75"; "" where nothing was lost.
        quality: Quality of a JPEG on the scale of the IJG's encoder, 1 to 100.
    """

    bits: int = 8
    gray: bool = False
    lossy: str = ""
    quality: int | None = None

    def __str__(self):
        return f"a {self.lossy}" if self.lossy else "a file without loss"


def origin_of(file: str | Path) -> Origin:
    """Returns the origin of a file; 8 bits without loss if it cannot be read."""
    with contextlib.suppress(InputError), image_file(file) as stream:
        stream.seek(4)
        if stream.read(8) in (*HEIC, *AVIF):
            return Origin(lossy="HEIC or AVIF file")
        image = open_image(stream, whole=False)
        gray = image.getbands()[0] in ("1", "L", "I")
        # Whatever Pillow calls it: MPO is a JPEG with previews.
        kind = "JPEG" if isinstance(image, JpegImageFile) else image.format
        lossy, quality = LOSSY.get(kind, _nothing)(image, stream)
        return Origin(16 if has_16_bits(image) else 8, gray, lossy, quality)
    return Origin()


def _nothing(image, stream):
    return "", None


def _jpeg(image, stream):
    """Returns the quality of the IJG's table for luma whose steps add up alike."""
    steps = sum(image.quantization[0])
    distances = [abs(of_ijg - steps) for of_ijg in sums_of_steps()]
    quality = 1 + distances.index(min(distances))
    return f"JPEG of quality {quality}", quality


def sums_of_steps() -> list[int]:
    """Returns the sum of the IJG's steps for luma by quality, from 1 to 100."""
    return [sum(_ijg_steps(quality)) for quality in range(1, 101)]


def _ijg_steps(quality):
    """Returns the steps of the IJG's encoder, in percent of table K.1."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return [min(max((step * percent + 50) // 100, 1), 255) for step in TABLE_K_1]


def _webp(image, stream: BinaryIO):
    """Tells by the chunk of the pixels: "VP8 " is lossy, "VP8L" is not."""
    stream.seek(12)
    while len(head := stream.read(8)) == 8 and head[:4] not in (b"VP8 ", b"VP8L"):
        length = int.from_bytes(head[4:], "little")
        stream.seek(length + length % 2, 1)
    return "lossy WebP file" if head[:4] == b"VP8 " else "", None


# By Pillow's format, what returns the loss in words, and the quality if it is known.
LOSSY: dict[str, Callable[[Any, BinaryIO], tuple[str, int | None]]] = {
    "JPEG": _jpeg,
    "WEBP": _webp,
}
