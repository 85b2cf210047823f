import keras
import numpy as np
import pytest

from tfsr.layers import ConvNorm, MultiScaleCross


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


def normalized(x, norm, training):
    if training:
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
    else:
        mean, variance = np.asarray(norm.moving_mean), np.asarray(norm.moving_variance)
    scaled = (x - mean) / np.sqrt(variance + 1e-5)
    return scaled * np.asarray(norm.gamma) + np.asarray(norm.beta)


@pytest.fixture
def module():
    """Of two branches with random weights, also of the normalizations."""

    def build(**kwargs):
        layer = MultiScaleCross(8, (3, 5), **kwargs)
        layer.build([(None, None, None, 8)] * 2)
        rng = np.random.default_rng(0)
        for weight in layer.weights:
            low = 0.5 if "variance" in weight.path else -0.5
            weight.assign(rng.uniform(low, 1, weight.shape))
        return layer

    return build


@pytest.mark.parametrize("last", [False, True])
def test_contract(check_layer, last):
    check_layer(MultiScaleCross(4, (3, 5), last=last), 4, count=2)


def test_conv_norm_contract(check_layer):
    check_layer(ConvNorm(6, 3), 4)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("last", [False, True])
def test_equations_1_and_2(module, conv2d, images, training, last):
    layer = module(last=last)
    x = [images, images[::-1] - 0.3]
    residuals = []
    for (first, second), y in zip(layer.branches, x, strict=True):
        y = leaky(normalized(conv2d(y, first.conv), first.norm, training))
        residuals.append(normalized(conv2d(y, second.conv), second.norm, training))
    average = (x[0] + x[1]) / 2
    expected = [leaky(residual + average) for residual in residuals]
    if last:
        expected = leaky(sum(residuals) + average)
    inputs = [keras.Input(y.shape[1:]) for y in x]
    outputs = keras.Model(inputs, layer(inputs))(x, training=training)
    np.testing.assert_allclose(outputs, expected, atol=1e-4)


def test_merge_and_run_is_idempotent(images):
    # Without residuals and with positive features a module is the matrix P of (1).
    layer = MultiScaleCross(8)
    x = [np.abs(images), np.abs(images[::-1])]
    layer.build([y.shape for y in x])
    for branch in layer.branches:
        branch[1].norm.gamma.assign(np.zeros(8))
    once = layer(x)
    twice = layer(once)
    np.testing.assert_allclose(once[0], (x[0] + x[1]) / 2, atol=1e-6)
    np.testing.assert_allclose(twice, once, atol=1e-6)


@pytest.mark.parametrize("kernel_sizes", [3, (3, 5, 7), (3, 0), ("a", 3)])
def test_wrong_kernel_sizes(kernel_sizes):
    with pytest.raises(ValueError, match="Received: kernel_sizes=") as error:
        MultiScaleCross(8, kernel_sizes)
    assert str(kernel_sizes) in str(error.value)
