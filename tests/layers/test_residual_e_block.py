import numpy as np
import pytest

from tfsr.layers import ResidualEBlock


@pytest.mark.parametrize("groups", [1, 4])
def test_equals_fig_3b(images, conv2d, groups):
    layer = ResidualEBlock(8, groups)
    y = layer(images)
    x = np.maximum(conv2d(images, layer.conv_0), 0)
    x = np.maximum(conv2d(x, layer.conv_1), 0)
    expected = np.maximum(conv2d(x, layer.pointwise) + images, 0)
    np.testing.assert_allclose(y, expected, atol=1e-5)
    assert (
        layer.conv_0.kernel.shape == layer.conv_1.kernel.shape == (3, 3, 8 // groups, 8)
    )
    assert layer.pointwise.kernel.shape == (1, 1, 8, 8)


def test_groups_must_divide_filters():
    with pytest.raises(ValueError, match=r"Received: groups=3, filters=8\."):
        ResidualEBlock(8, 3)


def test_contract(check_layer):
    check_layer(ResidualEBlock(8, 2), channels=8)
