import keras
import numpy as np
import pytest
from keras import layers, ops

from tfsr.data import BenchmarkFolder
from tfsr.layers import GroupedConv2D
from tfsr.tflite.conversion import convert
from tfsr.tflite.runtime import TFLiteUpscaler, inspect
from tfsr.upscaling.upscalers import KerasUpscaler


@pytest.fixture
def folder(photographs):
    return BenchmarkFolder(photographs, 2)


@pytest.mark.parametrize("biased", [True, False])
def test_wide_transposed_convolutions_in_16_bit(tmp_path, folder, biased):
    lr = keras.Input((24, 32, 3))
    y = layers.Conv2DTranspose(
        96, 4, strides=2, padding="same", use_bias=biased, bias_initializer="ones"
    )(lr)
    model = keras.Model(lr, layers.Conv2D(3, 1)(y))
    (file,) = convert(model, 2, "int16x8", [None], tmp_path / "m.tflite", folder)
    assert "TRANSPOSE_CONV" in inspect(file)["operators"]
    lr = np.random.default_rng(0).random((24, 32, 3), np.float32)
    expected = np.clip(KerasUpscaler(model, 2)(lr), 0, 1)
    assert np.abs(TFLiteUpscaler(file)(lr) - expected).mean() < 2 / 255


def test_gates_in_16_bit(tmp_path, folder):
    lr = keras.Input((24, 32, 3))
    y = layers.Conv2D(3, 3, padding="same")(lr)
    gates = [getattr(ops, name)(y) for name in ("sigmoid", "tanh", "softmax")]
    gated = layers.Concatenate()([lr * gate for gate in gates])
    model = keras.Model(lr, layers.Conv2D(3, 1)(gated) + lr)
    (file,) = convert(model, 1, "int16x8", [None], tmp_path / "m.tflite", folder)
    lr = np.random.default_rng(0).random((24, 32, 3), np.float32)
    expected = np.clip(KerasUpscaler(model, 1)(lr), 0, 1)
    assert np.abs(TFLiteUpscaler(file)(lr) - expected).mean() < 2 / 255


def test_16_bit_output_is_clipped(tmp_path, folder):
    lr = keras.Input((None, None, 3))
    model = keras.Model(lr, GroupedConv2D(3, 3, name="tail")(lr))
    kernel = np.zeros((3, 3, 3, 3))
    kernel[1, 1] = 3 * np.eye(3)
    model.get_layer("tail").set_weights([kernel, -np.ones(3)])
    (file,) = convert(model, 1, "int16x8", [None], tmp_path / "m.tflite", folder)
    lr = np.random.default_rng(0).random((24, 32, 3), np.float32)
    sr = TFLiteUpscaler(file)(lr)
    np.testing.assert_allclose(sr, np.clip(3 * lr - 1, 0, 1), atol=0.01)


@pytest.mark.parametrize(
    "part",
    [
        lambda x: ops.clip(x, -0.1, 0.2),
        lambda x: ops.relu6(3 * x * ops.flip(x, -1)),
        lambda x: ops.relu(-x) + x,
        lambda x: ops.relu(layers.LeakyReLU(0.3)(x)),
        lambda x: ops.relu(ops.mean(x, -1, keepdims=True)) * x,
        lambda x: ops.relu(ops.where(x > 0.1, x, -x)),
        lambda x: ops.maximum(x, 0.1) + ops.minimum(x, 0.3),
        lambda x: ops.clip(ops.relu(x) - ops.relu(ops.flip(x, -1)), 0, 1),
        lambda x: ops.where(x > 3 * ops.flip(x, -1), x, -x),
        lambda x: ops.hard_tanh(9 * x),
        lambda x: ops.hard_silu(x),
        lambda x: ops.softmax(ops.where(x > 0, x, -1e9)),
    ],
    ids=[
        "clip",
        "ReLU6 of a product",
        "ReLU of a negative",
        "ReLU of a slope",
        "ReLU of a mean",
        "ReLU of a selection",
        "constants",
        "difference of ReLUs",
        "comparison",
        "hard tanh",
        "hard swish",
        "mask",
    ],
)
def test_what_8_bits_do_by_their_range_is_done_in_16(tmp_path, folder, part):
    keras.utils.set_random_seed(1)
    lr = keras.Input((24, 32, 3))
    y = part(layers.Conv2D(4, 3, padding="same")(lr))
    sr = layers.UpSampling2D()(layers.Conv2D(3, 3, padding="same")(y) + 0.5)
    model = keras.Model(lr, sr)
    (file,) = convert(model, 2, "int16x8", [None], tmp_path / "m.tflite", folder)
    lr = folder[0].lr[:24, :32] / np.float32(255)
    expected = np.clip(KerasUpscaler(model, 2)(lr), 0, 1)
    assert np.abs(TFLiteUpscaler(file)(lr) - expected).max() < 2 / 255
