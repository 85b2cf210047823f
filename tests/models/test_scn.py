"""SCN and the networks that its paper compares with."""

from pathlib import Path

import keras
import numpy as np
import pytest

import networks
from tfsr.data import Bicubic
from tfsr.graph.complexity import mult_adds, params
from tfsr.models import carn, scales, scn, scn_pspnet, scn_unet, with_levels
from tfsr.training import build_model, read_config

CONFIGS = Path(__file__).parents[2] / "configs"
BUILDERS = {"scn": scn, "scn_unet": scn_unet, "scn_pspnet": scn_pspnet}


def small(builder=scn, scale=2, **arguments):
    return networks.small(builder, scale, blocks=4, **arguments)


def random_lr(*shape):
    return np.random.default_rng(0).random(shape, dtype="float32")


def convolved(x, layer):
    return np.asarray(layer(x))


BLOCK, PATH = 74_048, 1_088  # two 3x3 convolutions 32 -> 128 -> 32; a pointwise one
ENDS = 928 + 3_480 + 924  # head, tail and skip at x2
BENCHMARK = {"filters": 64, "blocks": 64}  # of super-resolution
BENCHMARK_BODY = 64 * 295_552 + 127 * 4_224


@pytest.mark.usefixtures("shapes_alone")
@pytest.mark.parametrize(
    ("builder", "arguments", "expected", "printed"),
    [
        # the authors' README, and Table 5 in millions
        (scn, {"levels": 1}, 1_190_100, "1.2"),
        (scn, {"levels": 1, "scale": 3}, 1_195_605, "1.2"),
        (scn, {"levels": 1, "scale": 4}, 1_203_312, "1.2"),
        (scn, {"levels": 2}, 1_190_100 + 31 * PATH, "1.2"),
        (scn, {"levels": 5}, 1_190_100 + 31 * PATH, "1.2"),
        (scn, {"levels": 2, "shared": False, "width": 2}, 1_224_852, "1.2"),
        (scn, {"levels": 2, "shared": False, "width": 3.5}, 2_112_660, "2.1"),
        # Table 4, "almost the same"
        (scn, {"levels": 2, "blocks": 8}, ENDS + 8 * BLOCK + 15 * PATH, "0.6"),
        (scn_unet, {}, ENDS + 8 * BLOCK + 2 * PATH, "0.6"),
        (scn_pspnet, {}, ENDS + 8 * BLOCK + 9 * 32 * 12, "0.6"),
        # Table 6
        (scn, {"resampling": "average"}, 1_190_100 + 31 * PATH, "1.2"),
        (scn, {"resampling": "conv"}, 1_322_132, "1.3"),
        # Table 1, and the gray networks of Tables 2 and 3, which print no parameters
        (scn, BENCHMARK, BENCHMARK_BODY + 1_856 + 6_936 + 924, "19.5"),
        (scn, {**BENCHMARK, "scale": 3}, BENCHMARK_BODY + 19_541, "19.5"),
        (scn, {**BENCHMARK, "scale": 4}, BENCHMARK_BODY + 33_296, "19.5"),
        (scn, {"scale": 1, "channels": 1, "blocks": 8}, 609_346, "0.6"),
        # kernel size 5 along the levels; gray restoration
        (scn, {"level_kernel_size": 5}, 1_190_100 + 62 * PATH, "1.3"),
        (scn, {"scale": 1, "channels": 1}, 352 + 16 * BLOCK + 31 * PATH + 290, "1.2"),
    ],
)
def test_parameters(builder, arguments, expected, printed):
    model = builder(**arguments)
    assert params(model) == expected
    assert f"{expected / 1e6:.1f}" == printed


def test_levels_cost_by_their_resolution():
    model = small(levels=2)
    ends = 9 * 3 * 8 + 9 * 8 * 12 + 25 * 3 * 12
    block, path = 2 * 9 * 8 * 32, 8 * 8
    # down to and up from the level of a quarter of the pixels; the last one only up
    expected = ends + 4 * block * (1 + 1 / 4) + 7 * path / 4
    assert mult_adds(model, 16, 24) == expected * 16 * 24


@pytest.mark.parametrize("builder", BUILDERS.values(), ids=BUILDERS)
@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_scale_and_color(builder, scale, channels):
    model = small(builder, scale, channels=channels)
    assert scales(model) == (scale,)
    assert model.input.name == f"lr_x{scale}"
    sr = model(random_lr(1, 7, 9, channels))
    assert sr.shape == (1, 7 * scale, 9 * scale, channels)


@pytest.mark.parametrize(
    ("builder", "arguments", "multiple"),
    [(scn, {}, 4), (scn, {"levels": 4}, 8), (scn_unet, {}, 2), (scn_pspnet, {}, 2)],
)
def test_odd_sizes_are_padded_and_cropped(builder, arguments, multiple):
    model = small(builder, **arguments)
    for h, w in ((9, 13), (1, 6)):
        x = random_lr(2, h, w, 3)
        missing = ((0, 0), (0, -h % multiple), (0, -w % multiple), (0, 0))
        expected = model(np.pad(x, missing, mode="edge"))[:, : 2 * h, : 2 * w]
        np.testing.assert_allclose(model(x), expected, atol=1e-5)


