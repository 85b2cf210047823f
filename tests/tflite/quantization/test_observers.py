import keras
import numpy as np
import pytest
from keras import ops

from tfsr.graph.graph import Graph
from tfsr.tflite.quantization.observers import (
    least_squares,
    min_max,
    observe,
    percentile,
)


def test_choices_on_known_values():
    values = np.concatenate([np.linspace(0, 1, 10001), [50.0]])
    assert min_max(values) == (0, 50)
    assert percentile(values, 99.9)[1] == pytest.approx(0.999, abs=1e-3)
    assert min_max(np.array([2.0, 3.0])) == (0, 3)


def squared_error(values, bounds):
    step = (bounds[1] - bounds[0]) / 255
    zero_point = np.round(-bounds[0] / step)
    levels = np.clip(np.round(values / step) + zero_point, 0, 255)
    return np.mean(((levels - zero_point) * step - values) ** 2)


def test_least_squares_is_no_worse_than_any_clipping():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.uniform(-1, 1, 200_000), [3.0]])
    chosen = squared_error(values, least_squares(values))
    assert chosen < 0.8 * squared_error(values, min_max(values))
    for share in (90, 99, 99.9, 99.99):
        assert chosen <= 1.05 * squared_error(values, percentile(values, share))


@pytest.mark.parametrize("draw", ["normal", "laplace", "uniform", "exponential"])
def test_least_squares_is_the_best_of_its_grid(draw):
    values = getattr(np.random.default_rng(0), draw)(size=3000)
    low, high = min_max(values)
    grid = [
        (low * a, high * b)
        for a in np.linspace(0.04, 1, 49)
        for b in np.linspace(0.04, 1, 49)
    ]
    best = min(squared_error(values, bounds) for bounds in grid)
    assert squared_error(values, least_squares(values)) < 1.01 * best


def test_weights_are_those_of_squared_errors():
    quiet, loud = np.linspace(-1, 1, 1000), np.linspace(-4, 4, 1000)
    values, weights = np.concatenate([quiet, loud]), np.repeat([1, 1e-6], 1000)
    assert max(least_squares(values, np.ones(2000))) == pytest.approx(4, rel=0.05)
    assert max(least_squares(values, weights)) == pytest.approx(1, rel=0.1)


def influences(*parts):
    """The influence of maps of pixels that are concatenated and added up."""
    lr = keras.Input((None, None, 3))
    joined = ops.concatenate([part(lr) for part in parts], axis=-1)
    graph = Graph([lr], [ops.sum(joined, axis=-1, keepdims=True)])
    patches = [np.random.default_rng(s).random((12, 9, 3), np.float32) for s in (0, 1)]
    influence = observe(graph, patches).influence
    return [influence[i] for i in sorted(influence)]


def test_influence_is_the_squared_error_that_reaches_the_output():
    found = influences(lambda x: 0.5 * x, lambda x: ops.repeat(0.25 * x, 2, axis=-1))
    assert sorted(found) == pytest.approx([1 / 4, 1], rel=0.2)  # added once, and twice


@pytest.mark.parametrize(
    "part",
    [
        lambda x: ops.sqrt(ops.relu(x - 0.5)),  # noise below 0 would be NaN
        lambda x: ops.exp(x) / ops.exp(x),  # a constant
        lambda x: ops.relu(x) / 0.0,
    ],
    ids=["edge of a domain", "constant", "infinite"],
)
def test_what_noise_cannot_measure_counts_in_full(part):
    with np.errstate(all="ignore"):
        assert max(influences(part, lambda x: 2 * x)) == 1
