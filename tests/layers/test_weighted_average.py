import numpy as np

from tfsr.layers import WeightedAverage


def test_contract(check_layer):
    check_layer(WeightedAverage(), 4, count=3)


def test_starts_as_the_mean_and_follows_its_weights(images):
    layer = WeightedAverage()
    x = [images, 2 * images, images - 1]
    np.testing.assert_allclose(layer(x), np.mean(x, axis=0), atol=1e-6)
    np.testing.assert_allclose(layer.shares, [1 / 3] * 3)
    layer.shares.assign([1, 0, -2])
    np.testing.assert_allclose(layer(x), x[0] - 2 * x[2], atol=1e-6)
