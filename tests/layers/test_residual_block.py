import numpy as np

from tfsr.layers import ResidualBlock


def test_equals_equation_1(images, conv2d):
    layer = ResidualBlock(8)
    y = layer(images)
    x = np.maximum(conv2d(images, layer.conv_0), 0)
    expected = np.maximum(conv2d(x, layer.conv_1) + images, 0)
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_contract(check_layer):
    check_layer(ResidualBlock(8), channels=8)
