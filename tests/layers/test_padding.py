import keras
import numpy as np
import pytest

from tfsr.layers import CropToScale, PadToMultiple


@pytest.fixture
def image():
    def image(height, width, channels=3):
        rng = np.random.default_rng(0)
        return rng.random((2, height, width, channels), dtype="float32")

    return image


def padded(x, multiple):
    _, h, w, _ = x.shape
    missing = ((0, 0), (0, -h % multiple), (0, -w % multiple), (0, 0))
    return np.pad(x, missing, mode="edge")


@pytest.mark.parametrize("open_size", [False, True])
@pytest.mark.parametrize("multiple", [1, 2, 4, 8])
@pytest.mark.parametrize("size", [(5, 7), (8, 3), (1, 16), (16, 8), (13, 12)])
def test_pads_with_the_last_row_and_column(image, size, multiple, open_size):
    x = image(*size)
    layer = PadToMultiple(multiple)
    if open_size:  # only known when it runs
        inputs = keras.Input((None, None, 3))
        layer = keras.Model(inputs, layer(inputs)).predict
    y = layer(x)
    np.testing.assert_array_equal(y, padded(x, multiple))


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_crops_what_padding_added(image, scale):
    x = image(5, 7)
    sr = padded(x, 4).repeat(scale, axis=1).repeat(scale, axis=2)
    y = CropToScale(scale)([sr, x])
    np.testing.assert_array_equal(y, sr[:, : 5 * scale, : 7 * scale])


@pytest.mark.parametrize("layer", [PadToMultiple(4), CropToScale(1)])
def test_a_known_multiple_takes_no_operation(layer):
    x = keras.Input((8, 12, 3))
    inputs = [x, x] if isinstance(layer, CropToScale) else x
    assert layer.call(inputs) is x


@pytest.mark.parametrize("multiple", [1, 2, 8])
def test_pad_contract(check_layer, multiple):
    check_layer(PadToMultiple(multiple), channels=3)


@pytest.mark.parametrize("scale", [1, 3])
def test_crop_contract(check_layer, scale):
    if scale == 1:
        check_layer(CropToScale(1), channels=3, count=2)
    else:
        config = CropToScale(scale).get_config()
        assert CropToScale.from_config(config).scale == scale
