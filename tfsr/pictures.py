"""Pictures: crops of several results side by side, and plots of figures."""

import itertools
from collections.abc import Collection
from pathlib import Path

import numpy as np

from tfsr.files import replacing
from tfsr.metrics import window_sums
from tfsr.terminal import printable

GRAY = (0.55, 0.55, 0.55)
LIGHT_GRAY = (0.8, 0.8, 0.8)
HOLLOW = {"fmt": "D", "markerfacecolor": "white", "markersize": 5}


def plain(name: str) -> str:
    """Returns a name that Matplotlib writes literally.

    It would read text between dollars as a formula, and fails on the surrogates in
    names that are not UTF-8.
    """
    return printable(name, keep="\n").replace("$", r"\$")


def side_by_side(
    file: str | Path, rows: list[dict[str, np.ndarray]], inches: float = 2.6
) -> None:
    """Draws a row of crops for each image, each crop under its title.

    Args:
        file: The picture to write, `.png`.
        rows: For each image a row: uint8 crops `(h, w, C)` of one size, by title.
        inches: Width of a crop, at 150 pixels an inch.
    """
    from matplotlib.figure import Figure

    columns = max(len(row) for row in rows)
    size = (inches * columns, (inches + 0.3) * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for axes_row, row in zip(grid, rows, strict=True):
        for axes, (title, crop) in zip(axes_row, row.items(), strict=False):
            axes.imshow(crop.squeeze(), cmap="gray", vmin=0, vmax=255)
            axes.set_title(plain(title), fontsize=9)
            axes.set_axis_on()  # a frame, as a crop may be as white as the page
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_color(LIGHT_GRAY)
    with replacing(file) as temporary:
        figure.savefig(temporary, dpi=150)


def most_different(images: list[np.ndarray], side: int) -> tuple[slice, slice]:
    """Returns the rows and columns of the square in which images differ most.

    Args:
        images: Two or more images `(H, W, C)`; their difference is the variance.
        side: Side of the square in pixels, cut to the shorter side of the images.
    """
    side = min(side, *images[0].shape[:2])
    variance = np.var(np.stack(images), axis=0, dtype=np.float64).mean(axis=-1)
    windows = window_sums(variance, side)
    y, x = np.unravel_index(np.argmax(windows), windows.shape)
    return slice(y, y + side), slice(x, x + side)


def curves(
    file: str | Path,
    xlabel: str,
    ylabel: str,
    lines: dict[str, list[tuple[list[float], list[float]]]],
) -> None:
    """Draws lines in one panel and the last half of them, enlarged, in another.

    Args:
        file: The picture to write, `.png`.
        xlabel: Label of the x axes.
        ylabel: Label of the y axes.
        lines: By label, a list of lines, each x and y; may be empty. All lines of a
            label have one colour.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 4.5), layout="constrained")
    whole, end = figure.subplots(1, 2)
    last = max(x[-1] for pairs in lines.values() for x, _ in pairs)
    for (label, pairs), colour in zip(lines.items(), _colours(lines), strict=True):
        for i, (x, y) in enumerate(pairs):
            style = {"color": colour, "lw": 1.2, "marker": ".", "ms": 4}
            whole.plot(x, y, label=None if i else plain(label), **style)
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
    published: Collection[str] = (),
    inches: tuple[float, float] = (6.5, 4.8),
) -> None:
    """Draws panels of labelled points, each at the mean of its values.

    A bar at each point goes from the smallest to the largest value.

    Args:
        file: The picture to write, `.png`.
        xlabel: Label of the x axis in all panels.
        ylabel: Label of the y axis in all panels.
        panels: By title, x and values of each label; the same labels in every panel. A
            label without values is left out but keeps its colour.
        published: Labels of published figures, drawn hollow and gray. If there are
            any, the x axis is logarithmic.
        inches: Width and height of a panel.
    """
    from matplotlib.figure import Figure

    width, height = inches
    size = (width * len(panels), height)
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    grid = figure.subplots(1, len(panels), squeeze=False).flat
    for axes, (title, points) in zip(grid, panels.items(), strict=True):
        colours = _colours(points, published)
        for (label, (x, values)), colour in zip(points.items(), colours, strict=True):
            if values:
                mean = np.mean(values)
                spread = [[mean - min(values)], [max(values) - mean]]
                style = HOLLOW if label in published else {"fmt": "o", "capsize": 3}
                axes.errorbar(x, mean, spread, color=colour, **style)
        if published:
            axes.set_xscale("log")
            _write_plainly(axes.xaxis)
        axes.set(xlabel=plain(xlabel), ylabel=ylabel, title=plain(title))
        axes.margins(0.15)
        axes.grid(alpha=0.3)
    figure.draw_without_rendering()  # fixes the positions of the axes
    for axes, points in zip(figure.axes, panels.values(), strict=True):
        _place_labels(axes, points, _colours(points, published))
    with replacing(file) as temporary:
        figure.savefig(temporary)


def series(
    file: str | Path,
    xlabel: str,
    ylabel: str,
    lines: dict[str, list[tuple[list[float], list[float]]]],
    style: str = "-",
    inches: tuple[float, float] = (6.5, 4.8),
) -> None:
    """Draws lines or points in one panel, with a legend below it.

    Args:
        file: The picture to write, `.png`.
        xlabel: Label of the x axis.
        ylabel: Label of the y axis; y is logarithmic if "(log)" is in it.
        lines: By label, a list of lines, each x and y. A label without lines is left
            out but keeps its colour.
        style: Matplotlib's format: "-" for lines, "o" for points, which get smaller
            from label to label.
        inches: Width and height of the picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, layout="constrained", dpi=120)
    axes = figure.subplots()
    sizes = np.linspace(8, 3, len(lines))  # so equal points show as rings
    drawn = zip(lines.items(), _colours(lines), sizes, strict=True)
    for (name, pairs), colour, size in drawn:
        for i, (x, y) in enumerate(pairs):
            label = None if i else plain(name)
            axes.plot(x, y, style, color=colour, lw=1.2, ms=size, label=label)
    axes.set(xlabel=plain(xlabel), ylabel=ylabel)
    if xlabel == "epoch":
        axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    if "(log)" in ylabel:
        axes.set_yscale("log")
        _write_plainly(axes.yaxis)
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2, fontsize=8)
    with replacing(file) as temporary:
        figure.savefig(temporary)


