import keras
import numpy as np
import pytest
from keras import ops

from tfsr.layers import CollapsibleConv2D, GroupedConv2D
from tfsr.layers.collapsible_conv import EDGES


def built(filters=8, channels=8, **arguments):
    keras.utils.set_random_seed(0)
    layer = CollapsibleConv2D(filters, **arguments)
    layer.build((None, None, None, channels))
    layer.bias.assign(np.linspace(-1, 1, filters))
    return layer


def convolved_twice(conv2d, images, layer):
    """The 3x3 and the 1x1 convolution one after the other, as the paper draws them."""
    expand, project, bias = layer.get_weights()
    wide = GroupedConv2D(layer.expanded, 3)
    wide.build(images.shape)
    wide.set_weights([expand, np.zeros(layer.expanded)])
    narrow = conv2d(images, wide) @ project + bias
    return narrow + images if layer.skip else narrow


@pytest.mark.parametrize("skip", [False, True])
def test_equals_two_convolutions(conv2d, images, skip):
    layer = built(expanded=20, skip=skip)
    expected = convolved_twice(conv2d, images, layer)
    np.testing.assert_allclose(layer(images), expected, atol=1e-5)


def test_edges_are_those_of_a_1x1_convolution(conv2d, images):
    without, layer = built(), built(edges=True)
    layer.strength.assign(np.random.default_rng(1).standard_normal((3, 8)))
    expand, project, mix, strength, bias = layer.get_weights()
    without.set_weights([expand, project, bias])
    expected = convolved_twice(conv2d, images, without)
    fixed = GroupedConv2D(8, 3, use_bias=False)
    fixed.build(images.shape)
    for e, (filter_of_edges, strengths) in enumerate(
        zip(np.moveaxis(EDGES, -1, 0), strength, strict=True)
    ):
        fixed.set_weights([filter_of_edges[..., None, None] * np.diag(strengths)])
        expected = expected + fixed(images @ mix[e])
    np.testing.assert_allclose(layer(images), expected, atol=1e-4)


def test_another_number_of_filters(conv2d, images):
    layer = built(filters=5)
    expected = convolved_twice(conv2d, images, layer)
    np.testing.assert_allclose(layer(images), expected, atol=1e-5)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("expanded", [16, 256])
def test_kernels_start_alike_whatever_lies_between(expanded, skip):
    layer = built(64, 64, expanded=expanded, skip=skip)
    kernel = np.array(layer.kernel)
    if skip:
        kernel[1, 1] -= np.eye(64)
    deviation = (9 * 64) ** -0.5 * (0.1 if skip else 1)
    assert kernel.std() == pytest.approx(deviation, rel=0.05)


def test_the_gradient_reaches_both_kernels(images):
    tf = pytest.importorskip("tensorflow")
    layer = built(expanded=12)
    factors = np.random.default_rng(1).standard_normal((2, 5, 7, 8)).astype("float32")
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(layer(images) * factors)
    of_expand, of_project, of_bias = tape.gradient(loss, layer.trainable_weights)

    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    of_kernel = np.zeros((3, 3, 8, 8))
    for i, j in np.ndindex(3, 3):
        part = padded[:, i : i + 5, j : j + 7]
        of_kernel[i, j] = np.einsum("bhwc,bhwf->cf", part, factors)
    expand, project, _ = layer.get_weights()
    np.testing.assert_allclose(of_expand, of_kernel @ project.T, atol=1e-3)
    expected = np.einsum("ijce,ijcf->ef", expand, of_kernel)
    np.testing.assert_allclose(of_project, expected, atol=1e-3)
    np.testing.assert_allclose(of_bias, factors.sum((0, 1, 2)), atol=1e-3)


@pytest.mark.parametrize(
    "arguments", [{}, {"skip": True}, {"expanded": 5}, {"edges": True}], ids=str
)
def test_contract(check_layer, arguments):
    check_layer(CollapsibleConv2D(8, **arguments), channels=8)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_multiplies_in_float32(dtype):
    layer = built(16, 16, skip=True, dtype=f"mixed_{dtype}")
    expand, project, _ = layer.get_weights()
    product = expand @ project
    product[1, 1] += np.eye(16)
    rounded = ops.convert_to_numpy(ops.cast(layer.kernel, "float32"))
    expected = ops.convert_to_numpy(ops.cast(ops.cast(product, dtype), "float32"))
    np.testing.assert_allclose(rounded, expected, rtol=2**-8)
    impulse = np.zeros((1, 3, 3, 16), "float32")
    assert keras.backend.standardize_dtype(layer(impulse).dtype) == dtype


@pytest.mark.parametrize("given", [{"groups": 2}, {"use_bias": False}], ids=str)
def test_arguments_of_other_convolutions_are_refused(given):
    (name,) = given
    with pytest.raises(ValueError, match=f"does not apply.*Received: {name}="):
        CollapsibleConv2D(8, **given)


def test_errors():
    with pytest.raises(ValueError, match="Received: expanded=0"):
        CollapsibleConv2D(4, expanded=0)
    with pytest.raises(ValueError, match=r"Received: filters=4, input_shape=.*8\)"):
        CollapsibleConv2D(4, skip=True).build((None, None, None, 8))
