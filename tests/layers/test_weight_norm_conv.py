import keras
import numpy as np
import pytest
from keras import ops

from tfsr.layers import GroupedConv2D, WeightNormConv2D


def built(channels=8, seed=0, **arguments):
    layer = WeightNormConv2D(6, 3, **arguments)
    layer.build((None, None, None, channels))
    rng = np.random.default_rng(seed)
    for weight in layer.weights:
        weight.assign(
            rng.uniform(0.5, 2, weight.shape) * rng.choice([-1, 1], weight.shape)
        )
    return layer


def kernel_of(layer):
    direction, length, _ = layer.get_weights()
    return direction * length / np.sqrt((direction**2).sum((0, 1, 2)))


@pytest.mark.parametrize("groups", [1, 2])
def test_equals_a_convolution_with_the_normalized_kernel(conv2d, images, groups):
    layer = built(groups=groups)
    np.testing.assert_allclose(layer.kernel, kernel_of(layer), rtol=1e-5)
    plain = GroupedConv2D(6, 3, groups)
    plain.build(images.shape)
    plain.set_weights([kernel_of(layer), layer.bias])
    np.testing.assert_allclose(layer(images), conv2d(images, plain), atol=1e-4)


@pytest.mark.parametrize("gain", [1.0, 2.0, 0.25])
def test_filters_start_at_one_length(gain):
    layer = WeightNormConv2D(6, 3, gain)
    layer.build((None, None, None, 8))
    lengths = np.sqrt((np.asarray(layer.kernel) ** 2).sum((0, 1, 2)))
    np.testing.assert_allclose(lengths, gain, rtol=1e-5)
    assert layer.count_params() == 9 * 8 * 6 + 6 + 6
    assert not np.any(layer.bias)


def test_a_longer_direction_changes_nothing(images):
    layer = built()
    before = np.asarray(layer(images))
    layer.direction.assign(3 * layer.direction)
    np.testing.assert_allclose(layer(images), before, rtol=1e-4, atol=1e-4)


def test_gradients_are_those_of_the_paper(images):
    tf = pytest.importorskip("tensorflow")
    layer = built()
    direction, length, _ = layer.get_weights()
    factors = np.random.default_rng(1).standard_normal((2, 5, 7, 6)).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(images) * factors)
    of_direction, of_length, _ = tape.gradient(loss, layer.trainable_weights)

    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    of_kernel = np.zeros(direction.shape)
    for i, j in np.ndindex(3, 3):
        part = padded[:, i : i + 5, j : j + 7]
        of_kernel[i, j] = np.einsum("bhwc,bhwf->cf", part, factors)
    norm = np.sqrt((direction**2).sum((0, 1, 2)))
    along = (of_kernel * direction).sum((0, 1, 2)) / norm  # equation (3)
    expected = length / norm * (of_kernel - along * direction / norm)
    np.testing.assert_allclose(of_length, along, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(of_direction, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("arguments", [{}, {"groups": 2}, {"gain": 0.5}], ids=str)
def test_contract(check_layer, arguments):
    check_layer(WeightNormConv2D(4, 3, **arguments), channels=8)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_keeps_the_lengths(dtype):
    layer = WeightNormConv2D(64, 3, dtype=f"mixed_{dtype}")
    impulses = np.zeros((8, 3, 3, 8), "float32")
    impulses[range(8), 1, 1, range(8)] = 1
    taps = layer(impulses)
    assert keras.backend.standardize_dtype(taps.dtype) == dtype
    squares = np.asarray(ops.cast(taps, "float32")) ** 2
    np.testing.assert_allclose(squares.sum((0, 1, 2)) ** 0.5, 1, atol=2e-3)


@pytest.mark.parametrize("given", [{"initializer": "zeros"}, {"use_bias": False}])
def test_arguments_of_other_convolutions_are_refused(given):
    (name,) = given
    with pytest.raises(ValueError, match=f"does not apply.*Received: {name}="):
        WeightNormConv2D(8, 3, **given)
