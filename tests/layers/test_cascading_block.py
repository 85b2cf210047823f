import numpy as np
import pytest

from tfsr.layers import CascadingBlock


@pytest.mark.parametrize("groups", [None, 2])
@pytest.mark.parametrize("recursive", [False, True])
def test_equals_equation_3(images, conv2d, groups, recursive):
    layer = CascadingBlock(8, 3, groups, recursive)
    y = layer(images)
    b = layer.residuals * 3 if recursive else layer.residuals
    b1 = np.asarray(b[0](images))
    o1 = np.maximum(conv2d(np.concatenate([images, b1], -1), layer.fuses[0]), 0)
    b2 = np.asarray(b[1](o1))
    o2 = np.maximum(conv2d(np.concatenate([images, b1, b2], -1), layer.fuses[1]), 0)
    b3 = np.asarray(b[2](o2))
    o3 = np.maximum(conv2d(np.concatenate([images, b1, b2, b3], -1), layer.fuses[2]), 0)
    np.testing.assert_allclose(y, o3, atol=1e-4)


def test_without_cascading_the_units_follow_one_another(images):
    layer = CascadingBlock(8, 2, cascading=False)
    y = layer(images)
    first, second = layer.residuals
    np.testing.assert_allclose(y, second(first(images)), atol=1e-6)


@pytest.mark.parametrize(
    ("groups", "recursive", "unit_weights"),
    [
        (None, False, 3 * 2 * (9 * 8 * 8 + 8)),
        (None, True, 2 * (9 * 8 * 8 + 8)),
        (4, False, 3 * (2 * (9 * 2 * 8 + 8) + 8 * 8 + 8)),
        (4, True, 2 * (9 * 2 * 8 + 8) + 8 * 8 + 8),
    ],
)
def test_recursive_units_share_their_weights(groups, recursive, unit_weights):
    layer = CascadingBlock(8, 3, groups, recursive)
    layer.build((None, None, None, 8))
    fuses = sum(c * 8 * 8 + 8 for c in (2, 3, 4))
    assert layer.count_params() == unit_weights + fuses


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"units": 2, "groups": 4},
        {"groups": 2, "recursive": True},
        {"recursive": True, "cascading": False},
    ],
)
def test_contract(check_layer, arguments):
    check_layer(CascadingBlock(8, **arguments), channels=8)
