from functools import partial

import keras
import numpy as np
import pytest

from tfsr.graph.graph import inline
from tfsr.layers import GroupedConv2D
from tfsr.models import carn_m, ffdnet, sesr, single_scale
from tfsr.tflite.lowering.engine import last_convolution, lower
from tfsr.tflite.lowering.rules import INT8_RULES
from tfsr.tflite.quantization.integers import run_integers
from tfsr.tflite.quantization.mixed_precision import node_names
from tfsr.tflite.quantization.observers import (
    Samples,
    least_squares,
    min_max,
    observe,
    percentile,
)
from tfsr.tflite.quantization.range_choice import WHOLE_LEVELS, choose_ranges

CENTER = -110 / 255  # the mean of `RGB_MEAN` in whole steps


@pytest.fixture(scope="module")
def observed():
    model = single_scale(carn_m(scale=(2, 4), filters=8, blocks=1), 2)
    graph = lower(model, INT8_RULES)
    rng = np.random.default_rng(3)
    patches = [rng.random((9, 7, 3), np.float32), 3 * rng.random((5, 8, 3), np.float32)]
    return graph, observe(graph, patches), patches


def test_samples_hold_the_extremes(observed):
    _, samples, patches = observed
    shifted = [patch + CENTER for patch in patches]
    assert samples.values[0].min() == pytest.approx(min(x.min() for x in shifted))
    assert samples.values[0].max() == pytest.approx(max(x.max() for x in shifted))


def test_input_and_output_have_the_ranges_of_pixels(observed):
    graph, samples, _ = observed
    ranges = choose_ranges(graph, samples)
    assert ranges[0] == (CENTER, 1 + CENTER)
    tail = last_convolution(graph)
    calls = [i for i, node in enumerate(graph.nodes) if node.operation is tail]
    assert {ranges[i] for i in calls} == {(0, 1)}
    assert len(graph.nodes) - 1 not in ranges  # what follows only moves


@pytest.mark.parametrize(
    ("residual", "expected"),
    [(0.1, WHOLE_LEVELS), (0.45, WHOLE_LEVELS), (-0.9, (-0.9, 0))],
)
@pytest.mark.parametrize(
    "model",
    [
        partial(sesr, filters=8, blocks=1),
        partial(ffdnet, filters=8, blocks=1, colors=4, color_blocks=1),
    ],
)
def test_what_is_added_to_pixels_has_their_steps(model, residual, expected):
    graph = lower(model(), INT8_RULES)
    patch = np.random.default_rng(0).random((8, 8, 3), np.float32)
    samples = observe(graph, [patch])
    (added,) = [i for i, n in node_names(graph).items() if n == "Repeat.add"]
    samples.values[added] = np.full(9, residual)
    ranges = choose_ranges(graph, samples, min_max)
    assert ranges[added] == pytest.approx(expected)
    others = [i for i, bounds in ranges.items() if bounds == WHOLE_LEVELS]
    assert {*others} <= {added}
    finely = choose_ranges(graph, samples, min_max, bits=16)
    assert finely[added] == (min(0, residual), max(0, residual))


def test_pixels_and_what_is_added_are_rounded_once():
    inputs = keras.Input((None, None, 3))
    conv = GroupedConv2D(3, 1, use_bias=False)
    graph = inline(keras.Model(inputs, conv(inputs) + inputs))
    conv.set_weights([-np.eye(3)[None, None] / 3])
    levels = np.arange(256, dtype=np.uint8)
    pixels = np.broadcast_to(levels[None, :, None, None], (1, 256, 1, 3))
    samples = observe(graph, [pixels[0] / np.float32(255)])
    ranges = choose_ranges(graph, samples)
    expected = pixels - np.rint(pixels / 3)
    np.testing.assert_array_equal(run_integers(graph, ranges, pixels), expected)


def test_concatenated_tensors_share_a_range(observed):
    graph, samples, _ = observed
    ranges = choose_ranges(graph, samples, min_max)
    producer = {id(x): i for i, n in enumerate(graph.nodes) for x in n.outputs}
    shared = 0
    for node in graph.nodes:
        if type(node.operation).__name__ == "Concatenate":
            sources = {producer[id(x)] for x in node.input_tensors} & set(ranges)
            assert len({ranges[i] for i in sources}) <= 1
            shared += len(sources) > 1
    assert shared


def test_a_convolution_before_a_relu_has_no_range_of_its_own(observed):
    graph, samples, _ = observed
    ranges = choose_ranges(graph, samples)
    for node in graph.nodes:
        if type(node.operation).__name__ == "Relu":
            source = node.input_tensors[0]._keras_history
            before = source.operation._inbound_nodes[source.node_index]
            assert graph.nodes.index(before) not in ranges
            assert ranges[graph.nodes.index(node)][0] <= 0


def test_what_is_divided_by_near_0_has_no_range():
    lr = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(lr)
    little, much = (keras.ops.abs(x) + more for more in (1e-3, 1.0))
    y = keras.layers.Conv2D(3, 1)(x / little + x / much)
    graph = lower(keras.Model(lr, y), INT8_RULES)
    patch = np.random.default_rng(0).random((9, 7, 3), np.float32)
    ranges = choose_ranges(graph, observe(graph, [patch]))
    kinds = [type(node.operation).__name__ for node in graph.nodes]
    without = [kind for i, kind in enumerate(kinds) if i not in ranges]
    assert without == ["Absolute", "DepthwiseConv2D"]
    assert kinds.count("DepthwiseConv2D") == 2


def test_zeros_alone_have_a_range(observed):
    graph, samples, _ = observed
    zeros = {i: np.zeros_like(values) for i, values in samples.values.items()}
    samples = Samples(zeros, samples.influence)
    for choose in (
        min_max,
        percentile,
        least_squares,
    ):
        ranges = choose_ranges(graph, samples, choose)
        assert all(low < high for low, high in ranges.values())


def test_a_shared_range_is_that_of_what_the_output_depends_on():
    """Large values that a convolution hardly reads are clipped for small ones."""
    keras.utils.set_random_seed(0)
    lr = keras.Input((None, None, 3))
    parts = [keras.layers.Conv2D(4, 1, use_bias=False)(lr) for _ in range(2)]
    sr = keras.layers.Conv2D(3, 1)(keras.ops.concatenate(parts, axis=-1))
    model = keras.Model(lr, sr)
    _, large, conv = (x for x in model.layers if x.weights)
    large.kernel.assign(4 * large.kernel)
    patch = np.random.default_rng(0).random((16, 16, 3), np.float32)
    widths = []
    for share in (0.5, 1e-4):
        kernel = np.ones((1, 1, 8, 3), np.float32) / 8
        kernel[:, :, 4:] *= share
        conv.set_weights([kernel, np.zeros(3, np.float32)])
        graph = lower(model, INT8_RULES)
        samples = observe(graph, [patch])
        quiet, loud = sorted(samples.influence, key=lambda i: samples.values[i].std())
        assert samples.influence[quiet] == 1
        assert samples.influence[loud] == pytest.approx(max(share**2, 1e-5), rel=0.3)
        low, high = choose_ranges(graph, samples)[loud]
        widths.append(high - low)
    whole, narrow = widths
    assert narrow < whole / 2
