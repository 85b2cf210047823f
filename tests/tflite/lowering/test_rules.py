import functools
from functools import partial

import keras
import numpy as np
import pytest

from networks import SIZES, small
from tfsr.graph.graph import inline, run_node
from tfsr.layers import CONVS, ChannelShift, GroupedConv2D
from tfsr.models import (
    MODELS,
    carn,
    carn_m,
    cmsc,
    ffdnet,
    scales,
    sesr,
    single_scale,
    with_levels,
)
from tfsr.tflite.lowering.engine import (
    add_to_last_bias,
    convolution,
    lower,
    name_of,
    rewrite,
    with_weights,
)
from tfsr.tflite.lowering.rules import (
    FLOAT_RULES,
    INT8_RULES,
    activation_before_shuffle,
    affine_after_convolution,
    cancel_add_subtract,
    colors_as_convolution,
    concatenate_onto,
    convolve_before_shuffle,
    convolve_in_blocks,
    copies_as_convolution,
    enlarge_as_convolution,
    fold_kernels,
    fold_weighted_average,
    pool_as_convolution,
    pool_as_dense_convolution,
    pool_in_convolution,
    shuffle_at_once,
    slopes_as_one,
    stride_in_convolution,
)

SCN_VARIANTS = {
    "baseline": {"levels": 1, "scale": 4},
    "unshared": {"shared": False},
    "average": {"resampling": "average", "scale": 3},
    "conv": {"resampling": "conv"},
    "conv_5": {"resampling": "conv", "level_kernel_size": 5, "levels": 4},
    "thirds": {"ratio": "2/3"},
    "quarters": {"ratio": "3/4", "level_kernel_size": 5},
    "restoration": {"scale": 1},
}


def cmsc_in_training():
    """Its stages no longer count the same."""
    model = small("cmsc", modules=2)
    model.get_layer("average").shares.assign([0.3, 0.6])
    return model


def scn_of_other_levels():
    return with_levels(small("scn", blocks=2, levels=2), 3, "2/3")


NETWORKS = {  # every model of MODELS and every kind of convolution, small
    **{name: partial(small, name) for name in SIZES},
    "carn": partial(small, "carn", blocks=2, units=2),
    "carn_m": partial(small, "carn_m", blocks=2, units=2),
    "cmsc": cmsc_in_training,
    "scn": partial(small, "scn", blocks=2),
    "sesr": partial(small, "sesr", 4, blocks=2),
    "scn_of_other_levels": scn_of_other_levels,
    "scn_pspnet": partial(small, "scn_pspnet", levels=3),
    **{
        f"scn_{name}": partial(small, "scn", blocks=2, **arguments)
        for name, arguments in SCN_VARIANTS.items()
    },
    **{f"srresnet_{conv}": partial(small, "srresnet", conv=conv) for conv in CONVS},
}


def run(graph, lr):
    return keras.ops.convert_to_numpy(
        graph.run([keras.ops.convert_to_tensor(lr)], run_node)[0]
    )


def kinds(graph):
    return [type(node.operation).__name__ for node in graph.nodes]


def structure(graph):
    return [(type(n.operation), len(n.input_tensors)) for n in graph.nodes]


@pytest.fixture
def lr():
    return np.random.default_rng(0).random((1, 9, 12, 3), np.float32)


