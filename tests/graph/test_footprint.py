import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsr.graph.complexity import mult_adds
from tfsr.graph.footprint import (
    alignment,
    kernel_taps,
    receptive_radius,
    working_values,
)
from tfsr.layers import CONVS, MultiScaleConv2D
from tfsr.models import (
    carn,
    carn_m,
    cmsc,
    ms3_carn,
    scn,
    scn_pspnet,
    scn_unet,
    single_scale,
    srresnet,
    vdsr,
    with_levels,
)
from tfsr.upscaling.tiling import bands


def test_carn_radius_is_the_sum_of_its_kernels():
    # head and upsampler 1 each, 9 units of two 3x3 convolutions, tail at HR
    assert receptive_radius(carn_m(2, filters=8)) == int(np.ceil(1 + 18 + 1 + 1 / 2))
    assert receptive_radius(carn_m(4, filters=8)) == int(
        np.ceil(1 + 18 + 1 + 1 / 2 + 1 / 4)
    )


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_pixels_beyond_the_radius_change_nothing(scale):
    model = carn(scale=scale, filters=8, blocks=1, units=1)
    radius = receptive_radius(model)
    size = 2 * radius + 7
    lr = np.random.default_rng(0).random((1, size, size, 3), np.float32)
    changed = lr.copy()
    changed[:, 0] += 1
    difference = np.abs(model(lr) - model(changed)).max(axis=(0, 2, 3))
    touched = np.flatnonzero(difference)[-1] // scale
    assert touched <= radius
    assert touched >= radius - 1


