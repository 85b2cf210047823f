"""Large images in tiles: memory bounded by the tile, results those of the whole."""

from collections.abc import Callable, Iterator

import numpy as np


def bands(
    enlarge: Callable[[np.ndarray], np.ndarray],
    scale: int,
    layers: list[np.ndarray],
    tile: int,
    overlap: int,
    step: int = 1,
) -> Iterator[np.ndarray]:
    """Yields the enlargement of an image from top to bottom, in bands of whole rows.

    Tiles lie inside the image, so its border is met as in the whole image; those at the
    right and bottom overlap more instead of being smaller, so all have one size. Before
    that the image is padded to multiples of `step` by its last row and column.

    Args:
        enlarge: From float32 `(h, w, C)` in [0, 1] to `(h * scale, w * scale, K)`.
        scale: The upscaling factor.
        layers: Parts of the image, `(H, W)` or `(H, W, c)`, which a tile has as its
            channels; of one type, uint8, uint16 or float in [0, 1].
        tile: Side of a tile in LR pixels; must exceed `2 * overlap`.
        overlap: LR pixels at a tile's inner sides that are computed but not used.
        step: Where tiles may begin; must divide `tile` and `overlap`.

    Yields:
        `(h * scale, W * scale, K)` of the type that `enlarge` returns.
    """
    if tile <= 2 * overlap:
        raise ValueError(
            f"`tile` must exceed twice the overlap of {overlap}. Received: tile={tile}."
        )
    if tile % step or overlap % step:
        raise ValueError(
            "`step` must divide tile and overlap. "
            f"Received: step={step}, tile={tile}, overlap={overlap}."
        )
    height, width = layers[0].shape[:2]
    columns = list(windows(width, tile, overlap, step))
    for top, bottom, first, last in windows(height, tile, overlap, step):
        rows = slice((first - top) * scale, (last - top) * scale)
        parts = []
        for left, right, begin, end in columns:
            lr = np.dstack([layer[top:bottom, left:right] for layer in layers])
            beyond = (max(0, bottom - height), max(0, right - width))
            lr = np.pad(lr, ((0, beyond[0]), (0, beyond[1]), (0, 0)), mode="edge")
            sr = enlarge(_as_floats(lr))
            parts.append(sr[rows, (begin - left) * scale : (end - left) * scale])
        yield np.concatenate(parts, axis=1)


def _as_floats(lr):
    """Returns the image of any type as float32 in [0, 1]."""
    whole = np.issubdtype(lr.dtype, np.integer)
    return lr.astype(np.float32) / (np.iinfo(lr.dtype).max if whole else 1)


def tiles(height: int, width: int, tile: int, overlap: int, step: int = 1) -> int:
    """Returns how many tiles `bands` takes for an image."""
    counts = [len(list(windows(n, tile, overlap, step))) for n in (height, width)]
    return counts[0] * counts[1]


def windows(length, tile, overlap, step):
    """Yields begin and end of every window, and of the part that is used of it.

    Args:
        length: What is covered, in pixels.
        tile: Length of a window; all are alike unless one covers everything.
        overlap: Pixels at a window's inner sides that are not used.
        step: Where windows may begin; must divide `tile` and `overlap`.

    Windows cover `length` rounded up to a multiple of `step`; what is used ends at
    `length`.
    """
    whole = length + -length % step
    used = 0
    while used < length:
        begin = max(0, min(used - overlap, whole - tile))
        end = min(whole, begin + tile)
        last = length if end == whole else end - overlap
        yield begin, end, used, last
        used = last
