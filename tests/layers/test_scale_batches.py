import numpy as np

from tfsr.layers import JoinScales, SplitScales


def test_join_stacks_and_split_takes_apart():
    parts = [np.full((2, 3, 4, 1), i, "float32") for i in range(3)]
    joined = np.asarray(JoinScales()(parts))
    np.testing.assert_array_equal(joined[:, 0, 0, 0], [0, 0, 1, 1, 2, 2])
    for part, again in zip(parts, SplitScales(3)(joined), strict=True):
        np.testing.assert_array_equal(part, again)


def test_shapes_with_a_known_batch():
    assert JoinScales().compute_output_shape([(2, 3, 4, 5)] * 3) == (6, 3, 4, 5)
    assert SplitScales(3).compute_output_shape((6, 3, 4, 5)) == [(2, 3, 4, 5)] * 3


def test_join_contract(check_layer):
    check_layer(JoinScales(), channels=3, count=3)


def test_split_contract(check_layer):
    check_layer(SplitScales(3), channels=4)