def test_every_model_is_here():
    assert set(MODELS) <= set(NETWORKS)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_rule_is_exact(lr, name):
    whole = NETWORKS[name]()
    rules = (*FLOAT_RULES, pool_in_convolution, pool_as_dense_convolution)
    for scale in scales(whole):
        graph = inline(single_scale(whole, scale))
        expected = run(graph, lr)
        lowered = [rewrite(graph, rule) for rule in rules]
        lowered = [g for g in lowered if structure(g) != structure(graph)]
        for rewritten in (*lowered, functools.reduce(rewrite, FLOAT_RULES, graph)):
            if rewritten is graph:  # no operation fits the rule
                continue
            error = np.abs(run(rewritten, lr) - expected).max()
            assert error <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("rule", "name", "replaced", "replacement"),
    [
        (affine_after_convolution, "carn", "ChannelShift", None),
        (convolve_before_shuffle, "carn", None, "GetItem"),
        (convolve_in_blocks, "srresnet", "GroupedConv2D", "DepthToSpace"),
        (shuffle_at_once, "carn_m", "Split", None),
        (affine_after_convolution, "cmsc", "BatchNormalization", None),
        (fold_weighted_average, "cmsc", "WeightedAverage", None),
        (colors_as_convolution, "vdsr", "Luma", None),
        (enlarge_as_convolution, "vdsr", "BicubicEnlarge", None),
        (cancel_add_subtract, "vdsr", "Subtract", None),
        (pool_in_convolution, "srresnet_ms3", "AveragePooling2D", "Conv2D"),
        (fold_kernels, "scn", "WeightNormConv2D", "GroupedConv2D"),
        (fold_kernels, "sesr", "CollapsibleConv2D", "GroupedConv2D"),
        (colors_as_convolution, "sesr", "ColorDifferences", "GroupedConv2D"),
        (copies_as_convolution, "sesr", "Concatenate", "GroupedConv2D"),
        (affine_after_convolution, "scn", "ChannelShift", None),
        (stride_in_convolution, "scn_conv", "SpaceToDepth", "Conv2D"),
        (stride_in_convolution, "ffdnet", "SpaceToDepth", "Conv2D"),
        (pool_in_convolution, "scn", "AveragePooling2D", "Conv2D"),
        (pool_as_convolution, "srresnet_ms2", "AveragePooling2D", "DepthwiseConv2D"),
    ],
)
def test_each_rule_fits(rule, name, replaced, replacement):
    model = NETWORKS[name]()
    graph = inline(single_scale(model, max(scales(model))))
    before, after = kinds(graph), kinds(rewrite(graph, rule))
    assert replaced is None or after.count(replaced) < before.count(replaced)
    assert replacement is None or after.count(replacement) > before.count(replacement)


@pytest.mark.parametrize("channels", [1, 3, 4, 5])
def test_few_channels_are_pooled_densely_in_8_bits(channels):
    inputs = keras.Input((None, None, channels))
    model = keras.Model(inputs, keras.layers.AveragePooling2D(2)(inputs))
    lowered = lower(model, INT8_RULES)
    assert kinds(lowered) == ["Conv2D" if channels < 5 else "DepthwiseConv2D"]
    assert kinds(lower(model, FLOAT_RULES)) == ["DepthwiseConv2D"]
    x = np.random.default_rng(0).random((1, 8, 6, channels), np.float32)
    np.testing.assert_allclose(run(lowered, x), model(x), atol=1e-6)


@pytest.mark.parametrize(
    ("slopes", "kind"),
    [([0.0] * 3, "Relu"), ([0.2] * 3, "LeakyRelu"), ([0.2, 0.2, 0.3], "PReLU")],
)
def test_equal_slopes_are_one(lr, slopes, kind):
    inputs = keras.Input((None, None, 3))
    prelu = keras.layers.PReLU(shared_axes=[1, 2])
    model = keras.Model(inputs, prelu(inputs))
    prelu.set_weights([np.reshape(slopes, (1, 1, 3))])
    lowered = rewrite(inline(model), slopes_as_one)
    assert kinds(lowered) == [kind]
    x = lr - 0.5
    np.testing.assert_allclose(run(lowered, x), model(x), atol=1e-6)


def test_clips_go_before_the_shuffle(lr):
    inputs = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(12, 3, padding="same")(inputs)
    x = keras.ops.clip(keras.ops.depth_to_space(x, 2), -0.1, 0.2)
    model = keras.Model(inputs, x)
    lowered = rewrite(inline(model), activation_before_shuffle)
    assert kinds(lowered) == ["Conv2D", "Clip", "DepthToSpace"]
    np.testing.assert_array_equal(run(lowered, lr), model(lr))


