import keras
import numpy as np
import pytest
from keras import layers, ops

from tfsr.graph.graph import run_node
from tfsr.graph.operators import SUMS, is_convolution
from tfsr.layers import GroupedConv2D
from tfsr.models import scn
from tfsr.tflite.lowering.engine import lower, weights_of
from tfsr.tflite.lowering.rules import INT8_RULES
from tfsr.tflite.quantization import equalization
from tfsr.tflite.quantization.aware import quantization_aware, strip_fake_quantization
from tfsr.tflite.quantization.constraints import is_of_pixels
from tfsr.tflite.quantization.observers import batches, observe
from tfsr.tflite.quantization.range_choice import choose_ranges
from tfsr.tflite.quantization.simulation import simulate


@pytest.fixture(scope="module")
def patches():
    rng = np.random.default_rng(0)
    return list(rng.random((4, 16, 16, 1), np.float32))


@pytest.fixture(scope="module")
def graph():
    """A lowered SCN of two levels."""
    keras.utils.set_random_seed(0)
    model = scn(1, levels=2, filters=4, blocks=2, channels=1, gains="authors")
    return lower(model, INT8_RULES)


@pytest.fixture(scope="module")
def merged(graph):
    return equalization.as_convolutions(graph)


@pytest.fixture(scope="module")
def scaled(merged, patches):
    return equalization.rescaled(merged, equalization.channel_scales(merged, patches))


def output(graph, patches, call=run_node):
    (batch,) = batches(patches)
    return np.asarray(graph.run([batch], call)[0])


def additions(graph):
    return [node for node in graph.nodes if isinstance(node.operation, SUMS)]


def is_sum(node):
    return node.operation.name.startswith("sum_")


def test_sums_are_convolutions(graph, merged, patches):
    np.testing.assert_allclose(
        output(merged, patches), output(graph, patches), atol=1e-5
    )
    assert len(additions(graph)) > 6
    assert len(additions(merged)) == 1  # of the pixels
    kernels = [weights_of(n.operation)[0] for n in merged.nodes if is_sum(n)]
    # An end of the pyramid adds its residual twice, for the neighbour that it lacks.
    assert all({*np.unique(kernel)} == {0, 1, 2} for kernel in kernels)
    assert all((kernel.sum(axis=2) == 4).all() for kernel in kernels)


def test_channels_are_scaled_alike(graph, scaled, patches):
    np.testing.assert_allclose(
        output(scaled, patches), output(graph, patches), atol=1e-5
    )
    seen = []

    def call(node, *args, **kwargs):
        outputs = node.operation(*args, **kwargs)
        if is_sum(node):
            seen.append(np.abs(outputs).max(axis=(0, 1, 2)))
        return outputs

    output(scaled, patches, call)
    for magnitudes in seen:
        assert magnitudes.max() < 3 * magnitudes.min()


def test_layers_that_levels_share_stay_shared(graph, scaled):
    def kernels(graph):
        convs = [
            n for n in graph.nodes if is_convolution(n.operation) and not is_sum(n)
        ]
        return {weights_of(node.operation)[0].tobytes() for node in convs}

    assert len(kernels(scaled)) == len(kernels(graph))


def test_less_is_lost(graph, scaled, patches):
    exact = output(graph, patches)
    errors = []
    for g in (graph, scaled):
        ranges = choose_ranges(g, observe(g, patches))
        ranges = {i: b for i, b in ranges.items() if not is_of_pixels(b)}
        rounded = simulate(g, ranges, kernels=lambda conv: False)
        errors.append(np.mean((output(g, patches, rounded) - exact) ** 2))
    assert errors[1] < 0.75 * errors[0]


def test_a_network_is_trained_with_them(patches):
    model = scn(1, levels=2, filters=4, blocks=1, channels=1)
    aware = quantization_aware(model, patches, fine_sums=True)
    graph, ranges = strip_fake_quantization(aware)
    assert len(additions(graph)) == 1
    assert any(is_sum(node) for node in graph.nodes)
    assert {i for i, n in enumerate(graph.nodes) if is_sum(n)} <= ranges.keys()


def test_convolutions_of_pixels_and_features_are_one(patches):
    keras.utils.set_random_seed(0)
    before = lower(scn(2, levels=2, filters=4, blocks=1), INT8_RULES)
    rgb = [np.repeat(patch, 3, axis=-1) for patch in patches]
    merged = equalization.as_convolutions(before)
    factors = equalization.channel_scales(merged, rgb)
    scaled = equalization.rescaled(merged, factors)
    np.testing.assert_allclose(output(scaled, rgb), output(before, rgb), atol=1e-5)
    assert not additions(scaled)
    *_, features, last = filter(is_sum, scaled.nodes)
    kernel = weights_of(last.operation)[0]
    assert kernel.shape == (5, 5, 4 + 3, 12)
    # The features have the range of the pixels that they are concatenated with.
    ranges = choose_ranges(scaled, observe(scaled, rgb))
    low, high = ranges[scaled.nodes.index(features)]
    assert low == pytest.approx(-0.5, abs=0.01)
    assert high - low == 1


def lowered(body):
    x = keras.Input((None, None, 3))
    return lower(keras.Model(x, body(x)), INT8_RULES)


def conv(filters=3):
    return GroupedConv2D(filters, 3)


def test_sums_that_others_read_stay():
    def body(x):
        y = conv(4)(x)
        return conv()(ops.sigmoid(ops.add(y, conv(4)(y))))

    for graph in (lowered(body), lowered(lambda x: ops.add(x, conv()(x)))):
        assert len(additions(equalization.as_convolutions(graph))) == 1


def test_parts_of_a_split_stay(patches):
    def body(x):
        _, y = ops.split(conv(4)(x), 2, axis=1)
        return conv()(ops.relu(conv(4)(y)))

    graph = lowered(body)
    rgb = [np.repeat(patch, 3, axis=-1) for patch in patches]
    scales = equalization.channel_scales(graph, rgb)
    *_, of_part, last = (scales[i] for i in sorted(scales))
    np.testing.assert_array_equal(of_part[0], np.ones(4))
    assert (last[0] != 1).all()
    np.testing.assert_allclose(
        output(equalization.rescaled(graph, scales), rgb), output(graph, rgb), atol=1e-6
    )


def test_channels_keep_their_scale_through_what_moves_them(patches):
    def body(x):
        y, z = (layers.MaxPooling2D(2)(ops.relu(conv(4)(x))) for _ in range(2))
        y = ops.concatenate([y, z], axis=-1)
        return conv()(ops.tanh(conv(4)(conv(4)(y))))

    graph = lowered(body)
    rgb = [np.repeat(patch, 3, axis=-1) for patch in patches]
    scales = equalization.channel_scales(graph, rgb)
    other, first, second, third, last = (scales[i] for i in sorted(scales))
    np.testing.assert_array_equal(second[0], [*first[1], *other[1]])
    np.testing.assert_array_equal(third[0], second[1])
    assert (first[1] != 1).all()
    assert (second[1] != 1).all()
    for fixed in (first[0], third[1], *last):
        np.testing.assert_array_equal(fixed, 1)
    np.testing.assert_allclose(
        output(equalization.rescaled(graph, scales), rgb), output(graph, rgb), atol=1e-6
    )
