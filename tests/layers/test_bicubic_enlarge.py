import numpy as np
import pytest

from tfsr.data.resize import imresize
from tfsr.layers import BicubicEnlarge


def test_contract(check_layer):
    check_layer(BicubicEnlarge(3), 2)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_is_imresize(scale):
    x = np.random.default_rng(0).random((1, 5, 7, 3), np.float32)
    expected = imresize(x[0].astype(float), scale)
    np.testing.assert_allclose(BicubicEnlarge(scale)(x)[0], expected, atol=1e-6)


def test_other_scales_are_refused():
    with pytest.raises(ValueError, match="Received: scale=5"):
        BicubicEnlarge(5)
