import numpy as np

from tfsr.layers import ChannelShift


def test_adds_one_number_a_channel():
    x = np.arange(24, dtype="float32").reshape(1, 2, 4, 3)
    y = ChannelShift([-1, 0.5, 100])(x)
    np.testing.assert_array_equal(y[..., 0], x[..., 0] - 1)
    np.testing.assert_array_equal(y[..., 1], x[..., 1] + 0.5)
    np.testing.assert_array_equal(y[..., 2], x[..., 2] + 100)


def test_has_no_weights():
    layer = ChannelShift([1, 2, 3])
    layer.build((None, None, None, 3))
    assert layer.weights == []


def test_contract(check_layer):
    check_layer(ChannelShift([-0.25, 0, 0.1]), channels=3)
