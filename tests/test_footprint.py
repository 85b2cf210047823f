import numpy as np
import pytest

from tfsr.footprint import receptive_radius, taps, working_values
from tfsr.models import carn, carn_m


def test_carn_radius_is_the_sum_of_its_kernels():
    # head and upsampler 1 each, 9 units of two 3x3 convolutions, tail at HR
    assert receptive_radius(carn_m(scale=2)) == int(np.ceil(1 + 18 + 1 + 1 / 2))
    assert receptive_radius(carn_m(scale=4)) == int(np.ceil(1 + 18 + 1 + 1 / 2 + 1 / 4))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pixels_beyond_the_radius_change_nothing(scale):
    model = carn(scale=scale, filters=8, blocks=1, units=1)
    radius = receptive_radius(model)
    size = 2 * radius + 7
    lr = np.random.default_rng(0).random((1, size, size, 3), np.float32)
    changed = lr.copy()
    changed[:, 0] += 1
    difference = np.abs(model(lr) - model(changed)).max(axis=(0, 2, 3))
    touched = np.flatnonzero(difference)[-1] // scale
    assert touched <= radius
    assert touched >= radius - 1


def test_working_values_cover_the_largest_step():
    # the shuffle to 64 channels at x4 holds its input and its output
    assert working_values(carn_m(scale=4)) >= 2 * 64 * 16
    assert working_values(carn_m(scale=4)) > working_values(carn_m(scale=2))


def test_taps_count_kernels_at_their_resolution():
    model = carn(scale=4, filters=8, blocks=1, units=1)
    # head and unit at LR, two of the upsampler at 1 and 4 times, tail at 16 times
    assert taps(model) == 9 * (1 + 2 + 1 + 4 + 16)
