import keras
import numpy as np
import pytest

from networks import small
from tfsr.data import BenchmarkFolder, GaussianNoise
from tfsr.data.embedded import TRAINING, photographs
from tfsr.graph import complexity
from tfsr.graph.footprint import receptive_radius
from tfsr.models import ffdnet
from tfsr.scoring.grayness import gray_spread
from tfsr.tflite.conversion import convert
from tfsr.tflite.runtime import inspect
from tfsr.zoo.upscalers import load_upscaler


def random_image(*shape):
    return np.random.default_rng(0).random(shape, dtype="float32")


def test_params_and_mult_adds():
    model = ffdnet(filters=16, blocks=3, colors=8, color_blocks=2)
    luma = 9 * (12 * 16 + 3 * 16 * 16 + 16 * 4)
    colors = 9 * (8 * 8 + 2 * 8 * 8 + 8 * 12) + 16 * 8
    assert complexity.mult_adds(model, 10, 14) == 5 * 7 * (luma + colors)
    assert complexity.params(model) == luma + colors + 4 * 16 + 4 + 8


@pytest.mark.parametrize("channels", [1, 3])
def test_output_shape_of_odd_sizes(channels):
    y = small("ffdnet", channels=channels)(random_image(1, 7, 9, channels))
    assert y.shape == (1, 7, 9, channels)


def test_equals_the_units_by_hand():
    model, image = small("ffdnet"), random_image(1, 6, 8, 3)
    layer, ops = model.get_layer, keras.ops
    x = ops.space_to_depth(image - np.float32([0.4488, 0.4371, 0.4040]), 2)
    x = ops.relu(layer("block_0")(ops.relu(layer("head")(x))))
    colors = ops.space_to_depth(image[..., ::2] - image[..., 1:2], 2)
    colors = layer("colors")(ops.relu(layer("colors_0")(colors)))
    colors = layer("color_tail_4")(colors * layer("color_gate")(x))
    x = ops.repeat(layer("tail")(x), 3, axis=-1) + colors
    expected = image + ops.depth_to_space(x, 2)
    np.testing.assert_allclose(model(image), expected, atol=1e-5)


def test_sees_its_convolutions_at_half_the_resolution():
    # head, block, the last one, and the other pixel of a block of two
    assert receptive_radius(small("ffdnet")) == 2 * 3 + 1


@pytest.mark.parametrize("format", ["float32", "int8"])
def test_gray_stays_gray(format, tmp_path):
    path, noise = tmp_path / "x.tflite", GaussianNoise(sigma=25)
    images = BenchmarkFolder(photographs(TRAINING), 1, degradation=noise).first(1)
    convert(small("ffdnet"), 1, format, [(24, 24)], path, images)
    assert format == "float32" or inspect(path)["partitions"] == 1
    assert set(gray_spread(load_upscaler(path)).values()) == {0}


@pytest.mark.parametrize(
    "arguments",
    [{"scale": 2}, {"channels": 4}, {"filters": 0}, {"color_blocks": 0}],
    ids=str,
)
def test_errors(arguments):
    ((name, value),) = arguments.items()
    with pytest.raises(ValueError, match=f"Received: {name}={value}"):
        ffdnet(**arguments)
