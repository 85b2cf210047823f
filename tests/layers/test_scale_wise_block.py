import numpy as np
import pytest

from tfsr.layers import ScaleWiseBlock


def pyramid(levels=3, channels=4):
    rng = np.random.default_rng(0)
    shapes = [(2, 8 >> s, 12 >> s, channels) for s in range(levels)]
    return [rng.standard_normal(shape).astype("float32") for shape in shapes]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("outputs", [None, 2, 1])
def test_adds_the_scale_wise_convolution_of_wide_features(conv2d, shared, outputs):
    inputs = pyramid()
    block = ScaleWiseBlock(4, width=3, gain=0.5, shared=shared, outputs=outputs)
    results = block(inputs)
    wide = [
        np.maximum(conv2d(x, block.expand[0 if shared else s]), 0).astype("float32")
        for s, x in enumerate(inputs)
    ]
    assert wide[0].shape[-1] == 12
    residuals = block.conv(wide)
    assert len(results) == len(residuals) == (outputs or 3)
    for y, x, r in zip(results, inputs, residuals, strict=False):
        np.testing.assert_allclose(y, x + r, atol=1e-5)


def test_one_level_is_a_plain_residual_block(conv2d):
    (x,) = pyramid(1)
    block = ScaleWiseBlock(4)
    (y,) = block([x])
    wide = np.maximum(conv2d(x, block.expand[0]), 0)
    np.testing.assert_allclose(y, x + conv2d(wide, block.conv.within[0]), atol=1e-5)
    assert not block.conv.between


def test_initial_gains():
    block = ScaleWiseBlock(4, gain=0.25)
    block.build([(None, None, None, 4)] * 2)
    np.testing.assert_allclose(block.expand[0].length, 2)
    np.testing.assert_allclose(block.conv.within[0].length, 0.25)


@pytest.mark.parametrize("width", [0, 0.3, -1])
def test_the_width_gives_whole_channels(width):
    with pytest.raises(ValueError, match=rf"whole number.*Received: width={width}"):
        ScaleWiseBlock(4, width=width)


@pytest.mark.parametrize("arguments", [{}, {"width": 1.5, "shared": False}], ids=str)
def test_contract(check_layer, arguments):
    layer = ScaleWiseBlock(4, **arguments)
    check_layer(layer, channels=4, count=3, step=2)