def _write_plainly(axis):
    """Writes the ticks of a logarithmic axis as plain numbers."""
    from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_formatter(NullFormatter())


def _place_labels(axes, points, colours):
    """Writes each label near its point, away from other labels, points and bars."""
    pixels = axes.figure.dpi / 72  # a point of type
    shown = [
        (label, x, values, colour)
        for (label, (x, values)), colour in zip(points.items(), colours, strict=True)
        if values
    ]
    outwards = np.array([[-pixels], [pixels]])
    taken = [
        axes.transData.transform([(x, min(v)), (x, max(v))]) + 5 * outwards
        for _, x, v, _ in shown
    ]
    for label, x, values, colour in shown:
        point = (x, np.mean(values))
        style = {"textcoords": "offset points", "ha": "center", "va": "center"}
        text = axes.annotate(plain(label), point, (0, 0), fontsize=8, **style)
        text.set_color([0.6 * c for c in colour])  # dark enough to read
        box = text.get_window_extent().get_points()  # lower left, upper right
        offset = _free_place(box, axes.bbox.get_points(), np.array(taken))
        line = _leader(box, offset)
        taken += [box + offset + 2 * outwards, *(spot + outwards / 2 for spot in line)]
        text.set_position(offset / pixels)
        end = (line[-1] - line[0]) / pixels
        if np.hypot(*end) > 12:
            arrow = {"arrowstyle": "-", "color": colour, "lw": 0.7}
            axes.annotate("", point, end, arrowprops=arrow, **style)


def _free_place(box, frame, taken):
    """Returns the offset `(2,)` that moves a label's box off its point.

    It is the nearest offset at which the box and its leader line overlap least.

    Args:
        box: The box centred on its point: lower left and upper right, `(2, 2)`, in
            pixels.
        frame: The box to stay in.
        taken: Boxes to avoid, `(n, 2, 2)`.
    """

    def cost(offset):
        low, high = box + offset
        outside = np.any(low < frame[0]) or np.any(high > frame[1])
        covered = np.all((low < taken[:, 1]) & (high > taken[:, 0]), axis=1)
        line = _leader(box, offset)[:, None]
        inside = np.all((line > taken[:, 0]) & (line < taken[:, 1]), axis=2)
        return 1000 * outside + 10 * covered.sum() + inside.any(axis=0).sum()

    width, height = box[1] - box[0]
    offsets = [
        np.array([np.cos(a) * (r + width / 2), np.sin(a) * (r + height / 2)])
        for r in 15 * 1.25 ** np.arange(12)
        for a in np.arange(16) * np.pi / 8
    ]
    return min(offsets, key=cost)


def _leader(box, offset):
    """Returns 12 spots on the line from a box's centre to the moved box, `(12, 2)`."""
    reach = (box[1] - box[0]) / 2
    end = np.clip(0, offset - reach, offset + reach)
    return box.mean(axis=0) + np.linspace(0, 1, 12)[:, None] * end


def _colours(labels, published=()):
    from matplotlib import colormaps

    ours = [label for label in labels if label not in published]
    palette = colormaps["tab10" if len(ours) <= 10 else "tab20"].colors
    colours = dict(zip(ours, itertools.cycle(palette), strict=False))
    return [colours.get(label, GRAY) for label in labels]
