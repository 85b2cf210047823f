import keras
import numpy as np
import pytest

from tfsr.graph import inline, run_node
from tfsr.models import carn, carn_m, single_scale
from tfsr.tflite.lowering import (
    CENTER,
    EXACT,
    add_to_last_bias,
    center_input,
    convolve_before_shuffle,
    lower,
    rewrite,
    shift_into_bias,
    shuffle_at_once,
)


def run(graph, lr):
    return keras.ops.convert_to_numpy(
        graph.run([keras.ops.convert_to_tensor(lr)], run_node)[0]
    )


def kinds(graph):
    return [type(node.operation).__name__ for node in graph.nodes]


@pytest.fixture
def lr():
    return np.random.default_rng(0).random((1, 9, 12, 3), np.float32)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("builder", [carn, carn_m])
@pytest.mark.parametrize(
    "rule", [shift_into_bias, convolve_before_shuffle, shuffle_at_once]
)
def test_each_rule_is_exact(lr, builder, scale, rule):
    model = builder(scale=scale, filters=16, blocks=1, units=1)
    graph = inline(model)
    lowered = rewrite(graph, rule)
    expected = run(graph, lr)
    error = np.abs(run(lowered, lr) - expected).max()
    assert error <= 1e-5 * np.abs(expected).max()
    if not (rule is shuffle_at_once and builder is carn):  # which has no groups
        assert kinds(lowered) != kinds(graph)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("builder", [carn, carn_m])
def test_all_rules_together_are_exact(lr, builder, scale):
    model = single_scale(builder(filters=16, blocks=1), scale)
    expected = np.asarray(model(lr))
    lowered = lower(model, EXACT)
    error = np.abs(run(lowered, lr) - expected).max()
    assert error <= 1e-5 * np.abs(expected).max()
    assert "Split" not in kinds(lowered)
    assert kinds(lowered)[-2:] == ["DepthToSpace", "GetItem"]


def test_centering_is_exact_inside_the_border():
    model = carn_m(scale=2, filters=8, blocks=1, units=1)
    lr = np.random.default_rng(0).random((1, 16, 16, 3), np.float32)
    graph = lower(model, EXACT)
    centered = rewrite(graph, center_input)
    assert centered.nodes[0].operation.offset == (CENTER,) * 3
    difference = np.abs(run(centered, lr) - run(graph, lr))
    inside = difference[:, 10:-10, 10:-10]  # five convolutions see 5 LR pixels
    assert inside.max() < 1e-6
    assert 0 < difference.max() < 0.03


def test_the_last_bias_moves_the_output(lr):
    graph = lower(carn_m(scale=2, filters=8, blocks=1), EXACT)
    addition = np.arange(12) / 100  # (i, j, c) of the shuffle, one pixel late
    moved = run(add_to_last_bias(graph, addition), lr) - run(graph, lr)
    np.testing.assert_allclose(moved[0, 0, 1], addition[6:9], atol=1e-6)
    np.testing.assert_allclose(moved[0, 1, 0], addition[3:6], atol=1e-6)
