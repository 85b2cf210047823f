from fractions import Fraction

import numpy as np
import pytest

from tfsr.layers import BilinearResize, downsample, feature_pyramid, upsample


def bilinear(x, ratio):
    """Pixel i is at (i + 1/2) / ratio - 1/2 of the input, whose border goes on."""
    for axis in (1, 2):
        length = x.shape[axis]
        wanted = int(np.ceil(length * ratio))
        positions = (np.arange(wanted) + 0.5) / float(ratio) - 0.5
        weights = [np.interp(positions, np.arange(length), e) for e in np.eye(length)]
        x = np.moveaxis(np.tensordot(weights, x, (0, axis)), 0, axis)
    return x


def maps(height, width):
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, height, width, 3)).astype("float32")


SIZES = [(6, 12), (5, 7), (1, 4), (13, 9)]
ALL_RATIOS = ["1/2", "2/3", "3/4", "4/3", "3/2", "2"]


@pytest.mark.parametrize("ratio", ALL_RATIOS)
@pytest.mark.parametrize("size", SIZES)
def test_equals_interpolation(ratio, size):
    x = maps(*size)
    expected = bilinear(x, Fraction(ratio))
    np.testing.assert_allclose(BilinearResize(ratio)(x), expected, atol=1e-5)


@pytest.mark.parametrize("ratio", ["2/3", "4/3", "2"])
def test_equals_itself_where_the_size_is_open(ratio):
    tf = pytest.importorskip("tensorflow")
    layer = BilinearResize(ratio)
    spec = tf.TensorSpec((None, None, None, 3), tf.float32)
    function = tf.function(layer, input_signature=[spec])
    for size in SIZES:
        x = maps(*size)
        np.testing.assert_allclose(function(x), layer(x), atol=1e-5)


def test_half_is_the_average_of_four():
    x = maps(6, 8)
    expected = x.reshape(2, 3, 2, 4, 2, 3).mean((2, 4))
    np.testing.assert_allclose(downsample(x, "1/2"), expected, atol=1e-5)
    np.testing.assert_allclose(BilinearResize("1/2")(x), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("ratio", "sizes"),
    [
        ("1/2", [16, 8, 4, 2]),
        ("2/3", [17, 12, 8, 6]),
        ("2/3", [9, 6, 4, 3]),
        ("3/4", [17, 13, 10, 8]),
    ],
)
def test_sizes_of_a_pyramid_are_rounded_up(ratio, sizes):
    pyramid = feature_pyramid(maps(sizes[0], 16), 4, ratio)
    assert [x.shape[1] for x in pyramid] == sizes


@pytest.mark.parametrize("ratio", ["2/3", "3/4"])
def test_up_leads_back_to_every_size(ratio):
    for size in range(1, 20):
        fine = maps(size, 5)
        coarse = downsample(fine, ratio)
        assert upsample(coarse, fine, ratio).shape == fine.shape


@pytest.mark.parametrize("ratio", ["1/2", "2/3", "3/4"])
def test_a_constant_stays(ratio):
    x = np.full((1, 8, 12, 2), 3.0, "float32")
    coarse = downsample(x, ratio)
    np.testing.assert_allclose(coarse, 3, rtol=1e-6)
    np.testing.assert_allclose(upsample(coarse, x, ratio), 3, rtol=1e-6)


@pytest.mark.parametrize("ratio", ALL_RATIOS)
def test_contract(check_layer, ratio):
    check_layer(BilinearResize(ratio), channels=3)
