import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsr.models import carn_m
from tfsr.tflite import export, metadata
from tfsr.tflite.lowering.engine import lower
from tfsr.tflite.lowering.rules import INT8_RULES, INT16_RULES
from tfsr.tflite.quantization.observers import least_squares, min_max, observe
from tfsr.tflite.quantization.range_choice import choose_ranges
from tfsr.tflite.quantization.simulation import simulate, to_8_bit, to_16_bit
from tfsr.tflite.runtime import TFLiteUpscaler


def test_8_bit_is_what_tensorflow_simulates():
    x = np.random.default_rng(0).uniform(-3, 3, 10_000).astype(np.float32)
    for low, high in [(-1.0, 2.0), (0.0, 1.0), (-0.3, 0.01)]:
        expected = tf.quantization.fake_quant_with_min_max_args(x, low, high)
        # halves of a step may round either way
        different = np.abs(np.asarray(to_8_bit(x, low, high)) - expected) > 1e-5
        assert different.mean() < 1e-3


def test_16_bit_is_symmetric():
    step = 2 / 32767
    x = np.array([-9, -2, -0.4 * step, 0.6 * step, 1.9, 2, 9])
    expected = [-32768 * step, -2, 0, step, np.rint(1.9 / step) * step, 2, 2]
    np.testing.assert_allclose(to_16_bit(x, -0.5, 2.0), expected, atol=1e-6)
    clipped = np.maximum(expected, 0)
    np.testing.assert_allclose(to_16_bit(x, 0.0, 2.0), clipped, atol=1e-6)


@pytest.mark.parametrize(
    ("bits", "save", "rules", "choose", "between"),
    [
        (8, export.int8, INT8_RULES, least_squares, 55),
        (16, export.int16x8, INT16_RULES, min_max, 80),
    ],
)
def test_the_exported_model_computes_what_is_simulated(
    tmp_path, bits, save, rules, choose, between
):
    rng = np.random.default_rng(1)
    model = carn_m(scale=2, filters=16, blocks=1)
    graph = lower(model, rules)
    patches = [rng.random((24, 20, 3), np.float32) for _ in range(4)]
    ranges = choose_ranges(graph, observe(graph, patches), choose)
    lr = rng.integers(0, 256, (24, 20, 3)).astype(np.float32) / 255
    (sr,) = graph.run(
        [keras.ops.convert_to_tensor(lr[None])], simulate(graph, ranges, bits)
    )
    file = tmp_path / "m.tflite"
    facts = {"scale": 2, "format": "int8" if bits == 8 else "int16x8"}
    file.write_bytes(metadata.with_metadata(save(graph, ranges), facts))
    error = TFLiteUpscaler(file)(lr) - keras.ops.convert_to_numpy(sr)[0]
    assert np.mean(error**2) < 10 ** (-between / 10)
