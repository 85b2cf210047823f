import numpy as np
import pytest

from photo_files import noise
from tfsr.data.resize import imresize
from tfsr.photos import Photo, bleed_opaque


def disc(size=24, soft=False):
    """A red disc on transparent black, with a hard or a soft edge."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    edge = size / 3 - np.hypot(y, x)
    alpha = np.clip(edge + 0.5, 0, 1) if soft else edge > 0
    alpha = (alpha * 255).astype(np.uint8)
    color = np.zeros((size, size, 3), np.uint8)
    color[alpha > 0] = (230, 20, 30)
    return Photo(color, alpha)


@pytest.mark.parametrize("soft", [False, True])
def test_bled_disc_has_no_dark_fringe(soft):
    photo = disc(soft=soft)
    premultiplied = photo.color / 255.0 * photo.alpha[..., None] / 255.0
    alpha = imresize(photo.alpha / 255.0, 4)[..., None]
    expected = imresize(premultiplied, 4) + 1 - alpha

    def on_white(photo):
        return imresize(photo.color / 255.0, 4) * alpha + 1 - alpha

    assert abs(on_white(photo) - expected).max() > 0.1
    bled = bleed_opaque(photo, reach=3)
    np.testing.assert_allclose(on_white(bled), expected, atol=1e-6)
    assert bled.alpha is photo.alpha


def test_bleeding_changes_only_transparent_pixels_within_reach():
    color = noise(3, np.uint16, 9, 9)
    alpha = np.zeros((9, 9), np.uint16)
    alpha[4, 4], alpha[0, 0] = 65535, 1
    photo = Photo(color.copy(), alpha)
    bled = bleed_opaque(photo, reach=2).color
    np.testing.assert_array_equal(photo.color, color)
    np.testing.assert_array_equal(bled[5, 5:7], [color[4, 4]] * 2)
    np.testing.assert_array_equal(bled[0, 1], color[0, 0])
    y, x = np.mgrid[:9, :9]
    near = np.maximum(abs(y - 4), abs(x - 4)) <= 2
    near |= np.maximum(y, x) <= 2
    np.testing.assert_array_equal(bled[~near], color[~near])
    np.testing.assert_array_equal(bled[alpha > 0], color[alpha > 0])
    everywhere = bleed_opaque(photo, reach=9).color
    assert (everywhere[3:6, 3:6] == color[4, 4]).all()


@pytest.mark.parametrize("value", [0, 255, None])
def test_bleeding_without_edges_changes_nothing(value):
    alpha = None if value is None else np.full((13, 10), value, np.uint8)
    color = noise(3)
    np.testing.assert_array_equal(bleed_opaque(Photo(color, alpha)).color, color)
