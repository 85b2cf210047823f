import functools

import keras
import numpy as np
import pytest

import networks
from tfsr.graph import complexity
from tfsr.models import MODELS, carn, carn_m, scales, single_scale


@functools.cache
def built(name):
    return MODELS[name]()


small = functools.partial(
    networks.small, "carn_m", filters=8, blocks=2, units=2, groups=2
)


def random_lr(*shape):
    return np.random.default_rng(0).random(shape, dtype="float32")


# Tables 1 and 2 of https://arxiv.org/abs/1803.08664. CARN-M is printed as 412K; the
# authors' released checkpoint has 415K.
@pytest.mark.usefixtures("shapes_alone")
@pytest.mark.parametrize(
    ("builder", "arguments", "params_k"),
    [
        (carn, {}, 1592),
        (carn_m, {}, 415),
        (carn, {"local_cascading": False}, 1481),
        (carn, {"global_cascading": False}, 1555),
        (carn, {"local_cascading": False, "global_cascading": False}, 1444),
    ],
    ids=["carn", "carn_m", "carn_nl", "carn_ng", "baseline"],
)
def test_params_of_the_paper(builder, arguments, params_k):
    assert round(complexity.params(builder(**arguments)) / 1e3) == params_k


def test_initial_values_of_the_paper():
    model = carn_m(2, initializer="input_channels")
    for weight in model.trainable_weights:
        if weight.name == "kernel" and "fuse" not in weight.path:
            bound = (3 if "head" in weight.path else 64) ** -0.5
            assert 0.97 * bound < np.abs(weight).max() <= bound
    message = r"`initializer` must be one of .*Received: initializer=he_normal\."
    with pytest.raises(ValueError, match=message):
        carn(initializer="he_normal")


# Table 1, in 1e9, for an HR image of 1280x720.
@pytest.mark.parametrize(
    ("name", "scale", "printed"),
    [
        ("carn", 2, 222.8),
        ("carn", 3, 118.8),
        ("carn", 4, 90.9),
        ("carn_m", 2, 91.2),
        ("carn_m", 3, 46.1),
        ("carn_m", 4, 32.5),
    ],
)
def test_mult_adds_of_the_paper(name, scale, printed):
    model = single_scale(built(name), scale)
    # 1280 / 3 is not whole: count an LR image of 1280x720 and divide.
    mult_adds = complexity.mult_adds(model, 720, 1280) / scale**2
    assert round(mult_adds / 1e9, 1) == printed


@pytest.mark.usefixtures("shapes_alone")
# The group sizes of Fig. 5, without and with recursive blocks.
@pytest.mark.parametrize("recursive", [False, True])
def test_params_fall_as_groups_grow(recursive):
    params = [
        complexity.params(carn(4, groups=groups, recursive=recursive))
        for groups in (1, 2, 4, 8, 16, 32, 64)
    ]
    assert params == sorted(set(params), reverse=True)
    assert params[-1] < complexity.params(carn(4, recursive=recursive)) / 3


def test_recursion_saves_params_but_no_mult_adds():
    plain, recursive = small(2, recursive=False), small(2)
    units = 2 * (9 * 4 * 8 + 8) + 8 * 8 + 8
    assert complexity.params(plain) - complexity.params(recursive) == 2 * units
    assert complexity.mult_adds(plain, 9, 8) == complexity.mult_adds(recursive, 9, 8)


@pytest.mark.parametrize("name", ["carn", "carn_m"])
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_output_shape_of_odd_sizes(name, scale):
    y = single_scale(built(name), scale)(random_lr(1, 7, 9, 3))
    assert y.shape == (1, 7 * scale, 9 * scale, 3)


def test_grayscale():
    assert small(3, channels=1)(random_lr(1, 5, 6, 1)).shape == (1, 15, 18, 1)


def test_mean_is_subtracted_and_added():
    model = small(2)
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    y = model(random_lr(1, 3, 4, 3))
    np.testing.assert_allclose(y[0, 2, 5], [0.4488, 0.4371, 0.4040], atol=1e-6)