def test_batch_normalization_is_folded(lr):
    rng = np.random.default_rng(1)
    inputs = keras.Input((None, None, 3))
    x = GroupedConv2D(6, 3, groups=3)(inputs)
    x = keras.layers.BatchNormalization()(x)
    x = GroupedConv2D(4, 3)(x)
    x = keras.layers.BatchNormalization(center=False, scale=False)(x)
    model = keras.Model(inputs, x)
    for weight in model.weights:
        weight.assign(rng.uniform(0.5, 2, weight.shape))
    lowered = rewrite(inline(model), affine_after_convolution)
    assert kinds(lowered) == ["GroupedConv2D"] * 2
    expected = np.asarray(model(lr, training=False))
    np.testing.assert_allclose(run(lowered, lr), expected, rtol=1e-5, atol=1e-5)


def test_concatenations_join_two_at_a_time(lr):
    graph = inline(carn(scale=2, filters=8, blocks=3, units=2))
    lowered = rewrite(graph, concatenate_onto)
    joined = [n for n in lowered.nodes if type(n.operation).__name__ == "Concatenate"]
    assert {len(node.input_tensors) for node in joined} == {2}
    np.testing.assert_array_equal(run(lowered, lr), run(graph, lr))


@pytest.mark.parametrize(
    "model",
    [
        partial(carn_m, scale=2, filters=8, blocks=1, units=1),
        partial(ffdnet, filters=8, blocks=1, colors=4, color_blocks=1),
    ],
)
def test_centering_is_exact_inside_the_border(model):
    model = model()
    lr = np.random.default_rng(0).random((1, 32, 32, 3), np.float32)
    graph = lower(model, FLOAT_RULES)
    centered = lower(model, INT8_RULES)
    operations = [node.operation for node in centered.nodes]
    (shift,) = [x.offset for x in operations if isinstance(x, ChannelShift)]
    assert shift == (-110 / 255,) * 3
    difference = np.abs(run(centered, lr) - run(graph, lr))
    inside = difference[:, 10:-10, 10:-10]  # convolutions see 5 and 7 LR pixels
    assert inside.max() < 1e-6
    assert 0 < difference.max() < 0.03


def test_convolutions_keep_the_names_of_layers():
    def names(graph):
        operations = (node.operation for node in graph.nodes)
        return {name_of(o) for o in operations if hasattr(o, "kernel")}

    model = single_scale(cmsc(2, stages=2, modules=1, filters=4), 2)
    assert names(lower(model, INT8_RULES)) == names(inline(model)) | {
        "enlarge_x2",
        "luma_x2",
    }
    model = carn_m(4, filters=16, blocks=1, units=2)
    assert names(lower(model, INT8_RULES)) == names(inline(model))
    model = sesr(2, filters=8, blocks=1)
    assert names(lower(model, INT8_RULES)) == names(inline(model)) | {
        "anchor",
        "differences",
        "Repeat",
    }


def test_no_shift_leaves_nothing_at_the_border(lr):
    inputs = keras.Input((None, None, 3))
    x = GroupedConv2D(4, 3)(ChannelShift((0.0, 0.0, 0.0))(inputs))
    graph = inline(keras.Model(inputs, x))
    lowered = functools.reduce(rewrite, INT8_RULES, graph)
    np.testing.assert_allclose(run(lowered, lr), run(graph, lr), atol=1e-6)


def test_the_last_bias_moves_the_output(lr):
    graph = lower(carn_m(scale=2, filters=8, blocks=1), FLOAT_RULES)
    addition = np.arange(12) / 100  # (i, j, c) of the shuffle, one pixel late
    moved = run(add_to_last_bias(graph, addition), lr) - run(graph, lr)
    np.testing.assert_allclose(moved[0, 0, 1], addition[6:9], atol=1e-6)
    np.testing.assert_allclose(moved[0, 1, 0], addition[3:6], atol=1e-6)


def test_a_fixed_kernel_stays_fixed_with_other_weights():
    conv = convolution("copies", np.ones((1, 1, 3, 3)), None)
    conv.trainable = False
    assert not with_weights(conv, 2 * np.ones((1, 1, 3, 3)), np.zeros(3)).trainable
