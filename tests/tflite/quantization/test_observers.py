import numpy as np
import pytest

from tfsr.tflite.quantization.observers import least_squares, min_max, percentile


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
        for a in np.linspace(0.2, 1, 41)
        for b in np.linspace(0.2, 1, 41)
    ]
    best = min(squared_error(values, bounds) for bounds in grid)
    assert squared_error(values, least_squares(values)) < 1.01 * best
