import keras
import numpy as np
import pytest

from tfsr.layers import GroupedConv2D


@pytest.mark.parametrize("lowering", ["split", "grouped"])
@pytest.mark.parametrize("groups", [1, 2, 4, 8])
@pytest.mark.parametrize("kernel_size", [1, 3])
def test_equals_numpy(images, conv2d, kernel_size, groups, lowering):
    layer = GroupedConv2D(16, kernel_size, groups, lowering)
    y = np.asarray(layer(images))
    assert layer.kernel.shape == (kernel_size, kernel_size, 8 // groups, 16)
    np.testing.assert_allclose(y, conv2d(images, layer), atol=1e-5)


@pytest.mark.parametrize("groups", [2, 4])
def test_lowerings_agree(images, groups):
    split = GroupedConv2D(12, 3, groups, "split")
    grouped = GroupedConv2D(12, 3, groups, "grouped")
    expected = split(images)
    grouped.build(images.shape)
    grouped.set_weights(split.get_weights())
    np.testing.assert_allclose(grouped(images), expected, atol=1e-5)


def test_a_group_sees_its_own_channels_only(images):
    layer = GroupedConv2D(8, 3, groups=2)
    before = np.asarray(layer(images))
    changed = images.copy()
    changed[..., :4] += 1
    moved = np.abs(np.asarray(layer(changed)) - before).max(axis=(0, 1, 2))
    assert (moved[:4] > 1e-3).all()
    assert (moved[4:] == 0).all()


@pytest.mark.parametrize(("kernel_size", "groups"), [(1, 1), (3, 1), (3, 4)])
@pytest.mark.parametrize("initializer", [None, "input_channels"])
def test_initial_values_fill_the_uniform_range(kernel_size, groups, initializer):
    keras.utils.set_random_seed(0)
    layer = GroupedConv2D(256, kernel_size, groups, initializer=initializer)
    layer.build((None, None, None, 64))
    limit = {None: (kernel_size**2 * 64 / groups) ** -0.5, "input_channels": 1 / 8}
    limit = limit[initializer]
    for weight in layer.get_weights():
        assert 0.97 * limit < weight.max() <= limit
        assert -limit <= weight.min() < -0.97 * limit
        assert abs(weight.std() - limit / 3**0.5) < 0.05 * limit


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((8, 3, 0), r"`groups` must divide.*Received: groups=0, filters=8\."),
        ((8, 3, -2), r"`groups` must divide.*Received: groups=-2, filters=8\."),
        ((8, 3, 3), r"`groups` must divide.*Received: groups=3, filters=8\."),
        ((8, 3, 2, "xla"), r"`lowering` must be.*Received: lowering=xla\."),
    ],
)
def test_constructor_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        GroupedConv2D(*arguments)


def test_groups_must_divide_the_channels():
    message = r"Received: groups=4, input_shape=\(None, None, None, 6\)\."
    with pytest.raises(ValueError, match=message):
        GroupedConv2D(8, 3, 4).build((None, None, None, 6))


@pytest.mark.parametrize("lowering", ["split", "grouped"])
def test_contract(check_layer, lowering):
    check_layer(GroupedConv2D(12, 3, 4, lowering), channels=8)