@pytest.mark.parametrize("ratio", ["2/3", "3/4"])
def test_other_ratios_at_any_size(ratio):
    model = small(ratio=ratio, levels=5)
    for h, w in ((9, 13), (1, 6), (16, 18)):
        assert model(random_lr(1, h, w, 3)).shape == (1, 2 * h, 2 * w, 3)


def test_one_level_is_the_baseline():
    """WDSR, written out: residual blocks, wide before the activation."""
    model = small(levels=1)
    layer = model.get_layer
    lr = random_lr(1, 6, 7, 3)
    x = convolved(lr - 0.5, layer("head"))
    for block in layer("body").blocks:
        wide = np.maximum(convolved(x, block.expand[0]), 0)
        x = x + convolved(wide, block.conv.within[0])
    x = convolved(x, layer("tail")) + convolved(lr - 0.5, layer("skip"))
    expected = keras.ops.depth_to_space(x, 2) + 0.5
    np.testing.assert_allclose(model(lr), expected, atol=1e-4)


def test_restoration_adds_to_the_image():
    model = small(scale=1, channels=1)
    names = {layer.name for layer in model.layers}
    assert not names & {"skip", "add_mean", "depth_to_space"}
    tail = model.get_layer("tail")
    tail.set_weights([np.ones_like(tail.direction), np.zeros(1), np.full(1, 0.25)])
    lr = random_lr(1, 7, 9, 1)
    np.testing.assert_allclose(model(lr), lr + 0.25, atol=1e-6)


def test_unet_by_hand():
    model = small(scn_unet)
    layer = model.get_layer
    lr = random_lr(1, 6, 8, 3)

    def block(x, b):
        wide = np.maximum(convolved(x, layer(f"block_{b}").expand[0]), 0)
        return x + convolved(wide, layer(f"block_{b}").conv.within[0])

    fine = block(convolved(lr - 0.5, layer("head")), 0)
    coarse = convolved(fine.reshape(1, 3, 2, 4, 2, 8).mean((2, 4)), layer("down_conv"))
    coarse = convolved(block(block(coarse, 1), 2), layer("up_conv"))
    up = keras.ops.image.resize(coarse, (6, 8))
    x = convolved(block(fine + np.asarray(up), 3), layer("tail"))
    x = x + convolved(lr - 0.5, layer("skip"))
    expected = keras.ops.depth_to_space(x, 2) + 0.5
    np.testing.assert_allclose(model(lr), expected, atol=1e-4)


def test_pspnet_by_hand():
    model = small(scn_pspnet, levels=3)
    layer = model.get_layer
    lr = random_lr(1, 8, 12, 3)
    x = np.asarray(layer("head")(lr - 0.5))
    levels = [x]
    for s in (1, 2):
        levels.append(x.reshape(1, 8 >> s, 1 << s, 12 >> s, 1 << s, 8).mean((2, 4)))
    features = []
    for s, y in enumerate(levels):
        for b in range(4):
            (y,) = layer(f"block_{b}")([y])
        for t in reversed(range(s)):
            y = keras.ops.image.resize(y, (8 >> t, 12 >> t))
        features.append(y)
    x = layer("tail")(np.concatenate(features, -1)) + layer("skip")(lr - 0.5)
    expected = keras.ops.depth_to_space(x, 2) + 0.5
    np.testing.assert_allclose(model(lr), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("levels", "ratio"), [(1, None), (2, None), (6, None), (4, "2/3"), (3, "3/4")]
)
def test_with_levels_is_the_network_of_those_levels(levels, ratio):
    model = small()
    other = with_levels(model, levels, ratio)
    twin = small(levels=levels, ratio=ratio or "1/2")
    if levels > 1:
        twin.set_weights(model.get_weights())
    else:  # has no weights between levels
        for ours, theirs in zip(twin.layers, other.layers, strict=True):
            if ours.name in ("head", "tail", "skip"):
                ours.set_weights(theirs.get_weights())
        pairs = zip(
            twin.get_layer("body").blocks, model.get_layer("body").blocks, strict=True
        )
        for ours, theirs in pairs:
            ours.expand[0].set_weights(theirs.expand[0].get_weights())
            ours.conv.within[0].set_weights(theirs.conv.within[0].get_weights())
    lr = random_lr(1, 11, 14, 3)
    np.testing.assert_allclose(other(lr), twin(lr), rtol=1e-4, atol=1e-4)
    assert {id(w) for w in other.weights} == {id(w) for w in model.weights}


def test_with_levels_lasts_and_saves(tmp_path):
    other = with_levels(small(scale=3), 4, "2/3")
    other.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    lr = random_lr(1, 5, 7, 3)
    np.testing.assert_array_equal(reloaded(lr), other(lr))
    again = with_levels(with_levels(other, 2, "1/2"), 4, "2/3")
    np.testing.assert_array_equal(again(lr), other(lr))


