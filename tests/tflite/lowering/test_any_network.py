"""Rules for what users bring: Keras' own layers, in any order."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops

from tfsr.graph.graph import run_node
from tfsr.tflite.lowering.engine import lower
from tfsr.tflite.lowering.rules import FLOAT_RULES, INT8_RULES


def conv(filters, side=3, **options):
    options = {"padding": "same", "bias_initializer": "random_normal", **options}
    return layers.Conv2D(filters, side, **options)


def learned(norm):
    def call(x):
        y = norm(x)
        for weight in norm.weights:
            weight.assign(np.random.default_rng(0).uniform(0.5, 1.5, weight.shape))
        return y

    return call


def lowered(build, rules=INT8_RULES, sides=(7, 6)):
    """Returns the operations of a network after lowering, which must be exact."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, build(inputs))
    graph = lower(model, rules)
    x = np.random.default_rng(0).random((1, *sides, 3), np.float32)
    expected = np.asarray(model(x, training=False))
    (y,) = graph.run([keras.ops.convert_to_tensor(x)], run_node)
    assert np.abs(y - expected).max() <= 2e-6 * max(1, np.abs(expected).max())
    return " ".join(type(node.operation).__name__ for node in graph.nodes)


CONV, TWO = "GroupedConv2D", "GroupedConv2D GroupedConv2D"


@pytest.mark.parametrize(
    ("build", "operations"),
    [
        (lambda x: conv(4)(x), CONV),
        (lambda x: conv(4, use_bias=False)(x), CONV),
        (lambda x: conv(6, groups=3)(x), CONV),
        (lambda x: conv(4, 1, padding="valid")(x), CONV),
        (lambda x: conv(4, dilation_rate=2)(x), "Conv2D"),
        (lambda x: conv(4, 3, strides=2)(x), "Conv2D"),
        (lambda x: layers.Dense(4)(x), CONV),
        (lambda x: conv(4, activation="relu")(x), f"{CONV} Relu"),
        (lambda x: conv(4, activation="tanh")(x), f"{CONV} Tanh"),
        (lambda x: conv(4, activation="silu")(x), f"{CONV} Sigmoid Multiply"),
        (lambda x: layers.Activation("silu")(x), "Sigmoid Multiply"),
        (lambda x: conv(4, activation="hard_sigmoid")(x), f"{CONV} Clip"),
        (lambda x: layers.SeparableConv2D(4, 3)(x), f"DepthwiseConv2D {CONV}"),
        (lambda x: layers.LeakyReLU(negative_slope=0.1)(x), "LeakyRelu"),
        (lambda x: layers.Add()([x, ops.relu(x), x]), "Relu Add Add"),
        (lambda x: layers.Dropout(0.5)(ops.relu(x)), "Relu"),
        (lambda x: ops.minimum(ops.maximum(x - 0.5, -0.1), 0.2), "ChannelShift Clip"),
        (lambda x: ops.maximum(ops.minimum(ops.tanh(x), 1), 0), "Tanh Clip"),
        (lambda x: ops.maximum(ops.tanh(x), 0), "Tanh Relu"),
    ],
)
def test_layers_become_plain(build, operations):
    assert lowered(build).replace("Subtract", "ChannelShift") == operations


class Standardized(layers.Conv2D):
    """Divides its kernel by the kernel's deviation, without Keras' operations."""

    def call(self, x):
        kernel = self.kernel / tf.math.reduce_std(self.kernel)
        return tf.nn.conv2d(x, kernel, 1, "SAME") + self.bias


def test_a_scale_after_a_computation_of_another_kind_stays():
    def build(x):
        return layers.Rescaling(2.0, -0.5)(Standardized(4, 3, padding="same")(x))

    assert lowered(build).startswith("Standardized ")


@pytest.mark.parametrize(
    "build",
    [
        lambda x: conv(4)(x) * 0.2,
        lambda x: 0.5 - conv(4)(x) / 3,
        lambda x: layers.Rescaling(2.0, -0.5)(conv(4)(x)),
        lambda x: layers.Normalization(mean=[1, 0], variance=[2, 1], invert=True)(
            conv(2)(x)
        ),
        lambda x: conv(4, padding="valid")(
            layers.Normalization(mean=0.4, variance=0.1)(x)
        ),
        lambda x: conv(4)(x) * np.float32([1, 2, 3, 4]) + np.float32([0, 1, 2, 3]),
        lambda x: learned(layers.BatchNormalization())(conv(4)(x)),
        lambda x: learned(layers.BatchNormalization(scale=False))(
            conv(4, dilation_rate=2)(x)
        ),
        lambda x: learned(layers.BatchNormalization())(
            layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
        ),
        lambda x: learned(layers.BatchNormalization(center=False))(
            layers.Conv2DTranspose(20, 3, strides=2)(x)
        ),
        lambda x: conv(4, 1)(x * 2.0 - 0.3),
        lambda x: conv(4, padding="valid")(learned(layers.BatchNormalization())(x)),
        lambda x: layers.DepthwiseConv2D(3)(x * np.float32([1, 2, 3]) - 0.3),
        lambda x: conv(6, groups=3)(x * np.float32([1, 2, 3])),
        lambda x: layers.Conv2DTranspose(20, 3, strides=2)(x * np.float32([1, 2, 3])),
    ],
)
def test_scales_and_shifts_go_into_convolutions(build):
    (operation,) = lowered(build).split()
    assert "Conv2D" in operation