@pytest.mark.parametrize("local_cascading", [False, True])
@pytest.mark.parametrize("global_cascading", [False, True])
def test_equals_the_units_by_hand(local_cascading, global_cascading):
    model = small(2, local_cascading=local_cascading, global_cascading=global_cascading)
    lr = random_lr(1, 5, 6, 3)
    mean = np.array([0.4488, 0.4371, 0.4040], "float32")
    layer = model.get_layer
    h0 = layer("head")(lr - mean)
    b1 = layer("block_0")(h0)
    h1 = b1
    if global_cascading:
        h1 = keras.ops.relu(layer("fuse_0")(keras.ops.concatenate([h0, b1], -1)))
    b2 = layer("block_1")(h1)
    h2 = b2
    if global_cascading:
        h2 = keras.ops.relu(layer("fuse_1")(keras.ops.concatenate([h0, b1, b2], -1)))
    expected = layer("tail")(layer("upsampler_x2")(h2)) + mean
    np.testing.assert_allclose(model(lr), expected, atol=1e-5)
    assert len(layer("block_0").fuses) == (2 if local_cascading else 0)


def test_one_step_single_scale(check_step):
    check_step(small(4), random_lr(2, 6, 6, 3), random_lr(2, 24, 24, 3))


def test_one_step_multi_scale(check_step):
    lr = {f"lr_x{s}": random_lr(2, 6, 6, 3) for s in (2, 3, 4)}
    hr = {f"sr_x{s}": random_lr(2, 6 * s, 6 * s, 3) for s in (2, 3, 4)}
    check_step(small((2, 3, 4)), lr, hr)


@pytest.mark.parametrize("order", [(2, 3, 4), (4, 2), (3,)])
def test_single_scale_equals_the_multi_scale_model(order):
    model = small(order)
    rng = np.random.default_rng(1)
    lr = {f"lr_x{s}": rng.random((2, 5, 7, 3), dtype="float32") for s in order}
    together = model(lr)
    for s in order:
        alone = single_scale(model, s)(lr[f"lr_x{s}"])
        np.testing.assert_allclose(alone, together[f"sr_x{s}"], atol=1e-5)


def test_single_scale_shares_the_weights():
    model = small((2, 3))
    lr = random_lr(1, 5, 7, 3)
    alone = single_scale(model, 3)
    before = np.asarray(alone(lr))
    model.get_layer("tail").bias.assign_add([1.0, 2.0, 3.0])
    np.testing.assert_allclose(alone(lr), before + np.array([1, 2, 3]), atol=1e-5)
    shifted = np.asarray(alone(lr))
    alone.get_layer("head").bias.assign_add(np.ones(8))
    together = model({"lr_x2": lr, "lr_x3": lr})["sr_x3"]
    np.testing.assert_allclose(together, alone(lr), atol=1e-5)
    assert np.abs(together - shifted).max() > 0.01


def test_single_scale_leaves_the_other_upsamplers_out():
    alone = single_scale(small((2, 3, 4)), 2)
    assert [x.name for x in alone.layers if x.name.startswith("upsampler")] == [
        "upsampler_x2"
    ]


def test_single_scale_of_a_single_scale_model_is_itself():
    model = small(3)
    assert single_scale(model, 3) is model


@pytest.mark.parametrize("scale", [2, (2, 4)])
def test_single_scale_of_an_unknown_scale(scale):
    with pytest.raises(ValueError, match=r"`scale` must be .*Received: scale=3\."):
        single_scale(small(scale), 3)


@pytest.mark.parametrize(
    ("scale", "expected"), [(2, (2,)), (3, (3,)), ((4, 2), (2, 4)), ((3,), (3,))]
)
def test_scales(scale, expected):
    assert scales(small(scale)) == expected


@pytest.mark.parametrize("scale", [(2, 3), 4])
def test_saved_and_reloaded(tmp_path, scale):
    model = small(scale)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    assert scales(reloaded) == scales(model)
    lr = random_lr(1, 5, 7, 3)
    for s in scales(model):
        np.testing.assert_array_equal(
            single_scale(reloaded, s)(lr), single_scale(model, s)(lr)
        )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 4}, r"`channels` must be 1 or 3\. Received: channels=4\."),
        ({"scale": 5}, r"Received: scale=5\."),
        ({"scale": (2, 8)}, r"Received: scale=8\."),
        ({"groups": 5}, r"Received: groups=5, filters=64\."),
    ],
)
def test_errors(arguments, message):
    with pytest.raises(ValueError, match=message):
        carn_m(**arguments)


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "2", None])
@pytest.mark.parametrize("name", ["filters", "blocks", "units"])
def test_sizes_that_are_no_positive_integers(name, value):
    with pytest.raises(ValueError, match=f"Received: {name}={value}"):
        carn(2, **{name: value})


@pytest.mark.parametrize("scale", [(2, 2), (4, 3, 4), (), 5, 2.0, "2", None, (2, 2.5)])
def test_scales_that_are_none(scale):
    with pytest.raises(ValueError, match="Received: scale="):
        carn(scale)
