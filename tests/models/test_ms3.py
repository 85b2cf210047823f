"""SRResNet and CARN of the MS3-Conv paper."""

from pathlib import Path

import keras
import numpy as np
import pytest

import networks
from tfsr.graph.complexity import mult_adds, params
from tfsr.layers import CONVS, MultiScaleConv2D
from tfsr.models import carn, ms3_carn, scales, srresnet
from tfsr.training import build_model, read_config

CONFIGS = Path(__file__).parents[2] / "configs" / "ms3"
MEAN = np.array([0.4488, 0.4371, 0.4040], "float32")


def small(builder, conv="ms3", scale=2, **kwargs):
    return networks.small(builder, scale, conv=conv, **kwargs)


def random_lr(*shape):
    return np.random.default_rng(0).random(shape, dtype="float32")


@pytest.mark.usefixtures("shapes_alone")
# Tables 2, 3 and 4, in 1e9 and 1e6, for an LR image of 128x128. The paper rounds some
# parameters and cuts others off (MS3-Conv is 0.51 in Table 3 and 0.52 in Table 4).
@pytest.mark.parametrize(
    ("config", "mult_adds_g", "params_m"),
    [
        ("srresnet_standard", 42.76, 1.59),
        ("srresnet_ms", 16.70, 0.82),
        ("srresnet_ms2_without_lh", 18.74, 1.21),
        ("srresnet_ms2_without_hl", 18.74, 1.21),
        ("srresnet_ms2", 20.78, 1.59),
        ("srresnet_1_branch", 25.85, 0.56),
        ("srresnet_ms3", 17.16, (0.51, 0.52)),
        ("srresnet_ms3_3_levels", 18.19, 0.71),
        ("srresnet_ms3_4_levels", 18.48, 1.00),
        ("srresnet_ms3_plus", 28.98, 1.19),
        ("carn_standard", 35.51, 1.15),
        ("carn_ms3", 15.06, 0.45),
        ("carn_ms3_plus", 23.32, 1.03),
        # Fig. 5: 16.70 of MS, and two 3x3 paths a convolution of eight of the blocks
        ("srresnet_ms_ms2_8", 17.91, None),
        # Section 3.3: "the same computational complexity" as W_d=1, the standard
        ("srresnet_w_d2", 42.76, None),
        ("srresnet_w_d2_shared", 42.76, None),
        ("srresnet_w_d2_d2u2", 42.76, None),
        ("srresnet_pool_w_d2_d2u2", 42.76, None),
    ],
)
def test_figures_of_the_paper(config, mult_adds_g, params_m):
    file = CONFIGS / f"{config}.toml"
    model = build_model(read_config(file).model, file)
    assert round(mult_adds(model, 128, 128) / 1e9, 2) == mult_adds_g
    if params_m is not None:
        error = np.abs(params(model) / 1e6 - np.array(params_m))
        assert (error < 0.01).all()


@pytest.mark.usefixtures("shapes_alone")
def test_carn_has_one_more_convolution_than_its_authors():
    ours, theirs = ms3_carn(4), carn(4)
    more = 9 * 64 * 64
    assert params(ours) - params(theirs) == more + 64
    difference = mult_adds(ours, 6, 5) - mult_adds(theirs, 6, 5)
    assert difference == more * 24 * 20


def test_every_config_has_the_paper_s_settings():
    files = sorted(CONFIGS.glob("*.toml"))
    assert len(files) == 21
    for file in files:
        config = read_config(file)
        train, scale = config.train, config.model["scale"]
        assert (scale, train.patch * scale, train.batch) == (4, 128, 16)
        assert train.epochs * train.steps_per_epoch == 1_000_000
        assert train.learning_rate == 2e-4
        assert train.schedule == {"name": "halve", "every": 250_000}
        assert (train.optimizer, train.loss) == ("adam", "l1")


@pytest.mark.parametrize("builder", [srresnet, ms3_carn])
@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("conv", ["standard", "ms3"])
def test_every_scale(builder, conv, scale):
    model = small(builder, conv, scale)
    assert scales(model) == (scale,)
    assert model(random_lr(1, 7, 9, 3)).shape == (1, 7 * scale, 9 * scale, 3)


