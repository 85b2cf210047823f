import keras
import pytest

from tfsr.graph.complexity import mult_adds, params
from tfsr.layers import CollapsibleConv2D, GroupedConv2D, ResidualEBlock, Upsampler
from tfsr.models import carn_m, single_scale


def test_of_one_convolution():
    x = keras.Input((None, None, 6))
    model = keras.Model(x, GroupedConv2D(4, 3, groups=2)(x))
    assert params(model) == 3 * 3 * 3 * 4 + 4
    assert mult_adds(model, 5, 7) == 3 * 3 * 3 * 4 * 5 * 7


def test_a_shared_layer_has_its_params_once_and_costs_twice():
    x = keras.Input((None, None, 4))
    conv = GroupedConv2D(4, 1)
    model = keras.Model(x, conv(conv(x)))
    assert params(model) == 4 * 4 + 4
    assert mult_adds(model, 3, 5) == 2 * 4 * 4 * 3 * 5


def test_convolutions_inside_blocks_count_at_their_size():
    x = keras.Input((None, None, 8))
    model = keras.Model(x, Upsampler(8, 4)(ResidualEBlock(8, 2)(x)))
    unit = 2 * 9 * 4 * 8 + 8 * 8
    upsampler = 9 * 8 * 32 * (1 + 4)  # the second convolution runs at x2
    assert mult_adds(model, 3, 5) == (unit + upsampler) * 3 * 5


def test_frozen_weights_are_not_counted():
    x = keras.Input((None, None, 4))
    conv = GroupedConv2D(4, 1)
    conv.trainable = False
    model = keras.Model(x, GroupedConv2D(4, 3)(conv(x)))
    assert params(model) == 9 * 4 * 4 + 4


def test_a_frozen_collapsible_convolution_is_not_counted():
    x = keras.Input((None, None, 4))
    frozen, trained = CollapsibleConv2D(4, expanded=16), CollapsibleConv2D(4)
    frozen.trainable = False
    assert params(keras.Model(x, trained(frozen(x)))) == 9 * 4 * 4 + 4


def test_stock_convolutions_count():
    x = keras.Input((None, None, 4))
    model = keras.Model(x, keras.layers.Conv2D(8, 3, padding="same")(x))
    assert mult_adds(model, 5, 7) == 9 * 4 * 8 * 5 * 7


@pytest.mark.parametrize("scale", [2, 3])
def test_one_scale_of_several_costs_what_it_costs_alone(scale):
    sizes = {"filters": 8, "blocks": 1, "units": 2, "groups": 2}
    several, alone = carn_m((2, 3), **sizes), carn_m(scale, **sizes)
    single = single_scale(several, scale)
    assert mult_adds(single, 6, 7) == mult_adds(alone, 6, 7)
    assert params(single) == params(alone) < params(several)
