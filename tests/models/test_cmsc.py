import inspect
import itertools
import re
import shlex
from pathlib import Path

import keras
import numpy as np
import pytest

from tfsr.graph.graph import inline
from tfsr.layers import GroupedConv2D
from tfsr.models import (
    MODELS,
    cmsc,
    pmsc,
    scales,
    stages,
    supervision_weights,
    vdsr,
)
from tfsr.training import read_config

CONFIGS = Path(__file__).parents[2] / "configs" / "cmsc"


def depth(model):
    """The most convolutions on a way from the input to the output."""
    graph = inline(model)
    depths = {id(x): 0 for x in graph.inputs}
    for node in graph.nodes:
        own = isinstance(node.operation, GroupedConv2D)
        longest = max(depths[id(x)] for x in node.input_tensors) + own
        depths.update({id(x): longest for x in node.outputs})
    return max(depths[id(x)] for x in graph.outputs)


@pytest.mark.parametrize(("count", "modules"), [(3, 5), (1, 5), (4, 5), (3, 2)])
def test_depth_is_that_of_equation_9(count, modules):
    model = cmsc(stages=count, modules=modules, filters=2)
    assert depth(model) == (2 * modules + 1) * count + 2


def test_a_stage_predicts_from_its_own_features():
    depths = {name: depth(stage) for name, stage in stages(cmsc(filters=2)).items()}
    modules = 5  # equation (6): D_q lies (2 M + 1) q + 1 convolutions deep
    assert depths == {f"stage_{q}": (2 * modules + 1) * q + 2 for q in (1, 2, 3)}


def test_depths_of_the_others():
    assert depth(cmsc()) == 35
    assert depth(vdsr()) == 20
    assert depth(pmsc(filters=2)) == 32
    assert depth(pmsc(modules=4, filters=2)) == 10


def weights_of_modules(kernel_sizes, filters=64):
    taps = sum(2 * size**2 for size in kernel_sizes)
    return taps * filters**2 + 4 * 3 * filters  # bias, scale and offset


@pytest.mark.parametrize("kernel_sizes", [(3, 3), (5, 5), (3, 5), (3, 7)])
def test_parameters_of_the_modules_of_fig_4(kernel_sizes):
    model = pmsc(modules=4, kernel_sizes=kernel_sizes, residual_features=False)
    head, tail = (9 + 3) * 64, 9 * 64 + 1
    expected = head + 4 * weights_of_modules(kernel_sizes) + tail
    assert count(model) == expected


def test_parameters_of_the_variants():
    stage = (9 * 64 + 3) * 64 + 5 * weights_of_modules((3, 5))
    head, tail = (9 + 3) * 64, 9 * 64 + 1
    assert count(cmsc()) == head + 3 * (stage + tail) + 3
    assert count(cmsc(reconstruction="shared")) == head + 3 * stage + tail + 3
    assert count(cmsc(supervision="last")) == head + 3 * stage + tail
    assert count(vdsr()) == (9 + 1) * 64 + 18 * (9 * 64 + 1) * 64 + tail


def count(model):
    return sum(np.prod(w.shape) for w in model.trainable_weights)


@pytest.mark.parametrize(
    ("builder", "arguments"),
    [(cmsc, {"start": "paper"}), (pmsc, {"start": "paper"}), (vdsr, {})],
)
def test_convolutions_start_from_he_s_values(builder, arguments):
    for weight in builder(**arguments).trainable_weights:
        kernel = np.asarray(weight)
        if kernel.ndim == 4:
            expected = np.sqrt(2 / np.prod(kernel.shape[:3]))
            assert kernel.std() == pytest.approx(expected, rel=4 / kernel.size**0.5)
        elif weight.name == "bias":
            assert not kernel.any()


def test_stages_start_at_equal_weights_and_are_averaged():
    model = cmsc(stages=3, modules=1, filters=4)
    lr = np.random.default_rng(0).random((1, 6, 7, 1), "float32")
    sr = model(lr)
    predictions = [sr[f"stage_{q}"] for q in (1, 2, 3)]
    np.testing.assert_allclose(sr["sr"], np.mean(predictions, axis=0), atol=1e-5)


def test_global_residual():
    model = cmsc(stages=1, modules=1, filters=4, supervision="last")
    lr = np.random.default_rng(0).random((1, 6, 7, 1), "float32")
    model.get_layer("tail").set_weights([np.zeros((3, 3, 4, 1)), np.zeros(1)])
    np.testing.assert_array_equal(model(lr), lr)


def test_residual_features_carry_the_stage_s_input():
    kwargs = {"stages": 1, "modules": 1, "filters": 4, "supervision": "last"}
    kwargs["start"] = "paper"  # whose features show in the output
    lr = np.random.default_rng(0).random((1, 6, 7, 1), "float32")
    with_them = cmsc(**kwargs)
    without = cmsc(residual_features=False, **kwargs)
    without.set_weights(with_them.get_weights())
    head = with_them.get_layer("head")(lr)
    features = keras.ops.leaky_relu(head, 0.2)
    tail = with_them.get_layer("tail")
    difference = tail(features) - tail(keras.ops.zeros_like(features))
    np.testing.assert_allclose(with_them(lr) - without(lr), difference, atol=1e-5)


