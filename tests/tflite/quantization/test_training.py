import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

import tfsr
from networks import SIZES, small
from tfsr.cli import main
from tfsr.layers import FakeQuantize, SquareRoot
from tfsr.models import MODELS, carn_m, cmsc, scales, scn, single_scale
from tfsr.tflite import metadata
from tfsr.tflite.export import int8
from tfsr.tflite.lowering.engine import lower
from tfsr.tflite.lowering.rules import INT8_RULES, INT16_RULES
from tfsr.tflite.quantization.aware import (
    is_quantization_aware,
    quantization_aware,
    strip_fake_quantization,
)
from tfsr.tflite.quantization.observers import least_squares, min_max, observe
from tfsr.tflite.quantization.range_choice import choose_ranges
from tfsr.tflite.quantization.simulation import simulate
from tfsr.tflite.runtime import inspect
from tfsr.training.callbacks import read_log
from tfsr.upscaling.upscalers import KerasUpscaler

SMALL = SIZES["carn_m"]
TABLES = {
    "data": {"val_images": 1},
    "train": {"epochs": 3, "steps_per_epoch": 1, "learning_rate": 1e-2},
    "quantize": {"learn_ranges": 0.4},  # the first of two epochs and of three
}

TRAIN = """
import sys
from tfsr.cli import main
assert main(["quantize-train", *sys.argv[1:]]) in (None, 0)
"""

WITHOUT_TENSORFLOW = """
import sys
sys.modules["tensorflow"] = None  # to import it is now an error
"""

ON_TWO_DEVICES = """
import numpy as np
import tensorflow as tf
from tfsr.layers import FakeQuantize, SquareRoot
from tfsr.tflite.quantization import training

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)

class Compare(training.FreezeRanges):
    def on_train_end(self, logs=None):
        layers = [x for x in self.model.layers if isinstance(x, FakeQuantize)]
        for layer in layers:
            for weight in (layer.range, layer.frozen_range, layer.frozen):
                one, two = (value.numpy() for value in weight.value.values)
                np.testing.assert_array_equal(one, two)
        print(len(layers), "ranges are equal")

training.FreezeRanges = Compare
"""


def patches(channels=3):
    rng = np.random.default_rng(0)
    return [rng.random((12, 12, channels), np.float32) for _ in range(2)]


OTHERWISE = {"scn": {"scale": 1, "channels": 1}, "srresnet": {"conv": "ms2"}}


def test_every_model_is_here():
    assert SIZES.keys() == MODELS.keys()


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("name", SIZES)
def test_starts_as_post_training_quantization(name, bits, tmp_path):
    whole = small(name, **OTHERWISE.get(name, {}))
    model = single_scale(whole, scales(whole)[0])
    images = patches(model.input.shape[-1])
    rules, choose = (INT8_RULES, least_squares) if bits == 8 else (INT16_RULES, min_max)
    graph = lower(model, rules)
    samples = observe(graph, images)
    ranges = choose_ranges(graph, samples, choose, bits)
    (expected,) = graph.run([images[0][None]], simulate(graph, ranges, bits))

    aware = quantization_aware(model, images, activation_bits=bits)
    sr = aware(images[0][None])
    # But for a value now and then that lies between two steps.
    assert np.mean(np.abs(sr - expected)) < 1e-3
    _, bounds = strip_fake_quantization(aware)
    assert bounds == {i: pytest.approx(b, rel=1e-6) for i, b in ranges.items()}

    aware.save(tmp_path / "aware.keras")
    loaded = tfsr.load_model(tmp_path / "aware.keras")
    assert is_quantization_aware(loaded)
    assert not is_quantization_aware(model)
    np.testing.assert_array_equal(loaded(images[0][None]), sr)
    if bits == 8:
        (tmp_path / "int8.tflite").write_bytes(
            metadata.with_metadata(
                int8(*strip_fake_quantization(loaded, 12, 16)),
                {"scale": scales(whole)[0], "format": "int8"},
            )
        )
        assert inspect(tmp_path / "int8.tflite")["float_operators"] == 0


def test_four_bits_are_exported():
    aware = quantization_aware(carn_m(2, **SMALL), patches(), weight_bits=4)
    graph, _ = strip_fake_quantization(aware)
    kernels = [
        n.operation.kernel for n in graph.nodes if hasattr(n.operation, "kernel")
    ]
    for kernel in kernels:
        steps = np.reshape(kernel, (-1, kernel.shape[-1]))
        steps = 7 * steps / np.maximum(np.abs(steps).max(axis=0), 1e-9)
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-4)