def test_scales_and_shifts_go_before_a_shuffle():
    def build(x):
        y = ops.depth_to_space(conv(12)(x), 2)
        return layers.Rescaling(0.5)(y * np.float32([1, 2, 3]) + np.float32([3, 2, 1]))

    assert lowered(build) == f"{CONV} DepthToSpace"


@pytest.mark.parametrize("scale", [2, 3])
def test_bicubic_resizing_is_a_convolution_but_at_the_border(scale):
    lr = keras.Input((16, 16, 3))
    sides = (16 * scale, 16 * scale)
    up = layers.UpSampling2D(scale, interpolation="bicubic")(lr)
    model = keras.Model(lr, up + ops.image.resize(lr, sides, "bicubic"))
    x = np.random.default_rng(0).random((1, 16, 16, 3), np.float32)
    (y,) = lower(model, FLOAT_RULES).run([keras.ops.convert_to_tensor(x)], run_node)
    apart, border = np.abs(y - model(x)), 2 * scale
    assert apart[:, border:-border, border:-border].max() < 3e-3
    assert apart.max() < 0.2


@pytest.mark.parametrize(
    "layer",
    [
        layers.EinsumDense("bhwc,cd->bhwd", (None, None, 8), bias_axes="d"),
        layers.EinsumDense("...c,cd->...d", 8),
        layers.EinsumDense("...c,cd->...d", 8, activation="relu"),
    ],
)
def test_products_with_kernels_are_convolutions(layer):
    assert lowered(layer).split()[0] == CONV


class Scaled(layers.Layer):
    """A stranger's layer with a factor of its own behind its convolution."""

    def __init__(self):
        super().__init__()
        self.conv = conv(3)

    def build(self, shape):
        self.conv.build(shape)
        self.factor = self.add_weight(shape=(3,), initializer="random_normal")

    def call(self, x):
        return self.conv(x) * self.factor


def test_weights_of_a_stranger_s_layer_go_into_the_convolution():
    assert lowered(lambda x: Scaled()(x)) == CONV


def of_windows(attention):
    """Returns a network of attention within 4x4 pixels."""

    def build(x):
        rows = ops.reshape(conv(8, 4, strides=4)(x), (-1, 4, 8))
        return ops.reshape(attention(rows), (-1, 1, 4, 8))

    return build


def products(row):
    weights = ops.softmax(ops.einsum("bnc,bmc->bnm", row, row))
    return ops.einsum("bnm,bmc->bnc", weights, row)


@pytest.mark.parametrize(
    "attention",
    [
        lambda row: layers.MultiHeadAttention(2, 3)(row, row),
        lambda row: layers.MultiHeadAttention(2, 3, dropout=0.1)(row, row),
        lambda row: layers.MultiHeadAttention(2, 3)(query=row, value=row, key=row),
        products,
    ],
)
def test_attention_is_products_of_matrices(attention):
    operations = lowered(of_windows(attention), sides=(8, 8)).split()
    assert operations.count("Matmul") == 2
    known = {"Conv2D", CONV, "Matmul", "Softmax"}
    moves = {"Reshape", "Transpose", "ExpandDims", "Squeeze"}
    assert {*operations} <= known | moves


@pytest.mark.parametrize(
    "options",
    [
        {"use_causal_mask": True},
        {"attention_mask": np.eye(4, k=1, dtype=bool)[None]},  # of the last row nothing
        {"use_causal_mask": True, "attention_mask": np.tri(4, k=-1, dtype=bool)[None]},
    ],
)
def test_a_mask_is_a_selection(options):
    def masked(row):
        return layers.MultiHeadAttention(2, 3)(row, row, **options)

    operations = lowered(of_windows(masked), sides=(8, 8)).split()
    assert operations.count("Matmul") == 2
    assert "Where" in operations


def test_a_computed_mask_is_kept():
    def masked(row):
        seen = ops.einsum("bnc,bmc->bnm", row, row) > 0
        return layers.MultiHeadAttention(2, 3)(row, row, attention_mask=seen)

    assert "DotProductAttention" in lowered(of_windows(masked), sides=(8, 8))


@pytest.mark.parametrize(
    "masked",
    [
        lambda x, mask: layers.Softmax()(x, mask=mask),
        lambda x, mask: layers.Softmax()(x, mask),
    ],
)
def test_a_mask_of_softmax_is_kept(masked):
    def build(x):
        return ops.relu(masked(x, ops.greater(x, 0.5)))

    assert "Softmax" in lowered(build)


