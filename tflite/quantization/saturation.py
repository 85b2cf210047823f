"""Saturated colours, which are too rare in photographs to calibrate on those alone.

Ranges that are chosen on photographs clip what a network computes from pure green, so
it comes out as another colour.
"""

import numpy as np

CORNERS: dict[int, dict[str, tuple[int, ...]]] = {
    1: {"black": (0,), "white": (1,)},
    3: {
        "black": (0, 0, 0),
        "red": (1, 0, 0),
        "green": (0, 1, 0),
        "blue": (0, 0, 1),
        "yellow": (1, 1, 0),
        "magenta": (1, 0, 1),
        "cyan": (0, 1, 1),
        "white": (1, 1, 1),
    },
}  # of the cube of colours in [0, 1], by the number of channels
GRIDS = {
    1: (((0, 1), (1, 0)),),
    3: (
        ((0, 1), (2, 4)),
        ((3, 5), (6, 7)),
        ((0, 2), (3, 6)),
        ((1, 4), (5, 7)),
    ),
}  # patches of 2x2 fields, by the places of their colours in CORNERS
FIELDS = (8, 24, 64)  # pixels, the sides of the fields in `saturated_images`


def saturated_patches(channels: int, side: int) -> list[np.ndarray]:
    """Returns patches of saturated colours, float32 `(side, side, C)` in [0, 1].

    A gray ramp, and the corners of the colour cube, four to a patch, with edges between
    them: those of four faces of the cube. Edges between opposite corners would cost
    more on photographs (`tflite/README.md` has figures).

    Args:
        channels: 1 or 3; there are no patches for other numbers.
        side: Height and width; even.
    """
    if channels not in CORNERS:
        return []
    corners = np.array([*CORNERS[channels].values()], np.float32)
    fields = [_fields(corners[np.array(grid)], side) for grid in GRIDS[channels]]
    return [_gray_ramp(channels, side), *fields]


def saturated_images(channels: int, side: int = 576) -> list[np.ndarray]:
    """Returns images of saturated colours to learn from, uint8 `(side, side, C)`.

    They are a gray ramp, and grids of fields, with another size of field in each grid.
    The colour of a field is a random corner or edge of the colour cube: on an edge, one
    channel has a random value and the others 0 or 255.

    Args:
        channels: 1 or 3; there are no images for other numbers.
        side: Height and width, a multiple of the sides of all fields.
    """
    if channels not in CORNERS:
        return []
    rng = np.random.default_rng(0)
    images = [_gray_ramp(channels, side)]
    for field in FIELDS:
        count = side // field
        colors = rng.integers(2, size=(count, count, channels)).astype(np.float32)
        edge = rng.random((count, count)) < 0.25
        colors[edge, rng.integers(channels, size=edge.sum())] = rng.random(edge.sum())
        images.append(_fields(colors, side))
    return [np.rint(255 * image).astype(np.uint8) for image in images]


def flat_field(color: tuple[int, ...], height: int, width: int) -> np.ndarray:
    """Returns an image of one colour, float32 `(height, width, C)` in [0, 1]."""
    return np.full((height, width, len(color)), color, np.float32)


def _gray_ramp(channels, side):
    """Returns a ramp from black to white: rightwards above, downwards below."""
    ramp = np.broadcast_to(np.linspace(0, 1, side, dtype=np.float32), (side, side))
    half = side // 2
    ramp = np.concatenate([ramp[:half], ramp.T[::2]])
    return np.repeat(ramp[..., None], channels, axis=-1)


def _fields(colors, side):
    """Returns a grid of colours, `(rows, columns, C)`, as an image."""
    rows, columns, _ = colors.shape
    return colors.repeat(side // rows, axis=0).repeat(side // columns, axis=1)
