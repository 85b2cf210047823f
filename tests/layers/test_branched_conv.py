import keras
import numpy as np
import pytest

from tfsr.layers import BranchedConv2D, GroupedConv2D
from tfsr.layers.branched_conv import FUNCTIONS, Dilated


def convolution(kernel_size, channels=4, filters=6):
    conv = GroupedConv2D(filters, kernel_size)
    conv.build((None, None, None, channels))
    return conv


def spread(conv):
    """The convolution of twice the reach with zeros between the taps."""
    kernel = conv.kernel.numpy()
    size, _, channels, filters = kernel.shape
    wide = np.zeros((2 * size - 1, 2 * size - 1, channels, filters))
    wide[::2, ::2] = kernel
    out = GroupedConv2D(filters, 2 * size - 1)
    out.build((None, None, None, channels))
    out.set_weights([wide, conv.bias.numpy()])
    return out


def branches(*channels, size=(8, 10)):
    rng = np.random.default_rng(0)
    return [rng.standard_normal((2, *size, c)).astype("float32") for c in channels]


def nearest(x):
    return x.repeat(2, axis=1).repeat(2, axis=2)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_dilated_reads_every_second_pixel(conv2d, kernel_size):
    (x,) = branches(4)
    conv = convolution(kernel_size)
    np.testing.assert_allclose(Dilated(conv)(x), conv2d(x, spread(conv)), atol=1e-5)


# Fig. 4: D_2 - W_d=1 - U_2 = W_d=2 - D_2 - U_2
def test_convolution_of_downsampled_features_is_a_dilated_one(conv2d):
    (x,) = branches(4)
    conv = convolution(3)
    expected = nearest(conv2d(x[:, ::2, ::2], conv))
    y = x
    for layer in FUNCTIONS["w_d2_d2u2"](conv):
        y = layer(y)
    np.testing.assert_allclose(y, expected, atol=1e-5)


# Section 3.3: Pool_s=2 - W_d=1 - U_2 = Pool_s=1 - W_d=2 - D_2 - U_2
def test_convolution_of_averages_is_a_dilated_one_of_averages(conv2d):
    (x,) = branches(4)
    conv = convolution(3)
    averages = x.reshape(2, 4, 2, 5, 2, 4).mean((2, 4))
    expected = nearest(conv2d(averages, conv))
    y = x
    for layer in FUNCTIONS["pool_w_d2_d2u2"](conv):
        y = layer(y)
    np.testing.assert_allclose(y, expected, atol=1e-5)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_equals_its_matrix(conv2d, function):
    x_high, x_low = branches(4, 4)
    layer = BranchedConv2D((6, 6), function=function)
    y_high, y_low = layer([x_high, x_low])
    w = {conv.name: conv for conv in layer.convs}
    shared = function == "w_d2_shared"
    assert len(w) == (3 if shared else 4)
    w_high, w_low = (w["conv"],) * 2 if shared else (w["conv_0_0"], w["conv_1_1"])
    expected = conv2d(x_high, w_high) + conv2d(x_low, w["conv_1_0"])
    np.testing.assert_allclose(y_high, expected, atol=1e-5)

    x = x_low
    if function == "pool_w_d2_d2u2":
        averages = [x[:, i : 7 + i, j : 9 + j] for i in (0, 1) for j in (0, 1)]
        # What lies beyond the border is left out of the average.
        x = np.pad(sum(averages) / 4, ((0, 0), (0, 1), (0, 1), (0, 0)))
        x[:, -1, :-1] = (x_low[:, -1, :-1] + x_low[:, -1, 1:]) / 2
        x[:, :-1, -1] = (x_low[:, :-1, -1] + x_low[:, 1:, -1]) / 2
        x[:, -1, -1] = x_low[:, -1, -1]
    own = conv2d(x, w_low if function == "w_d1" else spread(w_low))
    if "d2u2" in function:
        own = nearest(own[:, ::2, ::2])
    expected = conv2d(x_high, w["conv_0_1"]) + own
    np.testing.assert_allclose(y_low, expected, atol=1e-5)


def test_ordinary_branches_are_one_convolution(conv2d):
    """Fig. 2 (a)."""
    x = branches(4, 4)
    layer = BranchedConv2D((3, 5), function="w_d1")
    y = layer(x)
    w = {conv.name: conv.get_weights() for conv in layer.convs}
    kernels, biases = [], []
    for j in (0, 1):
        (high, high_bias), (low, low_bias) = w[f"conv_0_{j}"], w[f"conv_1_{j}"]
        kernels.append(np.concatenate([high, low], axis=2))
        biases.append(high_bias + low_bias)
    one = GroupedConv2D(8, 3)
    one.build((None, None, None, 8))
    one.set_weights([np.concatenate(kernels, axis=-1), np.concatenate(biases)])
    together = conv2d(np.concatenate(x, axis=-1), one)
    np.testing.assert_allclose(np.concatenate(y, axis=-1), together, atol=1e-5)


def test_splits_and_aggregates(conv2d):
    (x,) = branches(3)
    layer = BranchedConv2D((4, 4))
    for ours, conv in zip(layer([x]), layer.convs, strict=True):
        np.testing.assert_allclose(ours, conv2d(x, conv), atol=1e-5)
    x = branches(4, 4)
    layer = BranchedConv2D((6,))
    (y,) = layer(x)
    expected = sum(conv2d(*pair) for pair in zip(x, layer.convs, strict=True))
    np.testing.assert_allclose(y, expected, atol=1e-5)


def test_unknown_function():
    with pytest.raises(ValueError, match=r"`function` must be .*function=w_d3\."):
        BranchedConv2D((4, 4), function="w_d3")


def test_arguments_of_levels_have_no_meaning_for_branches():
    with pytest.raises(ValueError, match=r"`paths` does not apply.*paths=none"):
        BranchedConv2D((4, 4), paths="none")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_saved_and_reloaded(tmp_path, function):
    inputs = [keras.Input((None, None, 4)), keras.Input((None, None, 4))]
    layer = BranchedConv2D((6, 6), 3, function)
    model = keras.Model(inputs, layer(inputs))
    model.save(tmp_path / "layer.keras")
    reloaded = keras.saving.load_model(tmp_path / "layer.keras")
    for size in ((8, 10), (6, 2)):
        x = branches(4, 4, size=size)
        for ours, theirs in zip(model(x), reloaded(x), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        promised = layer.compute_output_shape([y.shape for y in x])
        assert promised == [tuple(y.shape) for y in model(x)]
    assert BranchedConv2D.from_config(layer.get_config()).function == function
