import numpy as np

from tfsr.scoring.grayness import gray_spread, grays
from tfsr.upscaling.upscalers import BicubicUpscaler


class Tinted:
    """Answers with more blue where the image is bright."""

    channels = 3

    def __call__(self, lr):
        return lr - np.float32([20, 20, 0]) / 255 * (lr > 0.9)


def test_bicubic_keeps_gray_gray():
    assert gray_spread(BicubicUpscaler(2)) == dict.fromkeys(grays(1, 1), 0)


def test_a_tint_is_told_by_image():
    spread = gray_spread(Tinted())
    assert spread["checkerboard"] == spread["ramp"] == 20
    assert spread["faint checkerboard"] == 0


def test_of_one_channel_there_is_nothing_to_tell():
    assert gray_spread(BicubicUpscaler(2, channels=1)) == {}


def test_grays_are_levels():
    for image in grays(24, 32).values():
        assert image.shape == (24, 32, 3)
        assert 0 <= image.min() < image.max() <= 1
        assert np.ptp(image, axis=-1).max() == 0