def farthest(model, scale, radius, step):
    """How far a change of one pixel is seen, at every place on the coarsest grid."""
    size = -(-(2 * radius + 3 * step) // step) * step
    lr = np.random.default_rng(0).random((1, size, size, 3), np.float32)
    before = np.asarray(model(lr))
    places = np.arange(step) + size // 2 // step * step
    changed = np.repeat(lr, step, axis=0)
    changed[np.arange(step), places, places] += 100
    differences = np.abs(model(changed) - before).max(axis=(2, 3))
    rounding = 1e-6 * np.abs(before).max()  # differs by place on some processors
    reach = 0
    for place, difference in zip(places, differences, strict=True):
        rows = np.flatnonzero(difference > rounding) // scale
        reach = max(reach, place - rows[0], rows[-1] - place)
    return reach


# Only what reads averages of stride 1 or every second pixel is not followed exactly.
@pytest.mark.parametrize(
    ("builder", "conv", "levels", "scale", "excess"),
    [
        *((srresnet, conv, None, 2, 0) for conv in CONVS if "w_d2" not in conv),
        (srresnet, "w_d2", None, 2, 1),
        (srresnet, "w_d2_d2u2", None, 2, 0),
        (srresnet, "pool_w_d2_d2u2", None, 2, 9),
        (srresnet, "ms3", 3, 3, 0),
        (srresnet, "ms2", 2, 4, 0),
        (ms3_carn, "ms3", 2, 3, 0),
        (ms3_carn, "multigrid", 3, 2, 0),
    ],
)
def test_radius_across_levels(builder, conv, levels, scale, excess):
    keras.utils.set_random_seed(0)
    sizes = {"units": 1} if builder is ms3_carn else {}
    model = builder(scale, conv, levels, filters=8, blocks=1, **sizes)
    radius = receptive_radius(model)
    seen = farthest(model, scale, radius, alignment(model))
    assert seen <= radius <= seen + excess


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize(
    ("builder", "arguments"),
    [
        (vdsr, {"layers": 4, "filters": 8}),
        (cmsc, {"stages": 2, "modules": 1, "filters": 4}),
    ],
)
def test_radius_through_the_bicubic_enlargement(builder, arguments, scale):
    keras.utils.set_random_seed(0)
    model = single_scale(builder(scale=scale, **arguments), scale)
    radius = receptive_radius(model)
    seen = farthest(model, scale, radius, alignment(model))
    assert alignment(model) == 1
    assert seen <= radius <= seen + 1


def with_three_levels(scale=2, **arguments):
    return with_levels(scn(scale, levels=2, **arguments), 3)


def _name(value):
    """The name of a test's value: a function's own, the same in every process."""
    return getattr(value, "__name__", str(value))


SCNS = [  # and the grid they repeat on
    (with_three_levels, {"blocks": 2}, 4),
    (scn, {"levels": 2, "blocks": 2}, 2),
    (scn, {"blocks": 2}, 4),
    (scn, {"blocks": 2, "resampling": "average", "scale": 1}, 4),
    (scn, {"blocks": 2, "resampling": "conv", "level_kernel_size": 5}, 4),
    (scn, {"blocks": 2, "ratio": "2/3", "scale": 3}, 9),
    (scn, {"blocks": 2, "ratio": "3/4"}, 16),
    (scn_unet, {"blocks": 4}, 2),
    (scn_pspnet, {"blocks": 2, "levels": 3}, 4),
]


@pytest.mark.parametrize(("builder", "arguments", "step"), SCNS, ids=_name)
def test_radius_across_the_levels_of_scn(builder, arguments, step):
    keras.utils.set_random_seed(0)
    model = builder(filters=4, **arguments)
    assert alignment(model) == step
    radius = receptive_radius(model)
    seen = farthest(model, arguments.get("scale", 2), radius, step)
    assert seen <= radius <= seen + 2 * step


@pytest.mark.parametrize(("builder", "arguments", "step"), SCNS, ids=_name)
def test_tiles_of_scn_equal_the_whole(builder, arguments, step):
    keras.utils.set_random_seed(0)
    model = builder(filters=4, **arguments)
    scale = arguments.get("scale", 2)
    overlap = -(-receptive_radius(model) // step) * step
    tile = 2 * overlap + 2 * step
    shape = (tile + 3 * step, 2 * tile - step, 3)
    lr = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    def enlarge(x):
        return np.asarray(model(x[None])[0])

    parts = bands(enlarge, scale, [lr], tile, overlap, step)
    whole = enlarge(lr.astype(np.float32) / 255)
    np.testing.assert_allclose(np.concatenate(list(parts)), whole, atol=1e-4)


@pytest.mark.parametrize(
    "arguments",
    [
        {"down": "max", "up": "bilinear"},
        {"down": "nearest", "down_first": False},
        {"up": "bilinear", "up_first": True},
        {"kernel_size": 5, "path_kernel_size": 1},
    ],
    ids=_name,
)
def test_radius_of_every_resampling(arguments):
    keras.utils.set_random_seed(0)
    lr = keras.Input((None, None, 3))
    x = MultiScaleConv2D((4, 4, 4), **arguments)([lr])
    x = MultiScaleConv2D((4, 4, 4), **arguments)(x)
    model = keras.Model(lr, MultiScaleConv2D((3,), **arguments)(x)[0])
    radius = receptive_radius(model)
    assert alignment(model) == 4
    seen = farthest(model, 1, radius, 4)
    assert seen <= radius
    # a bilinear kernel is taken to read pixels on both sides of its own
    assert radius <= seen + (12 if arguments.get("up") == "bilinear" else 4)


@pytest.mark.parametrize(
    ("arguments", "step"),
    [
        ({}, 1),
        ({"conv": "ms3"}, 2),
        ({"conv": "ms3", "levels": 4, "scale": 3}, 8),
        ({"conv": "w_d2"}, 2),
    ],
)
def test_alignment_is_the_coarsest_pixel(arguments, step):
    assert alignment(srresnet(filters=8, blocks=1, **arguments)) == step


def test_levels_cost_by_their_resolution():
    lr = keras.Input((None, None, 4))
    x = MultiScaleConv2D((4, 4, 4))([lr])
    model = keras.Model(lr, MultiScaleConv2D((4,), 3, up_first=True)(x)[0])
    kernel = 9 * 4 * 4
    # split: at 1, 1/4 and 1/16; aggregated after upsampling, so all at 1
    assert mult_adds(model, 16, 32) == kernel * 16 * 32 * (1 + 1 / 4 + 1 / 16 + 3)
    assert kernel_taps(model) == int(9 * (1 + 1 / 4 + 1 / 16 + 3))
    # the two enlarged maps, one convolution's input and output
    assert working_values(model) >= 4 * 4


def test_working_values_cover_the_largest_step():
    # the shuffle to 64 channels at x4 holds its input and its output
    assert working_values(carn_m(scale=4)) >= 2 * 64 * 16
    assert working_values(carn_m(scale=4)) > working_values(carn_m(scale=2))


def test_maps_whose_sides_only_a_run_tells_are_counted():
    lr = keras.Input((None, None, 3))
    twice = keras.layers.Lambda(lambda x: tf.image.resize(x, 2 * tf.shape(x)[1:3]))
    assert working_values(keras.Model(lr, twice(lr))) == 3 + 3 * 4


def test_taps_count_kernels_at_their_resolution():
    model = carn(scale=4, filters=8, blocks=1, units=1)
    # head and unit at LR, two of the upsampler at 1 and 4 times, tail at 16 times
    assert kernel_taps(model) == 9 * (1 + 2 + 1 + 4 + 16)
