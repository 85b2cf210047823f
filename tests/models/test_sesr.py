import keras
import numpy as np
import pytest

from tfsr.data import BenchmarkFolder
from tfsr.data.embedded import TRAINING, photographs
from tfsr.graph import complexity
from tfsr.models import scales, sesr
from tfsr.scoring.grayness import gray_spread
from tfsr.tflite.conversion import convert
from tfsr.zoo.upscalers import load_upscaler


def small(scale, **arguments):
    keras.utils.set_random_seed(0)
    return sesr(scale, **{"filters": 8, "blocks": 2, "expanded": 16, **arguments})


def random_lr(*shape):
    return np.random.default_rng(0).random(shape, dtype="float32")


def without_tails(model, scale):
    for name in (f"tail_x{scale}", f"color_tail_{scale**2}"):
        tail = model.get_layer(name)
        tail.set_weights([np.zeros_like(w) for w in tail.get_weights()])
    return model


# The widths and depths of SESR-M5 and M11, as they are collapsed.
@pytest.mark.parametrize("blocks", [5, 11])
@pytest.mark.parametrize("edges", [False, True])
def test_params_and_mult_adds(blocks, edges):
    model = sesr(2, filters=16, blocks=blocks, edges=edges)
    luma = 9 * (3 * 16 + blocks * 16 * 16 + 16 * 4)
    colors = 9 * 2 * 16 + 16 * 16 + 9 * 16 * 12
    assert complexity.mult_adds(model, 5, 7) == 5 * 7 * (luma + colors)
    biases = (blocks + 1) * 16 + 4 + 16
    assert complexity.params(model) == luma + colors + biases


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_output_shape_of_odd_sizes(scale, channels):
    model = small(scale, channels=channels)
    assert scales(model) == (scale,)
    y = model(random_lr(1, 7, 9, channels))
    assert y.shape == (1, 7 * scale, 9 * scale, channels)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_the_anchor_is_the_nearest_pixel(scale):
    lr = random_lr(1, 5, 7, 3)
    sr = without_tails(small(scale), scale)(lr)
    nearest = lr.repeat(scale, axis=1).repeat(scale, axis=2)
    np.testing.assert_array_equal(sr, nearest)


def test_equals_the_units_by_hand():
    model, lr = small(2), random_lr(1, 5, 6, 3)
    layer = model.get_layer
    x = keras.ops.relu(layer("head")(lr - np.float32([0.4488, 0.4371, 0.4040])))
    for b in range(2):
        x = keras.ops.relu(layer(f"block_{b}")(x))
    colors = layer("colors")(np.stack([lr[..., i] - lr[..., 1] for i in (0, 2)], -1))
    colors = layer("color_tail_4")(colors * layer("color_gate")(x))
    x = keras.ops.repeat(layer("tail_x2")(x), 3, axis=-1) + colors
    x = x + keras.ops.concatenate([lr] * 4, -1)
    expected = keras.ops.depth_to_space(x, 2)
    np.testing.assert_allclose(model(lr), expected, atol=1e-6)


@pytest.mark.parametrize("format", ["float32", "int8"])
def test_gray_stays_gray(format, tmp_path):
    path, images = tmp_path / "x.tflite", BenchmarkFolder(photographs(TRAINING), 2)
    convert(small(2), 2, format, [None], path, images.first(1))
    assert set(gray_spread(load_upscaler(path)).values()) == {0}


def test_pixels_stay_float32_in_half_precision():
    lr = random_lr(1, 5, 7, 3)
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = small(2)
    finally:
        keras.config.set_dtype_policy(before)
    assert model.get_layer("block_0").compute_dtype == "bfloat16"
    sr = without_tails(model, 2)(lr)
    np.testing.assert_array_equal(sr, lr.repeat(2, axis=1).repeat(2, axis=2))


def test_one_step(check_step):
    check_step(small(4), random_lr(2, 6, 6, 3), random_lr(2, 24, 24, 3))


def test_saved_and_reloaded(check_saved):
    check_saved(small(3), random_lr(1, 5, 7, 3))


@pytest.mark.parametrize(
    "arguments",
    [
        *({"scale": s} for s in (1, 5, 2.0, "2", None, (2, 3))),
        *({"filters": n} for n in (0, 2.0, True, None)),
        *({"blocks": n} for n in (0, "2")),
        {"channels": 4},
        {"color_blocks": -1},
        {"expanded": 0},
    ],
    ids=str,
)
def test_errors(arguments):
    ((name, value),) = arguments.items()
    received = str(value).replace("(", r"\(").replace(")", r"\)")
    with pytest.raises(ValueError, match=f"Received: {name}={received}"):
        sesr(**arguments)
