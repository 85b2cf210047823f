"""Processes large images in tiles, with bounded memory and the same results."""

from collections.abc import Callable, Iterator

import numpy as np

DEFAULT_OVERLAP = 32  # LR pixels, where the receptive radius is unknown


def bands(
    enlarge: Callable[[np.ndarray], np.ndarray],
    scale: int,
    layers: list[np.ndarray],
    tile: int,
    overlap: int,
    step: int = 1,
) -> Iterator[np.ndarray]:
    """Yields the enlargement of an image from top to bottom, in bands of whole rows.

    Tiles lie inside the image, so its border is processed as in the whole image. Tiles
    at the right and bottom overlap more instead of being smaller, so all have one size.
    The image is first padded to multiples of `step` by its last row and column.

    Args:
        enlarge: From float32 `(h, w, C)` in [0, 1] to `(h * scale, w * scale, K)`.
        scale: The upscaling factor.
        layers: Parts of the image, `(H, W)` or `(H, W, c)`, which become the channels
            of tiles; all uint8, uint16 or float in [0, 1].
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
        band = np.empty(0)
        for left, right, begin, end in columns:
            lr = np.dstack([layer[top:bottom, left:right] for layer in layers])
            beyond = (max(0, bottom - height), max(0, right - width))
            lr = np.pad(lr, ((0, beyond[0]), (0, beyond[1]), (0, 0)), mode="edge")
            sr = enlarge(_as_floats(lr))
            if begin == 0:  # now channels and type are known
                shape = (rows.stop - rows.start, width * scale, sr.shape[2])
                band = np.empty(shape, sr.dtype)
            used = sr[rows, (begin - left) * scale : (end - left) * scale]
            band[:, begin * scale : end * scale] = used
        yield band


def _as_floats(lr):
    """Returns an image of any type as float32 in [0, 1]."""
    whole = np.issubdtype(lr.dtype, np.integer)
    return lr.astype(np.float32) / (np.iinfo(lr.dtype).max if whole else 1)


def tiles(height: int, width: int, tile: int, overlap: int, step: int = 1) -> int:
    """Returns how many tiles `bands` takes for an image."""
    counts = [len(list(windows(n, tile, overlap, step))) for n in (height, width)]
    return counts[0] * counts[1]


def windows(
    length: int, tile: int, overlap: int, step: int
) -> Iterator[tuple[int, int, int, int]]:
    """Yields begin and end of every window, and begin and end of its used part.

    Args:
        length: The length to cover, in pixels.
        tile: Length of a window; shorter only if one window covers everything.
        overlap: Pixels at a window's inner sides that are not used.
        step: Where windows may begin; must divide `tile` and `overlap`.

    Windows cover `length` rounded up to a multiple of `step`; their used parts end at
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


class FixedTiles:
    """Runs a network of fixed size on images of any size, in overlapping tiles.

    Tiles overlap by the network's radius, but by at most a quarter of a tile. The last
    row and column are repeated where a tile extends beyond the image.

    Args:
        size: Height and width of the network's input.
        radius: The receptive radius in LR pixels; None if unknown.
        step: Where tiles may begin; the network's alignment.
        scale: The upscaling factor.
    """

    def __init__(
        self, size: tuple[int, int], radius: int | None, step: int, scale: int
    ):
        self.size = size
        self.is_known = radius is not None
        self.radius = DEFAULT_OVERLAP if radius is None else radius
        self.step = step
        self.scale = scale

    @property
    def overlap(self) -> tuple[int, int]:
        """LR pixels by which tiles overlap at their inner sides, vertical first."""
        height, width = (
            min(align(self.radius, self.step), side // self.step // 4 * self.step)
            for side in self.size
        )
        return height, width

    def is_exact(self, height: int, width: int) -> bool:
        """Returns whether tiles give the same result as the network on the whole image.

        Otherwise they overlap by less than the radius, or extend beyond the image.
        """
        if (height, width) == self.size or not self.is_known:
            return (height, width) == self.size

        def is_covered(side, tile, overlap):
            whole = align(side, self.step)
            enough = overlap >= self.radius if whole > tile else whole == tile
            return enough and tile % self.step == 0

        return all(map(is_covered, (height, width), self.size, self.overlap))

    def run(
        self, network: Callable[[np.ndarray], np.ndarray], lr: np.ndarray
    ) -> np.ndarray:
        """Returns SR float32 `(H * scale, W * scale, C)` of LR `(H, W, C)`.

        Args:
            network: Function from an image of `size` to its enlargement.
            lr: The image.
        """
        (height, width, channels), s, step = lr.shape, self.scale, self.step
        if (height, width) == self.size:
            return network(lr)

        def cover(side, tile, overlap):
            # The rest of a tile beyond a multiple of `step` is not used.
            return list(windows(side, tile - tile % step, overlap, step))

        tops, lefts = map(cover, (height, width), self.size, self.overlap)
        sr = np.zeros((height * s, width * s, channels), np.float32)
        for top, _, first_row, last_row in tops:
            for left, _, first, last in lefts:
                tile = lr[top:, left:][: self.size[0], : self.size[1]]
                beyond = [n - m for n, m in zip(self.size, tile.shape, strict=False)]
                tile = np.pad(tile, ((0, beyond[0]), (0, beyond[1]), (0, 0)), "edge")
                rows = slice((first_row - top) * s, (last_row - top) * s)
                part = network(tile)[rows, (first - left) * s : (last - left) * s]
                sr[first_row * s : last_row * s, first * s : last * s] = part
        return sr


def pad_to_multiple(lr: np.ndarray, multiple: int) -> np.ndarray:
    """Returns an image padded to multiples by repeating its last row and column."""
    beyond = [(0, -side % multiple) for side in lr.shape[:2]]
    return np.pad(lr, (*beyond, (0, 0)), "edge")


def align(pixels: int, alignment: int) -> int:
    """Returns `pixels` rounded up to a multiple of `alignment`."""
    return pixels + -pixels % alignment