@pytest.mark.parametrize(
    ("conv", "levels"),
    [("ms2", 2), ("ms3", 3), ("ms3", 4), ("multigrid", 3), ("w_d2_d2u2", None)],
)
def test_odd_sizes_are_padded_and_cropped(conv, levels):
    model = small(srresnet, conv, scale=3, levels=levels)
    multiple = 2 ** ((levels or 2) - 1)
    for h, w in ((9, 13), (1, 6)):
        x = random_lr(2, h, w, 3)
        missing = ((0, 0), (0, -h % multiple), (0, -w % multiple), (0, 0))
        expected = model(np.pad(x, missing, mode="edge"))[:, : 3 * h, : 3 * w]
        np.testing.assert_allclose(model(x), expected, atol=1e-6)


def relu(levels):
    return [np.maximum(x, 0) for x in levels]


def shuffle(levels):
    return [keras.ops.depth_to_space(x, 2) for x in levels]


def added(x, y):
    return [a + b for a, b in zip(x, y, strict=True)]


def test_srresnet_by_hand():
    model = small(srresnet)
    lr = random_lr(1, 6, 8, 3)
    layer = model.get_layer
    x = skip = relu(layer("head")([lr - MEAN]))
    assert [y.shape for y in x] == [(1, 6, 8, 4), (1, 3, 4, 4)]
    x = added(x, layer("block_0_conv_1")(relu(layer("block_0_conv_0")(x))))
    x = added(skip, layer("body_conv_1")(relu(layer("body_conv_0")(x))))
    x = shuffle(relu(layer("upsampler_0")(x)))
    (x,) = relu(layer("hr")(x))
    assert x.shape == (1, 12, 16, 8)
    np.testing.assert_allclose(model(lr), layer("tail")(x) + MEAN, atol=1e-5)


def test_carn_by_hand():
    model = small(ms3_carn)
    lr = random_lr(1, 6, 8, 3)
    layer = model.get_layer

    def fused(name, *maps):
        together = [np.concatenate(levels, -1) for levels in zip(*maps, strict=True)]
        return relu(layer(name)(together))

    h0 = layer("head")([lr - MEAN])
    unit = relu(layer("block_0_unit_0_conv_0")(h0))
    unit = relu(added(h0, layer("block_0_unit_0_conv_1")(unit)))
    block = fused("block_0_unit_0_fuse", h0, unit)
    x = fused("block_0_fuse", h0, block)
    x = shuffle(relu(layer("upsampler_0")(x)))
    (x,) = relu(layer("hr")(x))
    np.testing.assert_allclose(model(lr), layer("tail")(x) + MEAN, atol=1e-5)


def test_standard_carn_is_carn_with_one_more_convolution():
    ours = small(ms3_carn, "standard")
    theirs = carn(2, filters=8, blocks=1, units=1)
    identity = np.zeros((3, 3, 8, 8))
    identity[1, 1] = np.eye(8)
    ours.get_layer("hr").set_weights([identity, np.zeros(8)])
    pairs = {
        "head": theirs.get_layer("head"),
        "block_0_unit_0_conv_0": theirs.get_layer("block_0").residuals[0].conv_0,
        "block_0_unit_0_conv_1": theirs.get_layer("block_0").residuals[0].conv_1,
        "block_0_unit_0_fuse": theirs.get_layer("block_0").fuses[0],
        "block_0_fuse": theirs.get_layer("fuse_0"),
        "upsampler_0": theirs.get_layer("upsampler_x2").convs[0],
        "tail": theirs.get_layer("tail"),
    }
    for name, layer in pairs.items():
        layer.set_weights(ours.get_layer(name).get_weights())
    lr = random_lr(1, 5, 7, 3)
    np.testing.assert_allclose(ours(lr), theirs(lr), atol=1e-5)


@pytest.mark.parametrize(
    ("builder", "conv"),
    [(ms3_carn, "ms3"), *((srresnet, c) for c in ("multigrid", "w_d2_shared", "unet"))],
)
def test_one_step_reaches_every_weight(check_step, builder, conv):
    model = small(builder, conv, scale=4)
    check_step(model, random_lr(4, 8, 8, 3), random_lr(4, 32, 32, 3))


