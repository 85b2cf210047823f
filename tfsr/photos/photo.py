"""A photograph in memory with its metadata."""

import struct
from dataclasses import dataclass, field, replace

import numpy as np

# By name, the length of PNG chunks that define the colours.
COLOR_CHUNKS = {b"cICP": 4, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}
# Their values for sRGB, which a reader may ignore.
SRGB_CHUNKS = {
    b"cICP": struct.pack("4B", 1, 13, 0, 1),
    b"gAMA": struct.pack(">I", 45455),
    b"cHRM": struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000),
}


@dataclass
class Photo:
    """An upright photograph with its metadata.

    Attributes:
        color: uint8 or uint16, RGB `(H, W, 3)` or grayscale `(H, W, 1)`.
        alpha: `(H, W)` of the same type, 0 where transparent, or None.
        icc: ICC profile of `color`, or None for sRGB.
        dpi: Horizontal and vertical dots per inch, or None.
        exif: EXIF block from its byte order mark on, orientation set to 1, or None.
        png_colors: Chunks of a PNG that define its colours besides `icc`, by name; see
            `COLOR_CHUNKS`.
        notes: One-line remarks for the user on what reading changed.
    """

    color: np.ndarray
    alpha: np.ndarray | None = None
    icc: bytes | None = None
    dpi: tuple[float, float] | None = None
    exif: bytes | None = None
    png_colors: dict[bytes, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def bleed_opaque(photo: Photo, reach: int = 16) -> Photo:
    """Returns `photo` with opaque colours extended into transparent parts.

    Enlarging mixes neighbours, so the colour of fully transparent pixels, mostly black,
    would show as a fringe. Ring by ring, each transparent pixel gets the mean colour of
    its known neighbours. This takes up to about ten bytes per pixel of memory.

    Args:
        photo: A photograph.
        reach: Number of rings in pixels, at least the receptive radius of the upscaler:
            2 for bicubic.
    """
    if photo.alpha is None or is_opaque(photo.alpha):
        return photo
    # A border that is neither known nor wanted makes neighbours constant offsets.
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


def is_opaque(alpha: np.ndarray | None) -> bool:
    """Returns whether `alpha` is None or has its maximum everywhere."""
    return alpha is None or alpha.min() == np.iinfo(alpha.dtype).max
