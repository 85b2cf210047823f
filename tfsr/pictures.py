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


def curves(
    file: str | Path,
    xlabel: str,
    ylabel: str,
    lines: dict[str, list[tuple[list[float], list[float]]]],
) -> None:
    """Draws several lines, x and y each, in one colour a label; their end enlarged.

    Args:
        file: The picture to write, `.png`.
        xlabel: Of the axes.
        ylabel: Of the axes.
        lines: By label; a label may have none.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.5), layout="constrained")
    whole, end = figure.subplots(1, 2)
    last = max(x[-1] for pairs in lines.values() for x, _ in pairs)
    for (label, pairs), colour in zip(lines.items(), _colours(lines), strict=True):
        for i, (x, y) in enumerate(pairs):
            style = {"color": colour, "lw": 1.2, "marker": ".", "ms": 4}
            whole.plot(x, y, label=None if i else label, **style)
            half = np.searchsorted(x, last / 2)
            end.plot(x[half:], y[half:], **style)
    whole.set(xlabel=xlabel, ylabel=ylabel)
    end.set(xlabel=xlabel, title="last half")
    for axes in (whole, end):
        axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper", fontsize=8)
    with replacing(file) as temporary:
        figure.savefig(temporary, dpi=120)


def scatter(
    file: str | Path,
    xlabel: str,
    ylabel: str,
    panels: dict[str, dict[str, tuple[float, list[float]]]],
) -> None:
    """Draws labelled points side by side, each the mean of its values.

    A bar spans a point's values, from the least to the greatest.

    Args:
        file: The picture to write, `.png`.
        xlabel: Of all panels.
        ylabel: Of all panels.
        panels: By title, x and values of each label; the same labels in every panel. A
            label without values is left out, and keeps its colour.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.5 * len(panels), 4.8), layout="constrained", dpi=120)
    for axes, (title, points) in zip(
        figure.subplots(1, len(panels), squeeze=False).flat,
        panels.items(),
        strict=True,
    ):
        drawn = {}
        for (label, (x, values)), colour in zip(
            points.items(), _colours(points), strict=True
        ):
            if values:
                mean = np.mean(values)
                spread = [[mean - min(values)], [max(values) - mean]]
                axes.errorbar(x, mean, spread, fmt="o", color=colour, capsize=3)
                drawn[label] = (x, mean, min(values), max(values), colour)
        axes.set(xlabel=xlabel, ylabel=ylabel, title=title)
        axes.margins(0.15)
        axes.grid(alpha=0.3)
        figure.draw_without_rendering()  # settles where the axes are
        _place_labels(axes, drawn)
    with replacing(file) as temporary:
        figure.savefig(temporary)


def _place_labels(axes, points):
    """Writes each label near its point, clear of other labels, points and bars."""
    from matplotlib.transforms import Bbox

    pixels = axes.figure.dpi / 72  # a point of type
    taken = []
    for x, _, low, high, _ in points.values():
        (left, bottom), (_, top) = axes.transData.transform([(x, low), (x, high)])
        around = 5 * pixels
        taken.append(
            Bbox([[left - around, bottom - around], [left + around, top + around]])
        )

    def cost(box):
        outside = not (axes.bbox.containsx(box.x0) and axes.bbox.containsx(box.x1))
        outside |= not (axes.bbox.containsy(box.y0) and axes.bbox.containsy(box.y1))
        return box.count_overlaps(taken) + 100 * outside

    for label, (x, mean, _, _, colour) in points.items():
        text = axes.annotate(
            label,
            (x, mean),
            (0, 0),
            textcoords="offset points",
            ha="center",
            va="center",
            fontsize=8,
            color=[0.6 * c for c in colour],  # dark enough to read
        )
        text.set_in_layout(False)
        box = text.get_window_extent()
        width, height = box.width / pixels, box.height / pixels
        offsets = [
            (np.cos(a) * (r + width / 2), np.sin(a) * (r + height / 2))
            for r in (9, 16, 25, 36, 50, 66, 84, 110)
            for a in np.arange(16) * np.pi / 8
        ]
        dx, dy = min(offsets, key=lambda o: cost(_moved(box, o, pixels)))
        text.set_position((dx, dy))
        taken.append(_moved(box, (dx, dy), pixels).padded(2 * pixels))
        # From the point to the nearest spot of the label.
        end = (
            np.clip(0, dx - width / 2, dx + width / 2),
            np.clip(0, dy - height / 2, dy + height / 2),
        )
        if np.hypot(*end) > 12:
            axes.annotate(
                "",
                (x, mean),
                end,
                textcoords="offset points",
                arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.7},
            ).set_in_layout(False)


def _moved(box, offset, pixels):
    return box.translated(offset[0] * pixels, offset[1] * pixels)


def _colours(labels):
    from matplotlib import colormaps

    colours = colormaps["tab10" if len(labels) <= 10 else "tab20"].colors
    return [colours[i % len(colours)] for i in range(len(labels))]
