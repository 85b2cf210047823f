import numpy as np
import pytest
from matplotlib.transforms import Bbox
from PIL import Image

from tfsr.pictures import curves, most_different, scatter, series, side_by_side


def test_most_different_finds_the_square():
    a = np.zeros((20, 30, 3), np.uint8)
    b = a.copy()
    b[11:15, 22:26] = 255
    assert most_different([a, b], 4) == (slice(11, 15), slice(22, 26))


def test_most_different_takes_no_more_than_there_is():
    a = np.zeros((5, 8, 1), np.uint8)
    b = a.copy()
    b[0, 7] = 1  # in uint8 the difference a - b would wrap
    assert most_different([a, b], 100) == (slice(0, 5), slice(3, 8))


@pytest.mark.parametrize("channels", [1, 3])
def test_side_by_side_draws_rows_of_crops(tmp_path, channels):
    dark, light = (np.full((6, 6, channels), v, np.uint8) for v in (0, 200))
    rows = [{"dark": dark, "light": light}, {"light": light}]
    side_by_side(tmp_path / "rows.png", rows)
    with Image.open(tmp_path / "rows.png") as picture:
        width, height = picture.size
        colours = picture.convert("RGB").getcolors(width * height)
    assert abs(width / height - 2.6 / 2.9) < 0.05
    counts = {colour: count for count, colour in colours}
    assert counts[200, 200, 200] > 1.5 * counts[0, 0, 0] > 0


def test_labels_of_a_scatter_are_clear_of_each_other(tmp_path, figures):
    rng = np.random.default_rng(0)
    panels = {
        title: {
            f"network_{i}": (rng.uniform(15, 20), [y, y + 0.05])
            for i, y in enumerate(rng.normal(27, 0.1, 15))
        }
        for title in ("Set5", "B100")
    }
    panels["B100"]["network_3"] = (16, [])  # not trained yet
    scatter(tmp_path / "scatter.png", "cost", "PSNR", panels)
    (figure,) = figures
    for axes, points in zip(figure.axes, panels.values(), strict=True):
        texts = [text for text in axes.texts if text.get_text()]
        shown = [label for label, (_, values) in points.items() if values]
        assert [text.get_text() for text in texts] == shown
        boxes = [text.get_window_extent() for text in texts]
        for i, box in enumerate(boxes):
            assert box.count_overlaps(boxes[:i]) == 0
            assert axes.bbox.fully_containsx(box.x0)
            assert axes.bbox.fully_containsx(box.x1)
        for x, values in points.values():
            for y in values:
                mark = Bbox([axes.transData.transform((x, y))] * 2).padded(3)
                assert mark.count_overlaps(boxes) == 0


def test_a_label_keeps_its_colour(tmp_path, figures):
    lines = {"a": [([1, 2], [3, 4])] * 2, "b": [], "c": [([1, 2, 3], [4, 5, 6])]}
    curves(tmp_path / "curves.png", "step", "PSNR", lines)
    panel = {
        label: (1, [v for _, y in runs for v in y]) for label, runs in lines.items()
    }
    scatter(tmp_path / "scatter.png", "cost", "PSNR", {"Set5": panel})
    drawn, points = figures
    whole, end = drawn.axes
    a, again, c = (line.get_color() for line in whole.lines)
    assert a == again != c
    assert [bar[0].get_color() for bar in points.axes[0].containers] == [a, c]
    assert [text.get_text() for text in drawn.legends[0].get_texts()] == ["a", "c"]
    assert [list(line.get_xdata()) for line in end.lines] == [[2], [2], [2, 3]]
    means = [bar[0].get_ydata()[0] for bar in points.axes[0].containers]
    assert means == [3.5, 5]


@pytest.mark.parametrize("name", ["$x^{$", "a $5 b $6", "half \udcff", "\x1b[31m"])
def test_names_are_written_letter_by_letter(tmp_path, figures, name):
    """Matplotlib would read a formula between dollars, and stop at a wrong one."""
    crop = np.zeros((6, 6, 3), np.uint8)
    side_by_side(tmp_path / "a.png", [{name: crop}])
    curves(tmp_path / "b.png", "step", "PSNR", {name: [([1, 2], [3, 4])]})
    scatter(tmp_path / "c.png", name, "PSNR", {name: {name: (1, [2, 3])}})
    series(tmp_path / "d.png", name, "gain", {name: [([1, 2], [3, 4])]})
    assert len(figures) == 4
    title = figures[0].axes[0].title
    shown, is_formula = title._preprocess_math(title.get_text())
    assert not is_formula
    assert shown.replace("\\udcff", "\udcff").replace("\\x1b", "\x1b") == name
