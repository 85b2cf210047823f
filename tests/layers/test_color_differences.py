import numpy as np

from tfsr.layers import ColorDifferences


def test_contract(check_layer):
    check_layer(ColorDifferences(), 3)


def test_equals_the_differences():
    x = np.random.default_rng(0).random((1, 3, 4, 3), "float32")
    expected = np.stack([x[..., 0] - x[..., 1], x[..., 2] - x[..., 1]], axis=-1)
    np.testing.assert_allclose(ColorDifferences()(x), expected, atol=1e-7)


def test_gray_has_none():
    gray = np.random.default_rng(0).random((1, 9, 7, 1), "float32").repeat(3, axis=-1)
    assert not np.any(ColorDifferences()(gray))