@pytest.mark.parametrize("sum", ["bhwc->bwhc", "bhwc,cd"])
def test_einstein_sums_of_other_forms_stay(sum):
    def build(x):
        y = ops.einsum(sum, x, *[np.eye(3, dtype="float32")] * sum.count(","))
        return ops.relu(y)

    assert lowered(build) == "Einsum Relu"


def test_zeros_at_the_border_are_not_shifted():
    def build(x):
        return conv(4)(layers.Rescaling(2.0, -0.5)(ops.relu(x)))

    assert lowered(build, FLOAT_RULES) == f"Relu ChannelShift {CONV}"
    assert lowered(build) == f"Relu DepthwiseConv2D {CONV}"


def test_a_scale_in_front_of_no_convolution_is_one_operation():
    def build(x):
        return ops.relu(learned(layers.BatchNormalization())(ops.relu(x)))

    assert lowered(build) == "Relu DepthwiseConv2D Relu"


def test_what_others_read_is_not_computed_twice():
    def build(x):
        y = conv(4)(x)
        return y + y * 0.2 + conv(4, 1)(y)

    assert lowered(build).split().count(CONV) == 2


@pytest.mark.parametrize(
    ("build", "operations"),
    [
        (lambda x: conv(3, 1)(conv(8)(x)), CONV),
        (lambda x: conv(3, 1)(conv(8, strides=2)(x)), "Conv2D"),
        (lambda x: conv(3, 3)(conv(8, 1, use_bias=False)(x)), CONV),
        (lambda x: conv(3, 3)(conv(8, 1)(x)), TWO),  # zeros at the border have no bias
        (lambda x: conv(32, 1)(conv(1)(x)), TWO),  # together they would be 32 of 3x3
        (lambda x: conv(3, 1)(ops.relu(conv(8, 1)(x))), f"{CONV} Relu {CONV}"),
    ],
)
def test_pointwise_convolutions_join_their_neighbours(build, operations):
    assert lowered(build) == operations


@pytest.mark.parametrize(
    "build",
    [
        lambda x: ops.tile(x, (1, 1, 1, 4)),
        lambda x: ops.repeat(x, 4, axis=-1),
        lambda x: ops.concatenate([x] * 4, axis=-1),
        lambda x: layers.Concatenate()([x] * 4),
    ],
)
def test_copies_of_channels_are_a_convolution(build):
    assert lowered(build) == CONV


@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize(
    ("side", "stride", "filters"),
    [(9, 3, 3), (2, 2, 32), (4, 2, 3), (3, 2, 3), (5, 2, 3), (2, 3, 3), (8, 4, 3)],
)
def test_transposed_convolutions_are_shuffled(side, stride, filters, padding):
    def build(x):
        return layers.Conv2DTranspose(
            filters, side, stride, padding, bias_initializer="random_normal"
        )(x)

    shuffled = padding == "same" or side <= stride
    expected = f"{CONV} DepthToSpace" if shuffled else "Conv2DTranspose"
    assert lowered(build, FLOAT_RULES) == expected


def test_transposed_convolutions_of_many_filters_stay():
    for side in (3, 4):
        build = layers.Conv2DTranspose(32, side, strides=2, padding="same")
        assert lowered(build) == "Conv2DTranspose"


def test_channels_that_nothing_reads_are_not_computed():
    assert lowered(lambda x: conv(8)(x)[..., 2:5]) == CONV
    assert lowered(lambda x: conv(8)(x)[:, 1:, :, :5]) == f"{CONV} GetItem"

    def split(x):
        y = conv(8)(x)
        return y[..., :4] + y[..., 4:]

    assert lowered(split) == f"{CONV} GetItem GetItem Add"


@pytest.mark.parametrize(("sections", "slices"), [(2, 2), ((1, 5), 3)])
def test_splits_of_channels_are_slices(sections, slices):
    def joined(x):
        parts = keras.ops.split(keras.ops.relu(conv(8)(x)), sections, axis=-1)
        return keras.ops.concatenate(parts[::-1], axis=-1)

    expected = " ".join([CONV, "Relu", *["GetItem"] * slices])
    assert lowered(joined, FLOAT_RULES).startswith(f"{expected} Concat")
    assert lowered(joined).startswith(f"{expected} Concat")


def test_slopes_are_two_relus_in_8_bits():
    def prelu(channels):
        start = keras.initializers.RandomUniform(-0.1, 0.3)
        return lambda x: conv(4)(
            layers.PReLU(shared_axes=[1, 2], alpha_initializer=start)(
                conv(channels)(x - 128 / 255)
            )
        )

    assert lowered(prelu(8)).endswith(f"{CONV} Relu {CONV}")
    assert lowered(prelu(8), FLOAT_RULES).endswith(f"{CONV} PReLU {CONV}")
    assert lowered(prelu(65)).endswith(f"{CONV} PReLU {CONV}")
