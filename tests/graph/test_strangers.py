import keras
import numpy as np
import pytest
from keras import layers, ops

from strangers import STRANGERS
from tfsr.graph import operations as op
from tfsr.graph.complexity import mult_adds, mult_adds_720p, uncounted
from tfsr.graph.footprint import alignment, far_seeing, receptive_radius
from tfsr.models import scales

SIDE = 32


@pytest.mark.parametrize("name", STRANGERS)
def test_mult_adds_are_those_counted_by_hand(name):
    build, scale, per_pixel = STRANGERS[name]
    model = build()
    assert scales(model) == (scale,)
    of_gate = 128 if name == "imdn" else 0  # once an image
    assert mult_adds(model, SIDE, SIDE) == per_pixel * SIDE**2 + of_gate
    assert not uncounted(model, SIDE, SIDE)


def seen(model, at, side):
    """Returns how far the LR pixels lie that change what becomes of the one at `at`.

    On each side, of any of several images; `at` and `side` in LR pixels.
    """
    scale = scales(model)[0]
    rng = np.random.default_rng(0)
    farthest = 0
    for spread in (0.05, 1.0, 4.0):
        image = rng.normal(0.5, spread, (1, side, side, 3)).astype("float32")
        rows = np.repeat(image, side, axis=0)
        rows[np.arange(side), np.arange(side)] += rng.normal(0, 1, (side, side, 3))
        middle = slice(at * scale, (at + 1) * scale)
        before, after = (np.asarray(model(x))[:, middle, middle] for x in (image, rows))
        difference = np.abs(after - before).max(axis=(1, 2, 3))
        # Batches of other sizes are rounded in another order.
        changed = np.flatnonzero(difference > 1e-5 * np.abs(before).max())
        farthest = max(farthest, *np.abs(changed - at))
    return farthest


