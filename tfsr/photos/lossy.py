"""Tells from a file's tables and chunks what compression has lost."""

from typing import Any, BinaryIO

# Quantization steps for luma in Annex K of ITU-T T.81: those of the IJG's quality 50.
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


def jpeg_loss(image: Any, stream: BinaryIO) -> tuple[str, int | None]:
    """Returns the loss of a JPEG in words, and its quality on the IJG's scale.

    The quality is the one whose luma table has the nearest sum of steps.
    """
    steps = sum(image.quantization[0])
    distances = [abs(of_ijg - steps) for of_ijg in sums_of_steps()]
    quality = 1 + distances.index(min(distances))
    return f"JPEG of quality {quality}", quality


def sums_of_steps() -> list[int]:
    """Returns the sum of the IJG's steps for luma by quality, from 1 to 100."""
    return [sum(_ijg_steps(quality)) for quality in range(1, 101)]


def _ijg_steps(quality):
    """Returns the steps of the IJG's encoder, which scales table K.1."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return [min(max((step * percent + 50) // 100, 1), 255) for step in TABLE_K_1]


def webp_loss(image: Any, stream: BinaryIO) -> tuple[str, int | None]:
    """Returns the loss of a WebP in words, "" if its pixels' chunk is lossless VP8L."""
    stream.seek(12)
    while len(head := stream.read(8)) == 8 and head[:4] not in (b"VP8 ", b"VP8L"):
        length = int.from_bytes(head[4:], "little")
        stream.seek(length + length % 2, 1)
    return "lossy WebP file" if head[:4] == b"VP8 " else "", None