@pytest.mark.parametrize(
    ("builder", "conv"), [(ms3_carn, "ms3"), *((srresnet, conv) for conv in CONVS)]
)
def test_saved_and_reloaded(check_saved, builder, conv):
    check_saved(small(builder, conv), random_lr(1, 5, 7, 3))


@pytest.mark.parametrize("builder", [srresnet, ms3_carn])
def test_a_convolution_for_each_block(builder):
    mixed = small(builder, ["ms", "ms2"], blocks=2)
    ms, ms2 = (small(builder, conv, blocks=2) for conv in ("ms", "ms2"))

    def paths(model):
        layers = {x.name: x for x in model.layers if isinstance(x, MultiScaleConv2D)}
        return {name: layer.paths for name, layer in layers.items()}

    expected = {
        name: paths(ms2 if name.startswith("block_1_") else ms)[name]
        for name in paths(ms)
    }
    if builder is ms3_carn:  # what joins the blocks is no part of them
        expected["block_1_fuse"] = "none"
    assert paths(mixed) == expected
    assert params(ms) < params(mixed) < params(ms2)
    assert mixed(random_lr(1, 5, 6, 3)).shape == (1, 10, 12, 3)


@pytest.mark.parametrize("builder", [srresnet, ms3_carn])
@pytest.mark.parametrize("conv", ["standard", "ms3", "w_d2"])
def test_the_start_of_mmsr(builder, conv):
    model = small(builder, conv, start="mmsr", filters=32)
    lr = random_lr(2, 8, 8, 3)
    enlarged = keras.ops.image.resize(lr, (16, 16), interpolation="bilinear")
    difference = np.abs(model(lr) - enlarged)
    assert 0 < difference.max() < 0.01
    kernels = [w for w in model.trainable_weights if w.name == "kernel"]
    assert not any(np.any(w) for w in model.trainable_weights if w.name == "bias")
    for kernel in kernels:
        deviation = 0.1 * (2 / np.prod(kernel.shape[:3])) ** 0.5
        assert np.std(kernel) == pytest.approx(deviation, rel=0.15)


@pytest.mark.parametrize("builder", [srresnet, ms3_carn])
def test_grayscale(builder):
    model = small(builder, channels=1)
    assert model(random_lr(1, 5, 6, 1)).shape == (1, 10, 12, 1)


@pytest.mark.parametrize("builder", [srresnet, ms3_carn])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 5}, r"`scale` must be 2, 3 or 4\. Received: scale=5\."),
        ({"scale": (2, 3)}, r"`scale` must be .*Received: scale=\(2, 3\)\."),
        ({"scale": 2.0}, r"`scale` must be .*Received: scale=2\.0\."),
        ({"scale": True}, r"`scale` must be .*Received: scale=True\."),
        ({"channels": 4}, r"`channels` must be 1 or 3\. Received: channels=4\."),
        ({"filters": 0}, r"`filters` must be a positive .*filters=0\."),
        (
            {"filters": 7, "conv": "octave", "blocks": 1},
            r"`filters` must divide .*filters=7, conv=",
        ),
        ({"filters": 7, "conv": "ms"}, r"`filters` must be even.*filters=7\."),
        ({"blocks": 1.5}, r"`blocks` must be a positive .*blocks=1\.5\."),
        ({"conv": "ms4"}, r"`conv` must be one of standard, .*conv=ms4\."),
        ({"conv": "ms3", "levels": 5}, r"`levels` must be 1 to 4.*levels=5\."),
        ({"levels": 2}, r"`levels` must be left out for standard.*levels=2\."),
        ({"conv": ["ms"], "blocks": 2}, r"one for each of the 2 blocks.*conv=\['ms'\]"),
        ({"conv": ["ms", "w_d2"], "blocks": 2}, r"the same levels in all blocks.*w_d2"),
        ({"start": "he"}, r"`start` must be one of \('carn', 'mmsr'\).*start=he\."),
    ],
)
def test_errors(builder, arguments, message):
    with pytest.raises(ValueError, match=message):
        builder(**arguments)


def test_units_of_carn():
    with pytest.raises(ValueError, match=r"`units` must be .*Received: units=0\."):
        ms3_carn(units=0)