def test_a_range_that_has_learned_to_be_nothing_is_exported():
    model = single_scale(cmsc(2, stages=1, modules=1, filters=2), 2)
    aware = quantization_aware(model, patches())
    learned = [x for x in aware.layers if isinstance(x, FakeQuantize) and x.learned]
    learned[0].range.assign([1e-9, -1e-9])  # each bound beyond 0
    assert tuple(map(float, learned[0].bounds())) == (0, 0)
    assert int8(*strip_fake_quantization(aware, 12, 16))


def test_several_scales_share_what_they_shared():
    model = carn_m((2, 3), **SMALL)
    aware = quantization_aware(model, patches())
    assert scales(aware) == (2, 3)
    kernels = [w for w in aware.trainable_weights if "kernel" in w.path]
    assert len(kernels) < 2 * len(model.trainable_weights)
    lr = patches()[0]
    for scale in (2, 3):
        sr = KerasUpscaler(aware, scale)(lr)
        difference = np.abs(sr - KerasUpscaler(model, scale)(lr))
        assert difference.max() < 0.05
        # At the border, too, where the mean is added to no zeros beyond it.
        inside = difference[scale:-scale, scale:-scale].mean()
        assert difference.mean() < 1.5 * inside


def test_levels_share_their_weights():
    def kernels(**arguments):
        model = scn(2, levels=3, filters=8, blocks=1, **arguments)
        weights = quantization_aware(model, patches()).trainable_weights
        return sum("expand" in w.path and "kernel" in w.path for w in weights)

    assert kernels() == 1
    assert kernels(shared=False) == 2  # the coarsest level is not needed


def test_pixels_keep_their_range():
    aware = quantization_aware(carn_m(2, **SMALL), patches())
    ranges = [layer for layer in aware.layers if isinstance(layer, FakeQuantize)]
    fixed = [layer for layer in ranges if not layer.learned]
    assert all(layer.high - layer.low == 1 for layer in fixed)
    assert 0 < len(fixed) < len(ranges)


