import numpy as np
import pytest

from tfsr.tflite.quantization.saturation import CORNERS, saturated_images


@pytest.mark.parametrize("channels", [1, 3])
def test_images_hold_every_corner_at_every_size(channels):
    ramp, *fields = saturated_images(channels)
    assert len(np.unique(ramp)) == 256
    corners = {tuple(255 * v for v in corner) for corner in CORNERS[channels].values()}
    for image in fields:
        assert image.dtype == np.uint8
        assert image.shape == (576, 576, channels)
        colors = set(map(tuple, np.unique(image.reshape(-1, channels), axis=0)))
        assert corners <= colors
        inner = (np.array([*colors]) % 255 != 0).sum(axis=-1)
        assert set(inner) == {0, 1}  # corners and edges of the cube, nothing inside


def test_no_images_of_other_channels():
    assert saturated_images(4) == []