@pytest.mark.parametrize("name", [n for n in STRANGERS if n != "imdn"])
def test_the_radius_is_never_too_small(name):
    model = STRANGERS[name][0]()
    radius, step = receptive_radius(model), alignment(model)
    side = -(-(2 * radius + 9) // step) * step
    measured = max(seen(model, side // 2 + i, side) for i in range(step))
    assert measured <= radius <= measured + 2 * step


def test_attention_of_the_whole_image_has_no_radius():
    model = STRANGERS["imdn"][0]()
    assert receptive_radius(model) is None
    std, pooling = sorted(far_seeing(model), reverse=True)
    assert std.startswith("std")
    assert pooling.startswith("global_average_pooling2d")


def test_dilation_counts():
    x = lr = keras.Input((None, None, 3))
    for _ in range(2):
        x = layers.Conv2D(3, 3, padding="same", dilation_rate=4)(x)
    assert receptive_radius(keras.Model(lr, x)) == 8


def test_operations_called_by_keyword():
    lr = keras.Input((None, None, 3))
    x = op.Conv(1, "same")(kernel=np.zeros((5, 5, 3, 8), "float32"), inputs=lr)
    assert receptive_radius(keras.Model(lr, x)) == 2
    x = op.Matmul()(x2=np.zeros((8, 3), "float32"), x1=x)
    assert mult_adds(keras.Model(lr, x), 9, 7) == 63 * (25 * 3 * 8 + 8 * 3)


def test_depthwise_and_pointwise_are_counted_apart():
    lr = keras.Input((None, None, 3))
    x = layers.DepthwiseConv2D(9, padding="same")(lr)
    x = layers.Conv2D(12, 1)(x)
    model = keras.Model(lr, x)
    assert mult_adds(model, 10, 10) == 100 * (243 + 36)
    separable = layers.SeparableConv2D(12, 9, padding="same")(lr)
    assert mult_adds(keras.Model(lr, separable), 10, 10) == 100 * (243 + 36)


@keras.saving.register_keras_serializable(package="tests")
class Composed(layers.Layer):
    """A convolution of a kernel that is made of two."""

    def build(self, input_shape):
        self.a = self.add_weight(shape=(27, 8), initializer="he_normal")
        self.b = self.add_weight(shape=(8, 12), initializer="he_normal")

    def call(self, inputs):
        kernel = ops.reshape(ops.matmul(self.a, self.b), (3, 3, 3, 12))
        return ops.conv(inputs, kernel, padding="same")


@keras.saving.register_keras_serializable(package="tests")
class Net(keras.Model):
    """A subclassed model with a layer of weights of its own, and one of blocks."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.body = keras.Sequential([layers.Conv2D(3, 5, padding="same")])
        self.composed = Composed()

    def call(self, inputs):
        return ops.depth_to_space(self.composed(ops.gelu(self.body(inputs))), 2)


def test_what_no_table_knows_is_opened_or_probed():
    lr = keras.Input((None, None, 3))
    model = keras.Model(lr, Net()(lr))
    assert receptive_radius(model) == 2 + 1
    assert uncounted(model, 10, 10) == []
    assert mult_adds(model, 10, 10) == 100 * (25 * 9 + 27 * 12)


class Windows(layers.Layer):
    """Mixes the pixels of each window of so many, as windowed attention does."""

    def __init__(self, side):
        super().__init__()
        self.side = side

    def call(self, inputs):
        blocks = ops.space_to_depth(inputs, self.side)
        mixed = blocks + ops.mean(blocks, axis=-1, keepdims=True)
        return ops.depth_to_space(mixed, self.side)


class Places(layers.Layer):
    """Adds where a pixel lies, whatever the size."""

    def call(self, inputs):
        height = ops.shape(inputs)[1]
        return inputs + ops.reshape(ops.cumsum(ops.ones(height)), (1, -1, 1, 1))


class WeightStandardized(layers.Conv2D):
    """Computes with another kernel than the one it has."""

    def convolution_op(self, inputs, kernel):
        return super().convolution_op(inputs, kernel - ops.mean(kernel))


class Two(layers.Layer):
    """Gives a map and a blurred one."""

    def call(self, inputs):
        return inputs, ops.average_pool(inputs, 5, 1, "same")


def test_of_several_outputs_that_which_is_read_counts():
    lr = keras.Input((None, None, 3))
    same, blurred = Two()(lr)
    assert receptive_radius(keras.Model(lr, blurred)) == 2
    assert receptive_radius(keras.Model(lr, same)) == 0


def test_a_corner_that_meets_every_pixel_has_no_radius():
    lr = keras.Input((None, None, 3))
    assert receptive_radius(keras.Model(lr, lr * lr[:, -1:, -1:])) is None
    assert receptive_radius(keras.Model(lr, lr * lr[:, :1, :1])) is None
    assert receptive_radius(keras.Model(lr, lr * np.ones((1, 1, 3), "float32"))) == 0


@pytest.mark.parametrize(
    ("layer", "radius"),
    [
        (layers.Lambda(lambda x: ops.max_pool(x, 5, 1, "same")), 2),
        (layers.Lambda(lambda x: ops.clip(x, 0.45, 0.46)), 0),
        (layers.Lambda(lambda x: x - ops.mean(x, axis=(1, 2), keepdims=True)), None),
        (layers.Lambda(lambda x: ops.flip(x, axis=1)), None),
        (layers.Lambda(lambda x: ops.roll(x, 3, axis=2)), None),
        (layers.GroupNormalization(1), None),
        (Windows(4), 3),
        (Places(), None),
        (WeightStandardized(3, 3, padding="same"), 1),
        (layers.LayerNormalization(), 0),
        (layers.PReLU(shared_axes=[1, 2]), 0),
        (layers.Conv2D(3, 3, padding="same", activation=lambda x: ops.tanh(x)), 1),
    ],
)
def test_operations_alone(layer, radius):
    lr = keras.Input((None, None, 3))
    assert receptive_radius(keras.Model(lr, layer(lr))) == radius


def test_constants_of_a_place_have_no_radius():
    lr = keras.Input((16, 16, 3))
    places = np.random.default_rng(0).random((1, 16, 16, 3), np.float32)
    assert receptive_radius(keras.Model(lr, lr + places)) is None


def attention():
    """Every pixel looks at every other, x2."""
    lr = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 1)(lr)
    weights = ops.einsum("bhwc,byxc->bhwyx", x, x)
    x = ops.einsum("bhwyx,byxc->bhwc", weights, x)
    return keras.Model(lr, ops.depth_to_space(layers.Conv2D(12, 1)(x), 2))


def test_attention_is_counted_at_the_size_of_lr():
    pixels = 360 * 640
    assert mult_adds_720p(attention(), 2) == pixels * (24 + 96 + 16 * pixels)


def test_products_that_no_table_knows_are_named():
    lr = keras.Input((None, None, 3))
    product = ops.tensordot(lr, ops.ones((3, 3)), axes=1)
    cross = ops.cross(lr, product)
    assert uncounted(keras.Model(lr, cross), 8, 8) == [
        cross._keras_history.operation.name
    ]