@pytest.mark.parametrize("builder", [cmsc, pmsc, vdsr])
def test_scales_are_known_by_the_input(builder):
    small = {"filters": 2}
    assert scales(builder(**small)) == (2, 3, 4)
    assert scales(builder(scale=3, **small)) == (3,)
    for wrong in (5, 2.0, (), (2, 2), (2, "a")):
        with pytest.raises(ValueError, match=re.escape(f"Received: scale={wrong}.")):
            builder(scale=wrong, **small)
    with pytest.raises(ValueError, match="Received: channels=3"):
        builder(channels=3, **small)


@pytest.mark.parametrize(
    "wrong",
    [
        {"supervision": "all"},
        {"reconstruction": "none"},
        {"stages": 0},
        {"start": "none"},
    ],
)
def test_wrong_arguments(wrong):
    ((name, value),) = wrong.items()
    with pytest.raises(ValueError, match=f"Received: {name}={value}"):
        cmsc(**wrong)


def test_supervision_weights_are_those_of_equation_8():
    weights = supervision_weights(["sr", "stage_1", "stage_2", "stage_3"])
    assert weights == pytest.approx(
        {"sr": 0.4, "stage_1": 0.2, "stage_2": 0.2, "stage_3": 0.2}
    )


CASCADE = {
    "name": "cmsc",
    **{"stages": 3, "modules": 5, "kernel_sizes": (3, 5), "residual_features": True},
    **{"supervision": "cascaded", "reconstruction": "own", "start": "paper"},
}
FIG_4 = {"name": "pmsc", "modules": 4, "residual_features": False, "start": "paper"}
NETWORKS = {
    "cmsc": CASCADE,
    "cmsc_sr": {**CASCADE, "reconstruction": "shared"},
    "cmsc_ns": {**CASCADE, "supervision": "last"},
    "cmsc_nrs": {**CASCADE, "supervision": "last", "residual_features": False},
    "pmsc": {**FIG_4, "modules": 15, "kernel_sizes": (3, 5), "residual_features": True},
    "mr_l3r3": {**FIG_4, "kernel_sizes": (3, 3)},
    "mr_l5r5": {**FIG_4, "kernel_sizes": (5, 5)},
    "msc_l3r5": {**FIG_4, "kernel_sizes": (3, 5)},
    "msc_l3r7": {**FIG_4, "kernel_sizes": (3, 7)},
    "vdsr": {"name": "vdsr", "layers": 20},
}
PARTS_OF_T91 = 4_513  # 41x41 without overlap, of the images and of both shrunk copies
PARTS_OF_BSD200 = 200 * (7 * 11 + 5 * 8 + 3 * 5)  # of 321x481, and shrunk


@pytest.mark.parametrize(("name", "network"), NETWORKS.items(), ids=NETWORKS)
def test_configs_have_the_paper_s_settings(name, network):
    config = read_config(CONFIGS / f"{name}.toml")
    everywhere = {"scale": (2, 3, 4), "filters": 64, "channels": 1}
    assert whole(config.model) == {**everywhere, **network}
    of_291 = name in ("cmsc", "cmsc_sr", "vdsr")  # Table III; the rest is analysis
    folders = ["data/train/T91", "data/train/BSD200"][: 1 + of_291]
    assert (config.data.train, config.data.downscale) == (folders, [0.7, 0.5])
    assert_trained_as_printed(config.train, PARTS_OF_T91 + of_291 * PARTS_OF_BSD200)


def test_every_config_is_known():
    assert {file.stem for file in CONFIGS.glob("*.toml")} == set(NETWORKS)


def test_vdsr_of_fig_5_trains_like_its_neighbours():
    header = (CONFIGS / "vdsr.toml").read_text().replace("\\\n#", "")
    words = shlex.split(re.search("^# (tfsr .* --set .*)", header, re.M)[1])
    overrides = [word for flag, word in itertools.pairwise(words) if flag == "--set"]
    vdsr = read_config(CONFIGS / "vdsr.toml", overrides)
    neighbour = read_config(CONFIGS / "msc_l3r5.toml")
    assert (vdsr.data, vdsr.train) == (neighbour.data, neighbour.train)


def whole(table):
    """Returns a config's `[model]` with its builder's defaults."""
    parameters = inspect.signature(MODELS[table["name"]]).parameters
    defaults = {key: parameter.default for key, parameter in parameters.items()}
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    return defaults | given


def assert_trained_as_printed(train, parts):
    steps = parts * 8 * 3 / train.batch  # eight turns, three scales
    assert train.steps_per_epoch == pytest.approx(steps, rel=0.01)
    assert (train.epochs, train.batch, train.patch) == (50, 32, 41)
    assert (train.optimizer, train.learning_rate) == ("sgd", 0.1)
    every = 10 * train.steps_per_epoch
    assert train.schedule == {"name": "step", "every": every, "factor": 0.1}
    assert (train.loss, train.l2_penalty, train.weight_decay) == ("l2_sum", 1e-4, None)
    # of all gradients together, where the paper has each
    assert (train.clip_norm, train.clip_value) == (0.4, None)