@pytest.mark.parametrize(
    "build",
    [
        lambda: small(levels=1),
        lambda: small(shared=False),
        lambda: small(levels=2, level_kernel_size=5),
        lambda: small(scn_unet),
        lambda: carn(2, filters=8, blocks=1, units=1),
    ],
)
def test_weights_that_serve_no_other_levels(build):
    with pytest.raises(ValueError, match=r"`model` must be an SCN .*Received: model="):
        with_levels(build(), 4)


def test_bad_levels():
    with pytest.raises(ValueError, match=r"`levels` must be .*Received: levels=0"):
        with_levels(small(), 0)
    with pytest.raises(ValueError, match=r"`ratio` must be .*Received: ratio=1/3"):
        with_levels(small(), 3, "1/3")
    with pytest.raises(ValueError, match=r"`ratio` must be .*Received: ratio=2/3"):
        with_levels(small(resampling="conv"), 3, "2/3")


@pytest.mark.parametrize(
    ("builder", "arguments"),
    [
        (scn, {}),
        (scn, {"shared": False, "levels": 4}),
        (scn, {"levels": 1}),
        (scn, {"resampling": "conv"}),
        (scn, {"ratio": "2/3", "level_kernel_size": 5}),
        (scn, {"levels": 7, "scale": 1}),
        (scn_unet, {}),
        (scn_pspnet, {}),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_one_step_reaches_every_weight(check_step, builder, arguments):
    arguments = {"scale": 2, **arguments}
    model = small(builder, gains="authors", **arguments)  # to the coarsest level
    side = 8 * arguments["scale"]
    check_step(model, random_lr(4, 8, 8, 3), random_lr(4, side, side, 3))


@pytest.mark.parametrize("builder", BUILDERS.values(), ids=BUILDERS)
def test_saved_and_reloaded(check_saved, builder):
    check_saved(small(builder), random_lr(1, 5, 7, 3))


@pytest.mark.parametrize("builder", BUILDERS.values(), ids=BUILDERS)
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 5}, r"`scale` must be 1, 2, 3 or 4\. Received: scale=5\."),
        ({"scale": (2, 3)}, r"`scale` must be .*Received: scale=\(2, 3\)\."),
        ({"scale": True}, r"`scale` must be .*Received: scale=True\."),
        ({"channels": 4}, r"`channels` must be 1 or 3\. Received: channels=4\."),
        ({"filters": 0}, r"`filters` must be a positive .*filters=0\."),
        ({"blocks": 0}, r"`blocks` must be a positive .*blocks=0\."),
        ({"width": 0.01}, r"`width` must give a whole .*width=0\.01"),
    ],
)
def test_errors(builder, arguments, message):
    with pytest.raises(ValueError, match=message):
        builder(**arguments)


def test_errors_of_one():
    with pytest.raises(ValueError, match=r"`levels` must be .*levels=0"):
        scn(levels=0)
    with pytest.raises(ValueError, match=r"`levels` must be .*levels=1\.5"):
        scn_pspnet(levels=1.5)
    with pytest.raises(ValueError, match=r"multiple of 4\. Received: blocks=6"):
        scn_unet(blocks=6)


def test_every_config_has_the_paper_s_settings():
    files = sorted((CONFIGS / "scn").glob("*.toml"))
    assert len(files) == 20
    images = {"sr": 800, "denoise": 400, "jpeg": 291}
    for file in files:
        config = read_config(file)
        train, model = config.train, config.model
        task, level, *variant = file.stem.split("_")
        if task == "sr":
            assert (config.data.task, f"x{model['scale']}") == (Bicubic(), level)
        elif task == "denoise":
            assert (config.data.task.sigma, model["scale"]) == (int(level), 1)
        else:
            assert (config.data.task.quality, model["scale"]) == (int(level), 1)
        assert variant or model["levels"] == 3  # ours
        assert model["gains"] == "authors"
        network = model["blocks"], model.get("filters", 32)
        allowed = {(8, 32), (16, 32)} if variant else {(64, 64)}
        assert network in ({(8, 32)} if task != "sr" else allowed)
        assert (train.batch, train.patch) == (16, 48)
        assert train.steps_per_epoch == images[task] * 1000 // train.batch
        assert (train.epochs, train.learning_rate) == (40, 1e-3)
        every, after = 3 * train.steps_per_epoch, 25 * train.steps_per_epoch
        assert train.schedule == {"name": "halve", "every": every, "after": after}
        assert (train.optimizer, train.loss) == ("adam", "l1")


@pytest.mark.usefixtures("shapes_alone")
@pytest.mark.parametrize("name", ["baseline", "unshared", "shared"])
def test_reduced_configs_differ_in_the_network_alone(name):
    ours, theirs = (
        read_config(CONFIGS / "scn_reduced" / f"sr_x2_{n}.toml")
        for n in (name, "baseline")
    )
    assert (ours.train, ours.data) == (theirs.train, theirs.data)
    assert ours.train.clip_norm is None  # what bites several levels alone is unfair
    ours, theirs = (params(build_model(c.model, c.source)) for c in (ours, theirs))
    assert abs(ours - theirs) < 0.03 * theirs
