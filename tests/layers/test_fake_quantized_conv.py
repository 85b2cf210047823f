import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsr.layers import FakeQuantizedConv2D, GroupedConv2D


@pytest.mark.parametrize(
    "conv",
    [
        lambda: GroupedConv2D(6, 3, groups=2),
        lambda: keras.layers.Conv2D(6, 4, strides=2, padding="same"),
        lambda: keras.layers.DepthwiseConv2D(2, strides=2, use_bias=False),
    ],
)
def test_saved_and_loaded(conv, images, tmp_path):
    inputs = keras.Input((None, None, 8))
    model = keras.Model(inputs, FakeQuantizedConv2D(conv())(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(model(images), loaded(images))
    assert len(model.trainable_weights) == len(loaded.trainable_weights) > 0


@pytest.mark.parametrize("bits", [4, 8])
def test_rounds_each_filter_to_its_own_steps(images, bits):
    conv = GroupedConv2D(6, 3)
    conv.build(images.shape)
    conv.kernel.assign(conv.kernel * np.geomspace(0.01, 10, 6))
    kernel, bias = conv.get_weights()
    highest = 2 ** (bits - 1) - 1
    steps = np.abs(kernel).max((0, 1, 2)) / highest
    rounded = GroupedConv2D(6, 3)
    rounded.build(images.shape)
    rounded.set_weights([np.rint(kernel / steps) * steps, bias])
    layer = FakeQuantizedConv2D(conv, bits)
    np.testing.assert_allclose(layer(images), rounded(images), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(conv.kernel, kernel)  # in training as it was


def test_is_the_model_optimization_toolkit_s_quantizer(images):
    name = "tensorflow_model_optimization"
    tfmot = pytest.importorskip(name, reason="it is the extra qat")
    quantizers = tfmot.quantization.keras.quantizers
    quantizer = quantizers.LastValueQuantizer(8, True, True, True)
    conv = GroupedConv2D(6, 3)
    conv.build(images.shape)
    bounds = {n: tf.Variable(tf.zeros(6)) for n in ("min_var", "max_var")}
    kernel = quantizer(conv.kernel.value, training=True, weights=bounds)
    expected = tf.nn.conv2d(images, kernel, 1, "SAME") + conv.bias.value
    layer = FakeQuantizedConv2D(conv)
    np.testing.assert_allclose(layer(images), expected, atol=1e-5)


def test_the_gradient_passes_as_if_nothing_were_rounded(images):
    conv = GroupedConv2D(6, 3)
    layer = FakeQuantizedConv2D(conv)
    layer.build(images.shape)
    found = []
    for module in (conv, layer):
        with tf.GradientTape() as tape:
            total = tf.reduce_sum(module(tf.constant(images)))
        found.append(tape.gradient(total, [w.value for w in conv.weights]))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_other_bits_are_refused():
    with pytest.raises(ValueError, match="Received: bits=2"):
        FakeQuantizedConv2D(GroupedConv2D(4, 3), bits=2)
