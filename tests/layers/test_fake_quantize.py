import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsr.layers import FakeQuantize


def gradients(layer, x):
    """Of the summed output, by the input and by the bounds."""
    x = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(layer(x))
    by_x, by_range = tape.gradient(total, [x, layer.range.value])
    return by_x, by_range / layer.unit


def test_contract(check_layer):
    check_layer(FakeQuantize(-1.0, 2.0), 4)


@pytest.mark.parametrize("bounds", [(0.0, 1.0), (-0.3, 1.1), (-2.0, 0.0), (-5.0, 0.2)])
def test_is_tensorflow_s_fake_quantization(bounds):
    x = np.random.default_rng(0).uniform(-6, 2, (1, 4000, 1, 1)).astype(np.float32)
    expected = tf.quantization.fake_quant_with_min_max_args(x, *bounds)
    np.testing.assert_allclose(FakeQuantize(*bounds)(x), expected, atol=1e-5)


def test_is_the_model_optimization_toolkit_s_quantizer():
    name = "tensorflow_model_optimization"
    tfmot = pytest.importorskip(name, reason="it is the extra qat")
    quantizers = tfmot.quantization.keras.quantizers
    quantizer = quantizers.AllValuesQuantizer(8, False, False, False)
    bounds = {"min_var": tf.Variable(-0.3), "max_var": tf.Variable(1.1)}
    x = np.linspace(-0.3, 1.1, 999, dtype=np.float32).reshape(1, -1, 1, 1)
    expected = quantizer(x, training=False, weights=bounds)
    np.testing.assert_allclose(FakeQuantize(-0.3, 1.1)(x), expected, atol=1e-5)


def test_16_bits_are_symmetric():
    x = np.linspace(-3, 3, 1001, dtype=np.float32).reshape(1, -1, 1, 1)
    y = np.asarray(FakeQuantize(-1.0, 2.0, bits=16)(x))
    np.testing.assert_allclose(y, np.clip(x, -2, 2), atol=2 / 32767)
    positive = np.asarray(FakeQuantize(0.0, 2.0, bits=16)(x))
    np.testing.assert_allclose(positive, np.clip(x, 0, 2), atol=1 / 32767)


@pytest.mark.parametrize(
    ("low", "high", "bits"),
    [(-0.5, 1.0, 8), (-0.5, 1.0, 16), (-1.5, 1.0, 16)],
)
def test_gradients_against_finite_differences_of_the_clipping(low, high, bits):
    # Of the clipped values, and of errors of rounding in proportion to the step.
    layer = FakeQuantize(low, high, bits)
    x = np.array([-2.0, -0.7, -0.2, 0.3, 0.9, 1.4], np.float32).reshape(1, -1, 1, 1)
    by_x, by_bounds = gradients(layer, x)

    def clip(values, low, high):
        if bits == 16:
            high = max(-low, high)
            low = -high
        return np.clip(values.astype(float), low, high), (high - low) / (2**bits - 1)

    clipped, step = clip(x, low, high)
    errors = (np.asarray(layer(x)) - clipped) / step
    errors[clipped != x] = 0

    def total(values, low, high):
        clipped, step = clip(values, low, high)
        return (clipped + errors * step).sum()

    eps = 1e-4
    differences = [
        (total(x + step, low, high) - total(x - step, low, high)) / (2 * eps)
        for step in eps * np.eye(x.size).reshape(-1, *x.shape)
    ]
    np.testing.assert_allclose(np.ravel(by_x), differences, atol=1e-6)
    by_low = (total(x, low + eps, high) - total(x, low - eps, high)) / (2 * eps)
    by_high = (total(x, low, high + eps) - total(x, low, high - eps)) / (2 * eps)
    np.testing.assert_allclose(by_bounds, [by_low, by_high], atol=1e-3)


def test_a_range_too_wide_learns_to_be_narrower():
    layer = FakeQuantize(-100.0, 100.0)
    model = keras.Sequential([keras.Input((16, 16, 1)), layer])
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    x = np.random.default_rng(0).uniform(-1, 1, (8, 16, 16, 1)).astype(np.float32)
    before = model.evaluate(x, x, verbose=0)
    model.fit(x, x, epochs=40, verbose=0)
    assert model.evaluate(x, x, verbose=0) < before / 4


def test_bounds_are_learned_until_they_are_frozen():
    layer = FakeQuantize(-1.0, 1.0)
    model = keras.Sequential([keras.Input((4, 4, 1)), layer])
    model.compile(keras.optimizers.Adam(0.01), "mse")
    x = np.random.default_rng(0).uniform(-3, 3, (8, 4, 4, 1)).astype(np.float32)
    model.fit(x, x, epochs=3, verbose=0)
    low, high = map(float, layer.bounds())
    assert low < -1.1  # wider, towards the values clipped
    assert high > 1.1
    layer.freeze()
    expected = model.predict(x, verbose=0)
    model.fit(x, x, epochs=3, verbose=0)
    assert tuple(map(float, layer.bounds())) == (low, high)
    np.testing.assert_array_equal(model.predict(x, verbose=0), expected)


def test_a_bound_learns_in_widths_of_its_range():
    # Adam's first step is the learning rate, whatever the gradient.
    for width in (0.01, 1.0, 100.0):
        layer = FakeQuantize(-width, width)
        model = keras.Sequential([keras.Input((2, 2, 1)), layer])
        model.compile(keras.optimizers.Adam(1e-3), "mse")
        x = np.array([-3, 3, -2, 2], np.float32).reshape(1, 2, 2, 1) * width
        model.fit(x, x, verbose=0)
        moved = np.array(layer.bounds()) - [-width, width]
        np.testing.assert_allclose(moved, [-0.02 * width, 0.02 * width], rtol=1e-2)


def test_fixed_bounds_do_not_move():
    layer = FakeQuantize(-0.4, 0.6, learned=False)
    layer.build((None, 2, 2, 1))
    assert layer.trainable_weights == []
    assert tuple(layer.bounds()) == (np.float32(-0.4), np.float32(0.6))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 0.1, "high": 1.0}, "Received: low=0.1, high=1.0"),
        ({"low": 0.0, "high": 0.0}, "Received: low=0.0, high=0.0"),
        ({"low": -1.0, "high": 1.0, "bits": 4}, "Received: bits=4"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        FakeQuantize(**arguments)
