import keras
import numpy as np
import pytest

from tfsr.layers import GroupedConv2D, MultiScaleConv2D

VARIANTS = [
    {},
    {"intra": "shared", "path_kernel_size": 1},
    {"intra": "identity"},
    {"intra": ("identity", "own", "shared"), "paths": "none"},
    {"paths": "none"},
    {"paths": "high_to_low"},
    {"paths": "low_to_high"},
    {"paths": "neighbours", "down": "max", "up_first": True},
    {"kernel_size": 1, "path_kernel_size": 3},
    {"kernel_size": 5, "intra": "shared"},
    {"down": "nearest", "up": "bilinear"},
    {"down": "max", "down_first": False},
    {"down": "nearest", "down_first": False, "up": "bilinear", "up_first": True},
    {"down_first": False, "up_first": True, "path_kernel_size": 1},
]


def pyramid(levels, size=(8, 16), channels=4, batch=2):
    rng = np.random.default_rng(0)
    h, w = size
    shapes = [(batch, h >> i, w >> i, channels) for i in range(levels)]
    return [rng.standard_normal(shape).astype("float32") for shape in shapes]


def average(x, f):
    b, h, w, c = x.shape
    return x.reshape(b, h // f, f, w // f, f, c).mean((2, 4))


def largest(x, f):
    b, h, w, c = x.shape
    return x.reshape(b, h // f, f, w // f, f, c).max((2, 4))


def nearest(x, f):
    return x.repeat(f, axis=1).repeat(f, axis=2)


def bilinear(x, f):
    """Pixel p is at (p + 1/2) / f - 1/2 of the smaller map, whose border goes on."""

    def weights(length):
        positions = (np.arange(length * f) + 0.5) / f - 0.5
        columns = [np.interp(positions, np.arange(length), e) for e in np.eye(length)]
        return np.stack(columns, axis=1)

    _, h, w, _ = x.shape
    return np.einsum("yh,xw,bhwc->byxc", weights(h), weights(w), x)


def equation_1(inputs, layer, conv2d):
    """The layer's output, from its arguments and weights."""
    convs = {conv.name: conv for conv in layer.convs}
    levels = range(len(layer.filters))
    intra = (layer.intra,) * 4 if isinstance(layer.intra, str) else layer.intra
    down = {"average": average, "max": largest, "nearest": lambda x, f: x[:, ::f, ::f]}
    up = {"nearest": nearest, "bilinear": bilinear}
    paths = {
        "none": lambda i, j: False,
        "both": lambda i, j: True,
        "high_to_low": lambda i, j: i < j,
        "low_to_high": lambda i, j: i > j,
        "neighbours": lambda i, j: abs(i - j) == 1,
    }

    def f(i, j, x):
        if i == j:
            if intra[i] == "identity":
                return x
            return conv2d(x, convs["conv" if intra[i] == "shared" else f"conv_{i}_{j}"])
        if not paths[layer.paths](i, j):
            return 0
        conv = convs[f"conv_{i}_{j}"]
        resample, first = down[layer.down], layer.down_first
        if i > j:
            resample, first = up[layer.up], layer.up_first
        if first:
            return conv2d(resample(x, 2 ** abs(i - j)), conv)
        return resample(conv2d(x, conv), 2 ** abs(i - j))

    return [sum(f(i, j, x) for i, x in enumerate(inputs)) for j in levels]


@pytest.mark.parametrize("levels", [1, 2, 3, 4])
@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_equals_equation_1(conv2d, arguments, levels):
    intra = arguments.get("intra", "own")
    if not isinstance(intra, str):
        arguments = {**arguments, "intra": (*intra, "own")[:levels]}
    inputs = pyramid(levels)
    layer = MultiScaleConv2D((4,) * levels, **arguments)
    outputs = layer(inputs)
    for ours, theirs in zip(outputs, equation_1(inputs, layer, conv2d), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_levels_may_differ_in_channels(conv2d):
    inputs = [x[..., :c] for x, c in zip(pyramid(3), (4, 1, 2), strict=True)]
    layer = MultiScaleConv2D((2, 5, 3))
    outputs = layer(inputs)
    assert [y.shape[-1] for y in outputs] == [2, 5, 3]
    for ours, theirs in zip(outputs, equation_1(inputs, layer, conv2d), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


@pytest.mark.parametrize(("inputs", "outputs"), [(1, 3), (3, 1), (2, 4)])
def test_splits_and_aggregates(conv2d, inputs, outputs):
    maps = pyramid(inputs)
    layer = MultiScaleConv2D((3,) * outputs)
    for ours, theirs in zip(layer(maps), equation_1(maps, layer, conv2d), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_one_level_is_an_ordinary_convolution():
    (x,) = pyramid(1)
    layer = MultiScaleConv2D((6,))
    (y,) = layer([x])
    conv = GroupedConv2D(6, 3)
    conv.build(x.shape)
    conv.set_weights(layer.get_weights())
    np.testing.assert_array_equal(y, conv(x))


def test_the_identity_is_a_convolution_where_channels_differ(conv2d):
    inputs = pyramid(2)
    layer = MultiScaleConv2D((4, 6), intra="identity", paths="none")
    y = layer(inputs)
    np.testing.assert_array_equal(y[0], inputs[0])
    np.testing.assert_allclose(y[1], conv2d(inputs[1], layer.convs[0]), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "kernels"),
    [
        ({}, 9 * 9),  # 3x3 within three levels and along six paths
        ({"intra": "shared"}, 9 * 7),
        ({"intra": "shared", "path_kernel_size": 1}, 9 + 6),
        ({"intra": "identity", "paths": "none"}, 0),
        ({"paths": "high_to_low"}, 9 * 6),
        ({"paths": "neighbours"}, 9 * 7),
    ],
)
def test_weights(arguments, kernels):
    layer = MultiScaleConv2D((4,) * 3, **arguments)
    layer.build([(None, None, None, 4)] * 3)
    biases = 4 * len(layer.convs)
    assert layer.count_params() == 4 * 4 * kernels + biases


@pytest.fixture
def float64():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float64")
    yield
    keras.config.set_dtype_policy(before)


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_gradients_are_finite_differences(float64, arguments):
    tf = pytest.importorskip("tensorflow")
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    inputs = [tf.Variable(x, dtype=tf.float64) for x in pyramid(3, (4, 8), batch=1)]
    factors = [rng.standard_normal(x.shape) for x in inputs]
    layer = MultiScaleConv2D((4,) * 3, **arguments)

    def loss():
        outputs = layer([tf.convert_to_tensor(x) for x in inputs])
        return sum(tf.reduce_sum(y * f) for y, f in zip(outputs, factors, strict=True))

    loss()  # builds
    variables = [*inputs, *(w.value for w in layer.trainable_weights)]
    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, variables)
    traced = tf.function(loss)
    # Each gradient is measured along a direction of its own. TensorFlow's bilinear
    # resizing is in float32 and wants a large step, a maximum wants a small one.
    size, rtol = (1e-2, 1e-3) if layer.up == "bilinear" else (1e-6, 1e-6)
    for variable, gradient in zip(variables, gradients, strict=True):
        start, step = variable.numpy(), size * rng.standard_normal(variable.shape)
        sides = []
        for sign in (1, -1):
            variable.assign(start + sign * step)
            sides.append(float(traced()))
        variable.assign(start)
        slope = float(tf.reduce_sum(gradient * step))
        np.testing.assert_allclose(slope, (sides[0] - sides[1]) / 2, rtol=rtol)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"filters": ()}, r"for each of 1 to 4 levels\. Received: filters=\(\)"),
        ({"filters": (4,) * 5}, r"for each of 1 to 4 levels"),
        ({"filters": (0, 4)}, r"positive number .*Received: filters=\(0, 4\)"),
        ({"filters": 8}, r"Received: filters=8"),
        ({"filters": (4, 6), "intra": "shared"}, r"must be the same.*\(4, 6\)"),
        ({"intra": "dense"}, r"`intra` must be one of.*Received: intra=dense"),
        ({"intra": ("own",)}, r"`intra` must be one of.*Received: intra=\('own',\)"),
        ({"paths": "up"}, r"`paths` must be one of.*Received: paths=up"),
        ({"down": "median"}, r"`down` must be one of.*Received: down=median"),
        ({"up": "bicubic"}, r"`up` must be one of.*Received: up=bicubic"),
    ],
)
def test_constructor_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        MultiScaleConv2D(**{"filters": (4, 4), **arguments})


