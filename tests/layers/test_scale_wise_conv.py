import itertools

import keras
import numpy as np
import pytest

from tfsr.layers import ScaleWiseConv2D, feature_pyramid

VARIANTS = [
    {},
    {"shared": False},
    {"level_kernel_size": 1},
    {"level_kernel_size": 5},
    {"level_kernel_size": 5, "shared": False, "resampling": "average"},
    {"resampling": "average"},
    {"resampling": "conv"},
    {"level_kernel_size": 5, "resampling": "conv"},
    {"kernel_size": 1, "outputs": 2},
    {"outputs": 3, "shared": False},
]


def pyramid(levels, ratio="1/2", size=(8, 16), channels=4):
    """Independent maps of the sizes of a pyramid."""
    rng = np.random.default_rng(0)
    x = np.zeros((2, *size, channels), "float32")
    shapes = [y.shape for y in feature_pyramid(x, levels, ratio)]
    return [rng.standard_normal(shape).astype("float32") for shape in shapes]


def average(x):
    b, h, w, c = x.shape
    return x.reshape(b, h // 2, 2, w // 2, 2, c).mean((2, 4))


def nearest(x):
    return x.repeat(2, axis=1).repeat(2, axis=2)


def bilinear(x, shape, ratio):
    """Resizes to `shape`: output pixel i is at (i + 1/2) / ratio - 1/2."""
    for axis in (1, 2):
        length = x.shape[axis]
        positions = (np.arange(shape[axis]) + 0.5) / ratio - 0.5
        weights = [np.interp(positions, np.arange(length), e) for e in np.eye(length)]
        x = np.moveaxis(np.tensordot(weights, x, (0, axis)), 0, axis)
    return x


def strided(x, conv):
    """A 2x2 convolution of stride 2."""
    kernel = np.asarray(conv.kernel).reshape(2, 2, x.shape[-1], -1)
    taps = itertools.product(range(2), range(2))
    return sum(x[:, i::2, j::2] @ kernel[i, j] for i, j in taps) + conv.bias


def deconvolved(x, conv):
    """A 2x2 deconvolution of stride 2."""
    b, h, w, c = x.shape
    kernel = np.asarray(conv.kernel).reshape(c, 2, 2, -1)
    bias = np.asarray(conv.bias).reshape(2, 2, -1)
    y = np.zeros((b, 2 * h, 2 * w, kernel.shape[-1]))
    for i, j in np.ndindex(2, 2):
        y[:, i::2, j::2] = x @ kernel[:, i, j] + bias[i, j]
    return y


def by_hand(inputs, layer, conv2d, ratio=0.5):
    """The layer's output by the formula of Section 3.1, f_i = h_i q_i p."""
    levels, k = len(inputs), layer.level_kernel_size // 2
    p = [layer.within[0 if layer.shared else s] for s in range(levels)]
    maps = [conv2d(x, conv) for x, conv in zip(inputs, p, strict=True)]

    def f(i, s):
        if not 0 <= s + i < levels:
            return maps[s]
        name = f"{'up' if i > 0 else 'down'}_{abs(i)}"
        name += "" if layer.shared else f"_to_{s}"
        x, steps = maps[s + i], range(s + i, s, -1 if i > 0 else 1)
        if layer.resampling != "conv":
            x = conv2d(x, layer.between[name])
        for step, t in enumerate(steps):
            if layer.resampling == "conv":
                conv = layer.between[f"{name}_{step}"]
                x = deconvolved(x, conv) if i > 0 else strided(x, conv)
            elif layer.resampling == "average":
                x = nearest(x) if i > 0 else average(x)
            elif i > 0:
                x = bilinear(x, maps[t - 1].shape, 1 / ratio)
            else:
                x = bilinear(x, maps[t + 1].shape, ratio)
        return x

    offsets = [i for i in range(-k, k + 1) if i and levels > 1]
    outputs = range(min(layer.outputs or levels, levels))
    return [maps[s] + sum(f(i, s) for i in offsets) for s in outputs]


def assert_by_hand(inputs, layer, conv2d, **pyramid):
    layer.build([x.shape for x in inputs])
    rng = np.random.default_rng(1)
    for weight in layer.weights:
        weight.assign(rng.uniform(-1, 1, weight.shape))
    expected = by_hand(inputs, layer, conv2d, **pyramid)
    ratio = {0.5: "1/2", 2 / 3: "2/3", 3 / 4: "3/4"}[pyramid.get("ratio", 0.5)]
    for ours, theirs in zip(layer(inputs, ratio=ratio), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_equals_the_formula(conv2d, arguments, levels):
    assert_by_hand(pyramid(levels), ScaleWiseConv2D(4, **arguments), conv2d)


@pytest.mark.parametrize("arguments", [{}, {"level_kernel_size": 5}], ids=str)
@pytest.mark.parametrize("size", [(9, 18), (7, 11), (1, 2)])
@pytest.mark.parametrize("ratio", ["2/3", "3/4"])
def test_other_ratios_at_any_size(conv2d, ratio, size, arguments):
    value = {"2/3": 2 / 3, "3/4": 3 / 4}[ratio]
    inputs = pyramid(4, ratio, size)
    assert_by_hand(inputs, ScaleWiseConv2D(4, **arguments), conv2d, ratio=value)


def test_channels_may_change(conv2d):
    assert_by_hand(pyramid(3, channels=2), ScaleWiseConv2D(5), conv2d)


def gradients(layer, inputs, factors):
    tf = pytest.importorskip("tensorflow")
    with tf.GradientTape() as tape:
        outputs = layer(inputs)
        terms = zip(outputs, factors, strict=True)
        loss = sum(tf.reduce_sum(y * f) for y, f in terms)
    return tape.gradient(loss, layer.trainable_weights)


def test_one_kernel_learns_from_all_levels():
    inputs, factors = pyramid(3), pyramid(3)[::-1]
    factors = [np.resize(f, x.shape) for f, x in zip(factors, inputs, strict=True)]
    layer = ScaleWiseConv2D(4, kernel_size=1, level_kernel_size=1)
    of_direction, of_length, of_bias = gradients(layer, inputs, factors)
    assert len(layer.weights) == 3

    direction, length = (w[0, 0] if w.ndim == 4 else w for w in layer.get_weights()[:2])
    pairs = list(zip(inputs, factors, strict=True))
    of_kernel = sum(np.einsum("bhwc,bhwf->cf", x, f) for x, f in pairs)
    norm = np.sqrt((direction**2).sum(0))
    along = (of_kernel * direction).sum(0) / norm
    expected = length / norm * (of_kernel - along * direction / norm)
    np.testing.assert_allclose(of_direction[0, 0], expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(of_length, along, rtol=1e-3, atol=1e-3)
    of_biases = sum(f.sum((0, 1, 2)) for f in factors)
    np.testing.assert_allclose(of_bias, of_biases, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("arguments", [{}, {"resampling": "conv"}], ids=str)
def test_the_shared_gradient_is_the_sum_of_the_levels_own(arguments):
    inputs = pyramid(4)
    factors = [np.roll(x, 1, axis=1) for x in inputs]
    shared = ScaleWiseConv2D(4, **arguments)
    shared.build([x.shape for x in inputs])
    apart = ScaleWiseConv2D(4, shared=False, **arguments)
    apart.build([x.shape for x in inputs])
    twins = {}  # of a shared convolution, the levels' own
    for conv in apart.within:
        twins.setdefault(shared.within[0], []).append(conv)
    for name, conv in apart.between.items():
        pieces = name.split("_to_")
        step = name[-2:] if arguments else ""
        twins.setdefault(shared.between[pieces[0] + step], []).append(conv)
    for conv, own in twins.items():
        for twin in own:
            twin.set_weights(conv.get_weights())
    for x, y in zip(shared(inputs), apart(inputs), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)

    def by_weight(layer):
        found = gradients(layer, inputs, factors)
        weights = layer.trainable_weights
        return {id(w): g for w, g in zip(weights, found, strict=True)}

    of_shared, of_apart = by_weight(shared), by_weight(apart)
    assert sum(len(own) for own in twins.values()) > len(twins)
    for conv, own in twins.items():
        for i, weight in enumerate(conv.weights):
            total = sum(of_apart[id(twin.weights[i])].numpy() for twin in own)
            np.testing.assert_allclose(
                of_shared[id(weight)], total, rtol=1e-3, atol=1e-3
            )


@pytest.mark.parametrize(
    ("arguments", "kernels"),
    [
        ({}, 9 + 2),
        ({"shared": False}, 9 * 3 + 4),
        ({"level_kernel_size": 1}, 9),
        ({"level_kernel_size": 5}, 9 + 4),
        ({"resampling": "conv"}, 9 + 2 * 4),
        ({"outputs": 1}, 9 + 1),
    ],
)
def test_weights(arguments, kernels):
    layer = ScaleWiseConv2D(4, **arguments)
    layer.build([(None, None, None, 4)] * 3)
    kernel_values = sum(np.prod(conv.direction.shape) for conv in convs(layer))
    assert kernel_values == 4 * 4 * kernels


def convs(layer):
    return [*layer.within, *layer.between.values()]


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_contract(check_layer, arguments):
    check_layer(ScaleWiseConv2D(3, **arguments), channels=4, count=3, step=2)


def test_the_ratio_is_saved_with_the_call(tmp_path):
    inputs = [keras.Input((None, None, 4)) for _ in range(3)]
    model = keras.Model(inputs, ScaleWiseConv2D(4)(inputs, ratio="2/3"))
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    maps = pyramid(3, "2/3", (9, 7))
    for ours, theirs in zip(reloaded(maps), model(maps), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"level_kernel_size": 2}, r"must be 1, 3 or 5.*level_kernel_size=2"),
        ({"resampling": "cubic"}, r"must be one of .*Received: resampling=cubic"),
    ],
)
def test_constructor_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        ScaleWiseConv2D(4, **arguments)


@pytest.mark.parametrize("resampling", ["average", "conv"])
def test_strides_are_whole(resampling):
    layer = ScaleWiseConv2D(4, resampling=resampling)
    with pytest.raises(ValueError, match=r'must be "1/2".*Received: ratio=2/3'):
        layer(pyramid(2, "2/3"), ratio="2/3")