@pytest.fixture(scope="module")
def trained(write_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("qat")
    model = {"name": "carn_m", "scale": 2, **SMALL}  # one of those there are
    config = write_config(folder / "qat.toml", model=model, **TABLES)
    keras.utils.set_random_seed(0)
    carn_m((2, 3), **SMALL).save(folder / "float.keras")
    carn_m((2, 3), **SMALL).save(folder / "other.keras")
    train = ("quantize-train", str(folder / "float.keras"), "--config", str(config))
    first = (*train, "--out", str(folder / "run"), "--set", "train.epochs=2")
    assert main([*first]) in (None, 0)
    _, moves = learned(folder / "run")
    assert main([*train, "--out", str(folder / "run")]) in (None, 0)  # goes on
    return folder, moves


def test_ranges_learn_and_freeze(trained):
    folder, moves = trained
    assert np.abs(moves).max() > 1e-4
    _, later = learned(folder / "run")  # after one epoch more, frozen
    np.testing.assert_array_equal(later, moves)
    epochs = (folder / "run" / "log.csv").read_text().splitlines()
    assert len(epochs) == 1 + 3


def test_resumed_equals_uninterrupted(trained):
    folder, _ = trained
    command = ("quantize-train", folder / "float.keras", "--out", folder / "whole")
    config = ("--config", folder / "qat.toml")
    assert main([str(a) for a in (*command, *config)]) in (None, 0)
    resumed, whole = folder / "run", folder / "whole"
    assert read_log(resumed) == read_log(whole)
    for ours, theirs in zip(learned(resumed), learned(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_conversion_is_what_was_evaluated(trained, photographs, capsys):
    folder, _ = trained
    check_conversion(folder / "run", photographs, capsys)


def check_conversion(run, photographs, capsys):
    ours, theirs = scores_of_conversion(run, photographs, capsys, "30x34")
    assert ours == theirs


def scores_of_conversion(run, photographs, capsys, size):
    file = run.with_suffix(".tflite")
    convert = ("convert", run, "--scale", 2, "--format", "int8", "--size", size)
    verify = ("--verify", photographs, "-o", file)
    assert main([str(a) for a in (*convert, *verify)]) in (None, 0)
    capsys.readouterr()
    scored = []
    for model in (run, file):
        command = ("evaluate", model, photographs, "--scale", 2, "--json")
        assert main([str(a) for a in command]) in (None, 0)
        scored.append(json.loads(capsys.readouterr().out))
    return [report["images"] for report in scored]


def test_16_bits_are_scored_as_such(report, photographs, tmp_path):
    keras.utils.set_random_seed(0)
    model = carn_m(2, **SMALL)
    run, file = tmp_path / "aware.keras", tmp_path / "aware.tflite"
    quantization_aware(model, patches(), activation_bits=16).save(run)
    model.save(tmp_path / "float.keras")
    report("convert", run, "--format", "int16x8", "--size", "30x34", "-o", file)
    exact, trained, converted = (
        report("evaluate", model, photographs)["mean"]["psnr_rgb"]
        for model in (tmp_path / "float.keras", run, file)
    )
    assert trained == pytest.approx(converted, abs=1e-3)
    assert trained == pytest.approx(exact, abs=0.05)


@pytest.mark.usefixtures("untraced")
@pytest.mark.usefixtures("untraced")
def test_sums_in_float_are_trained_and_converted(
    write_config, photographs, tmp_path, capsys
):
    model = {"name": "scn", "scale": 2, "levels": 2, "filters": 8, "blocks": 2}
    config = write_config(tmp_path / "qat.toml", model=model, **TABLES)
    keras.utils.set_random_seed(0)
    scn(2, levels=2, filters=8, blocks=2).save(tmp_path / "float.keras")
    command = ("quantize-train", tmp_path / "float.keras", "--config", config)
    command = (*command, "--set", "train.epochs=1")
    out, sums = ("--out", tmp_path / "run"), 'quantize.in_float=["*.add*"]'
    head = ("--set", 'quantize.in_float=["head"]')
    assert main([str(argument) for argument in (*command, *out, *head)]) == 2
    assert "head: not a sum" in capsys.readouterr().err
    command = (*command, *out, "--set", sums)
    assert main([str(argument) for argument in command]) in (None, 0)
    ours, theirs = scores_of_conversion(
        tmp_path / "run", photographs, capsys, "dynamic"
    )
    for x, y in zip(ours, theirs, strict=True):  # sums of floats, in another order
        assert x["psnr_rgb"] == pytest.approx(y["psnr_rgb"], abs=0.01)
    file = tmp_path / "run.tflite"
    assert main(["inspect", str(file), "--json"]) in (None, 0)
    operators = json.loads(capsys.readouterr().out)["operators"]
    # A sum of the body is read by additions and, from a copy, by a convolution.
    assert operators["DEQUANTIZE"] > 0
    assert operators["CONV_2D"] > operators["DEQUANTIZE"]


# One step: where a value rounds to the other side, all that follows differs.
ELSEWHERE = [
    *("--set", "train.optimizer=sgd", "--set", "train.learning_rate=1"),
    *("--set", "train.epochs=1", "--set", "quantize.learn_ranges=1"),
]


@pytest.fixture(scope="module")
def one_device(trained):
    folder, _ = trained
    options = (
        "--config",
        folder / "qat.toml",
        "--out",
        folder / "one",
        *ELSEWHERE,
    )
    command = ("quantize-train", folder / "float.keras", *options)
    assert main([str(argument) for argument in command]) in (None, 0)
    return folder / "one"


def train_elsewhere(one_device, out, program, *options, **environment):
    """Trains as on one device in another process; returns what it says."""
    folder = one_device.parent
    command = (
        folder / "float.keras",
        "--config",
        folder / "qat.toml",
        "--out",
        out,
    )
    options = (*ELSEWHERE, *options)
    done = subprocess.run(
        [sys.executable, "-c", program + TRAIN, *map(str, command), *options],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    (starts, moves), (expected_starts, expected) = map(learned, (out, one_device))
    np.testing.assert_allclose(starts, expected_starts, rtol=1e-4)
    np.testing.assert_allclose(moves, expected, atol=0.1 * np.abs(expected).max())
    ours, theirs = (float(read_log(run)[0]["loss"]) for run in (out, one_device))
    assert ours == pytest.approx(theirs, rel=1e-4)  # processors round unlike
    return done.stderr


def learned(run):
    """Returns where the ranges of a run began, and how far they moved."""
    model = tfsr.load_model(run)
    model.load_weights(run / "last.weights.h5")
    ranges = [layer for layer in model.layers if isinstance(layer, FakeQuantize)]
    starts = np.array([[layer.low, layer.high] for layer in ranges])
    return starts, np.array([layer.bounds() for layer in ranges]) - starts


def test_deviations_of_flat_fields_are_trained_on():
    keras.utils.set_random_seed(0)
    lr = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 1)(lr)
    x = x * keras.ops.std(x, axis=(1, 2), keepdims=True)
    sr = keras.layers.Conv2D(3, 1)(x)
    aware = quantization_aware(keras.Model(lr, sr), patches())
    aware.compile("sgd", "mse")
    flat = np.full((1, 8, 8, 3), 0.5, np.float32)
    aware.train_on_batch(flat, flat)
    for weight in aware.weights:
        assert np.isfinite(weight).all(), weight.path
    graph, _ = strip_fake_quantization(aware)
    assert not any(isinstance(n.operation, SquareRoot) for n in graph.nodes)


def test_two_replicas_keep_equal_ranges(one_device, tmp_path):
    mirrored = ("--set", "train.strategy=mirrored")
    said = train_elsewhere(one_device, tmp_path / "run", ON_TWO_DEVICES, *mirrored)
    assert f"{len(learned(one_device)[0])} ranges are equal" in said


def test_jax_learns_the_same_ranges(one_device, tmp_path, quick_to_compile):
    pytest.importorskip("jax")
    backend = {"KERAS_BACKEND": "jax", "XLA_FLAGS": quick_to_compile}
    train_elsewhere(one_device, tmp_path / "run", WITHOUT_TENSORFLOW, **backend)


@pytest.mark.usefixtures("untraced")
def test_a_network_of_luma_is_trained_in_colour(
    write_config, photographs, tmp_path, capsys
):
    model = {"stages": 1, "modules": 1, "filters": 4}
    config = write_config(
        tmp_path / "qat.toml",
        model={"name": "cmsc", "scale": [2, 3], **model},
        **TABLES,
    )
    keras.utils.set_random_seed(0)
    network = cmsc((2, 3), **model)
    network.save(tmp_path / "float.keras")
    command = ("quantize-train", tmp_path / "float.keras", "--config", config)
    out = ("--out", tmp_path / "run", "--set", "train.epochs=1")
    luma = (*command, *out, "--set", "data.channels=y")
    assert main([str(argument) for argument in luma]) == 2
    message = "[data] channels is 'y' where the model has 3"
    assert message in capsys.readouterr().err
    assert main([str(argument) for argument in (*command, *out)]) in (None, 0)
    aware = tfsr.load_model(tmp_path / "run")
    assert scales(aware) == (2, 3)
    # The scales share the network; enlargement and luma are no part of the training.
    (conv,) = (w for w in network.trainable_weights if "head" in w.path and w.ndim == 4)
    shapes = [w.shape for w in aware.trainable_weights if w.ndim == 4]
    assert shapes.count(conv.shape) == 1
    assert not [shape for shape in shapes if shape[0] == 5 and shape[2] == 3]
    check_conversion(tmp_path / "run", photographs, capsys)


@pytest.mark.usefixtures("untraced")
def test_one_scale_learns_the_float_output(trained, photographs, capsys):
    folder, _ = trained
    command = (
        "quantize-train",
        folder / "float.keras",
        "--config",
        folder / "qat.toml",
    )
    sets = ("--set", "model.scale=2", "--set", "train.epochs=1")
    losses = {}
    for target in ("hr", "float"):
        out = ("--out", folder / target, "--set", f"quantize.target={target}")
        assert main([str(a) for a in (*command, *out, *sets)]) in (None, 0)
        names, values = (folder / target / "log.csv").read_text().splitlines()
        losses[target] = dict(zip(names.split(","), values.split(","), strict=True))
    # An untrained network is far from HR, its rounding near to itself.
    assert float(losses["float"]["loss"]) < 0.1 * float(losses["hr"]["loss"])
    assert scales(tfsr.load_model(folder / "float")) == (2,)
    check_conversion(folder / "float", photographs, capsys)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "{config}", "--out", "{out}"), "see tfsr quantize-train"),
        (
            ("quantize-train", "{run}", "--config", "{config}", "--out", "{out}"),
            "is quantization-aware already",
        ),
        (
            (
                *("quantize-train", "{float}", "--config", "{config}"),
                *("--out", "{out}", "--set", "model.filters=8"),
            ),
            "has parameters",
        ),
        (
            (
                *("quantize-train", "{float}", "--config", "{config}"),
                *("--out", "{out}", "--set", "model.scale=4"),
            ),
            "has scales (4,), and",
        ),
        (
            ("quantize-train", "sesr_m", "--config", "{config}", "--out", "{out}"),
            "parameters",
        ),
        (
            ("quantize-train", "{other}", "--config", "{config}", "--out", "{run}"),
            "has other weights than those that",
        ),
        (
            (
                *("quantize-train", "{float}", "--config", "{config}"),
                *("--out", "{out}", "--set", "quantize.target=teacher"),
            ),
            "target must be hr or float, not 'teacher'",
        ),
        (
            ("convert", "{run}", "--scale", "2", "--format", "int16x8", "-o", "{out}"),
            "was trained for int8",
        ),
    ],
)
def test_misuse(trained, capsys, arguments, message):
    folder, _ = trained
    places = {
        "config": folder / "qat.toml",
        "float": folder / "float.keras",
        "other": folder / "other.keras",
        "run": folder / "run",
        "out": folder / "other.tflite",
    }
    assert main([argument.format(**places) for argument in arguments]) == 2
    assert message in capsys.readouterr().err
    assert not places["out"].exists()