def test_levels_share_their_convolution_only_with_equal_channels():
    layer = MultiScaleConv2D((4, 4), intra="shared")
    with pytest.raises(ValueError, match="must have the same channels"):
        layer.build([(None, None, None, 4), (None, None, None, 6)])


def test_every_level_needs_a_path():
    layer = MultiScaleConv2D((4, 4), paths="low_to_high")
    with pytest.raises(ValueError, match=r"paths=low_to_high.* 1 inputs"):
        layer.build([(None, None, None, 4)])


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_contract(check_layer, arguments):
    layer = MultiScaleConv2D((4,) * 3, **arguments)
    check_layer(layer, channels=4, count=3, step=2)


@pytest.mark.parametrize(
    ("arguments", "fan_in"),
    [({}, 2 * 9 * 64), ({"intra": "shared", "path_kernel_size": 1}, 10 * 64)],
    ids=str,
)
def test_a_sum_starts_as_one_convolution(arguments, fan_in):
    keras.utils.set_random_seed(0)
    layer = MultiScaleConv2D((64, 64), **arguments)
    layer.build([(None, None, None, 64)] * 2)
    limit = fan_in**-0.5
    for conv in layer.convs:
        kernel, bias = (np.abs(w).max() for w in conv.get_weights())
        assert 0.97 * limit < kernel <= limit
        assert bias == 0


def test_other_initial_values():
    layer = MultiScaleConv2D((4, 4), initializer="ones")
    layer.build([(None, None, None, 3)] * 2)
    for conv in layer.convs:
        kernel, bias = conv.get_weights()
        assert (kernel == 1).all()
        assert not bias.any()
