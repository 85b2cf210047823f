import numpy as np
import pytest

from tfsr.layers import ScaleWiseBody, feature_pyramid

VARIANTS = [
    {},
    {"levels": 1},
    {"levels": 6},
    {"ratio": "2/3", "level_kernel_size": 5},
    {"ratio": "3/4", "shared": False},
    {"resampling": "conv", "levels": 2},
]


def features(height=16, width=24):
    shape = (2, height, width, 4)
    return np.random.default_rng(0).standard_normal(shape).astype("float32")


@pytest.mark.parametrize("arguments", VARIANTS, ids=str)
def test_is_the_blocks_in_turn(arguments):
    body = ScaleWiseBody(4, 3, **arguments)
    x = features()
    levels = min(body.levels, 1 + 3 * (body.level_kernel_size // 2))
    expected = feature_pyramid(x, levels, body.ratio)
    y = body(x)
    for block in body.blocks:
        expected = block(expected, ratio=body.ratio)
    assert len(expected) == 1
    np.testing.assert_allclose(y, expected[0], atol=1e-5)


def test_blocks_compute_what_is_seen_and_nothing_else():
    body = ScaleWiseBody(4, 3, levels=3, shared=False)
    body.build((None, None, None, 4))
    assert [len(block.expand) for block in body.blocks] == [3, 3, 2]
    last = body.blocks[-1].conv
    assert list(last.between) == ["up_1_to_0"]
    computed = [block.compute_output_shape([(1, 4, 4, 4)] * 3) for block in body.blocks]
    assert [len(levels) for levels in computed] == [3, 2, 1]


def test_levels_that_nothing_sees_are_left_out():
    few, many = ScaleWiseBody(4, 2, levels=3), ScaleWiseBody(4, 2, levels=5)
    few.build((None, None, None, 4))
    many.build((None, None, None, 4))
    many.set_weights(few.get_weights())
    x = features()
    np.testing.assert_array_equal(few(x), many(x))


@pytest.mark.parametrize(
    ("arguments", "within", "between"),
    [
        ({}, 0.25, 0.1 * 3**-0.5),
        ({"gains": "authors"}, 0.5, 3**-0.5),
        ({"levels": 1}, 0.5, None),
    ],
    ids=str,
)
def test_initial_gains(arguments, within, between):
    body = ScaleWiseBody(4, 4, **arguments)
    body.build((None, None, None, 4))
    for block in body.blocks:
        np.testing.assert_allclose(block.conv.within[0].length, within)
        for path in block.conv.between.values():
            np.testing.assert_allclose(path.length, between, rtol=1e-6)
        assert bool(block.conv.between) == (between is not None)


def test_gains_are_known():
    with pytest.raises(ValueError, match=r"`gains` must be one.*Received: gains=1\."):
        ScaleWiseBody(4, 4, gains=1)


@pytest.mark.parametrize("call", [{"levels": 4}, {"levels": 2}, {"ratio": "3/4"}])
def test_runs_on_other_pyramids(call):
    body = ScaleWiseBody(4, 3, gains="authors")  # paths that are felt
    twin = ScaleWiseBody(4, 3, **call)
    x = features()
    before, expected = body(x), twin(x)
    twin.set_weights(body.get_weights())
    expected = twin(x)
    np.testing.assert_array_equal(body(x, **call), expected)
    assert np.abs(expected - before).max() > 1e-3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"ratio": "1/3"}, r"`ratio` must be one of .*Received: ratio=1/3"),
        ({"ratio": 0.5}, r"`ratio` must be one of .*Received: ratio=0\.5"),
        ({"ratio": "2/3", "resampling": "average"}, r'"1/2" for average .*ratio=2/3'),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        ScaleWiseBody(4, 2, **arguments)


@pytest.mark.parametrize("ratio", ["2/3", "3/4"])
def test_contract(check_layer, ratio):
    check_layer(ScaleWiseBody(4, 2, ratio=ratio), channels=4)


def test_contract_of_halves(check_layer):
    check_layer(ScaleWiseBody(4, 2, levels=1), channels=4)
