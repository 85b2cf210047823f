"""Large images in tiles: memory bounded by the tile, results those of the whole."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np


def align(pixels: int, alignment: int) -> int:
    """Returns `pixels` rounded up to a multiple of `alignment`."""
    return pixels + -pixels % alignment


def pad(image: np.ndarray, alignment: int) -> np.ndarray:
    """Returns `(H, W, C)` with height and width up to multiples of `alignment`, the
    last row and column repeated."""
    height, width = image.shape[:2]
    beyond = (0, -height % alignment), (0, -width % alignment), (0, 0)
    return np.pad(image, beyond, "edge")


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


def windows(
    length: int, tile: int, overlap: int, step: int
) -> Iterator[tuple[int, int, int, int]]:
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


@dataclass(frozen=True)
class Cover:
    """Tiles of one size over an image of any.

    They overlap by as much as a pixel sees, but by no more than a quarter of a tile.

    Attributes:
        size: Height and width of a tile in LR pixels.
        scale: The upscaling factor.
        step: Where tiles may begin.
        radius: LR pixels that a pixel sees on each side.
    """

    size: tuple[int, int]
    scale: int
    step: int
    radius: int

    @property
    def overlap(self) -> tuple[int, int]:
        """By how much tiles overlap at their inner sides, in LR pixels."""
        height, width = (
            min(align(self.radius, self.step), tile // self.step // 4 * self.step)
            for tile in self.size
        )
        return height, width

    def is_exact(self, height: int, width: int) -> bool:
        """Returns whether an image of this size gets what the whole network gives it.

        Else tiles overlap by less than a pixel sees, or go on where the image ends.
        """

        def is_covered(side, tile, overlap):
            whole = align(side, self.step)
            enough = overlap >= self.radius if whole > tile else whole == tile
            return enough and tile % self.step == 0

        if (height, width) == self.size:
            return True
        return all(map(is_covered, (height, width), self.size, self.overlap))

    def enlarge(
        self, run: Callable[[np.ndarray], np.ndarray], lr: np.ndarray
    ) -> np.ndarray:
        """Returns the enlargement of `lr` by `run`, which takes tiles of `size`."""
        (height, width), s, step = lr.shape[:2], self.scale, self.step

        def cover(side, tile, overlap):  # what a tile has beyond a multiple is not used
            return list(windows(side, tile - tile % step, overlap, step))

        tops, lefts = map(cover, (height, width), self.size, self.overlap)
        sr = np.zeros((height * s, width * s, lr.shape[-1]), np.float32)
        for top, _, first_row, last_row in tops:
            for left, _, first, last in lefts:
                tile = lr[top:, left:][: self.size[0], : self.size[1]]
                beyond = [n - m for n, m in zip(self.size, tile.shape, strict=False)]
                tile = np.pad(tile, ((0, beyond[0]), (0, beyond[1]), (0, 0)), "edge")
                rows = slice((first_row - top) * s, (last_row - top) * s)
                part = run(tile)[rows, (first - left) * s : (last - left) * s]
                sr[first_row * s : last_row * s, first * s : last * s] = part
        return sr
