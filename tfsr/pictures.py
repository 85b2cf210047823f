"""Pictures for people: the same crop of several results, side by side."""

from pathlib import Path

import numpy as np

from tfsr.files import replacing


def side_by_side(file: str | Path, rows: list[dict[str, np.ndarray]]) -> None:
    """Draws one row of crops an image, each under its title.

    Args:
        file: The picture to write, `.png`.
        rows: For each image, uint8 crops `(h, w, C)` of one size by title.
    """
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    figure = Figure(figsize=(2.6 * columns, 2.9 * len(rows)), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes_row, row in zip(grid, rows, strict=True):
        for axes, (title, crop) in zip(axes_row, row.items(), strict=False):
            axes.imshow(crop.squeeze(), cmap="gray", vmin=0, vmax=255)
            axes.set_title(title, fontsize=9)
    with replacing(file) as temporary:
        figure.savefig(temporary, dpi=150)


def most_different(a: np.ndarray, b: np.ndarray, side: int) -> tuple[slice, slice]:
    """Returns where in the images a square of `side` pixels differs most.

    Args:
        a: `(H, W, C)`.
        b: `(H, W, C)`.
        side: At most the shorter side of the images is taken.
    """
    side = min(side, *a.shape[:2])
    error = np.mean((a.astype(np.float64) - b) ** 2, axis=-1)
    summed = np.pad(error, ((1, 0), (1, 0))).cumsum(0).cumsum(1)
    windows = (
        summed[side:, side:]
        - summed[:-side, side:]
        - summed[side:, :-side]
        + summed[:-side, :-side]
    )
    y, x = np.unravel_index(np.argmax(windows), windows.shape)
    return slice(y, y + side), slice(x, x + side)
