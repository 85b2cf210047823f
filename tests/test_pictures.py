import numpy as np
import pytest
from PIL import Image

from tfsr.pictures import most_different, side_by_side


def test_most_different_finds_the_square():
    a = np.zeros((20, 30, 3), np.uint8)
    b = a.copy()
    b[11:15, 22:26] = 255
    assert most_different(a, b, 4) == (slice(11, 15), slice(22, 26))


def test_most_different_takes_no_more_than_there_is():
    a = np.zeros((5, 8, 1), np.uint8)
    b = a.copy()
    b[0, 7] = 1  # in uint8 the difference a - b would wrap
    assert most_different(a, b, 100) == (slice(0, 5), slice(3, 8))


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
