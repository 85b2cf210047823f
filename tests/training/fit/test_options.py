import itertools
import re
import subprocess
import sys
from unittest.mock import Mock

import numpy as np
import pytest

import tfsr
from short_runs import STEPS, last_weights, read_log
from tfsr.data import BenchmarkFolder
from tfsr.errors import InputError
from tfsr.scoring.evaluation import evaluate
from tfsr.training import compiling, fit, train
from tfsr.training.compiling import build_trainee
from tfsr.upscaling.upscalers import KerasUpscaler


def recording(weights):
    """A `StopOnNaN` that appends the weights to a list after every step."""

    class Record(fit.StopOnNaN):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            weights.append(self.model.get_weights())

    return Record


@pytest.mark.usefixtures("untraced")
def test_averaged_weights_are_validated_and_saved(
    make_config, photographs, tmp_path, monkeypatch
):
    out, weights = tmp_path / "run", []
    config = make_config(train__ema=0.8)
    with monkeypatch.context() as patch:
        patch.setattr(fit, "StopOnNaN", recording(weights))
        train(config, out)
    averages = weights[0]
    for step in weights[1:]:
        averages = [0.8 * a + 0.2 * w for a, w in zip(averages, step, strict=True)]
    saved = last_weights(out)
    for found, expected in zip(saved, averages, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert max(np.abs(a - b).max() for a, b in zip(saved, weights[-1], strict=True)) > (
        1e-4
    )

    model = config.build()
    model.set_weights(averages)
    for scale in (2, 3):
        report = evaluate(
            KerasUpscaler(model, scale), BenchmarkFolder(photographs, scale)
        )
        logged = float(read_log(out)[-1][f"val_psnr_x{scale}"])
        assert logged == pytest.approx(report["mean"]["psnr_y"], abs=0.02)

    resumed, again = tmp_path / "resumed", []
    train(make_config(train__ema=0.8, train__epochs=1), resumed)
    with monkeypatch.context() as patch:
        patch.setattr(fit, "StopOnNaN", recording(again))
        train(config, resumed)
    for found, expected in zip(again[-1], weights[-1], strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)
    for found, expected in zip(last_weights(resumed), saved, strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.usefixtures("untraced")
def test_mixed_precision_saves_a_float32_model(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(compiling, "is_fast", lambda precision: True)
    config = make_config(train__mixed_precision="bfloat16", train__epochs=1)
    train(config, tmp_path / "run")
    model = tfsr.load_model(tmp_path / "run")
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


@pytest.mark.usefixtures("untraced")
def test_training_falls_back_to_float32(make_config, tmp_path, monkeypatch, capsys):
    for module in (fit, compiling):
        monkeypatch.setattr(module, "is_fast", lambda precision: False)
    dtypes = []

    def record(model, config):
        trainee = build_trainee(model, config)
        dtypes.append(trainee.get_layer("head").compute_dtype)
        return trainee

    monkeypatch.setattr(compiling, "build_trainee", record)
    config = make_config(train__mixed_precision="bfloat16", train__epochs=1)
    train(config, tmp_path / "run")
    assert dtypes == ["float32"]
    assert (
        "no instructions for bfloat16: training in float32" in capsys.readouterr().err
    )


@pytest.mark.usefixtures("untraced")
def test_accumulated_batches_make_a_step(make_config, tmp_path, monkeypatch):
    weights = []
    monkeypatch.setattr(fit, "StopOnNaN", recording(weights))
    out = tmp_path / "run"
    result = train(make_config(train__accumulate=2, train__epochs=1), out)
    assert (result["steps"], len(weights)) == (STEPS, 2 * STEPS)
    changed = [
        any((a != b).any() for a, b in zip(*pair, strict=True))
        for pair in itertools.pairwise(weights)
    ]
    assert changed == [True, False, True, False, True]


def test_steps_per_execution_change_nothing(run, make_config, tmp_path):
    train(make_config(train__steps_per_execution=STEPS), tmp_path / "run")
    for ours, theirs in zip(
        last_weights(tmp_path / "run"), last_weights(run[0]), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)


@pytest.mark.parametrize("at_once", [1, 6])
def test_the_time_to_go_is_said(make_config, tmp_path, capsys, at_once):
    options = {"model__scale": 2, "train__epochs": 1, "train__steps_per_epoch": 12}
    config = make_config(train__steps_per_execution=at_once, **options)
    train(config, tmp_path / "run")
    said = re.findall(
        r"about (\d+) s to go at ([\d.]+) s per batch", capsys.readouterr().err
    )
    assert len(said) == 1
    left, step = map(float, said[0])
    assert left == pytest.approx(step if at_once == 1 else 0, abs=0.6)


@pytest.mark.usefixtures("untraced")
def test_fine_tuning_begins_with_what_fits(
    run, make_config, tmp_path, monkeypatch, capsys
):
    first = []

    class Stop(fit.StopOnNaN):
        def on_train_begin(self, logs=None):
            first.append({w.path: w.numpy() for w in self.model.weights})
            raise KeyboardInterrupt

    monkeypatch.setattr(fit, "StopOnNaN", Stop)
    config = make_config(model__scale=4, train__init_from=run[0])
    with pytest.raises(KeyboardInterrupt):
        train(config, tmp_path / "run")
    theirs = {w.path: w.numpy() for w in tfsr.load_model(run[0]).weights}
    same = {
        path
        for path, value in first[0].items()
        if path in theirs and (value == theirs[path]).all()
    }
    assert set(first[0]) - same == {
        f"upsampler_x4/conv_{i}/{name}" for i in (0, 1) for name in ("kernel", "bias")
    }
    assert (
        f"init_from {run[0]}: taken head, block_0, fuse_0, tail; "
        "new upsampler_x4 (not there)." in capsys.readouterr().err
    )


def test_fine_tuning_from_what_does_not_fit(run, make_config, tmp_path):
    with pytest.raises(InputError, match=r"no layer matches .*head \(other shapes\)"):
        train(
            make_config(model__filters=4, model__scale=4, train__init_from=run[0]),
            tmp_path / "run",
        )
    with pytest.raises(InputError, match=r"nowhere: no such model"):
        train(make_config(train__init_from="nowhere"), tmp_path / "run")


@pytest.mark.parametrize("deterministic", ["true", "false"])
def test_deterministic_operations_are_asked_for(
    make_config, monkeypatch, deterministic
):
    enable = Mock()
    monkeypatch.setattr("tensorflow.config.experimental.enable_op_determinism", enable)
    fit.prepare(make_config(train__deterministic=deterministic), resumed=False)
    assert enable.call_count == (deterministic == "true")


TWICE = """
import sys
from pathlib import Path

from tfsr.training import read_config, train

config, out = sys.argv[1:]
for name in ("first", "second"):
    train(read_config(config, ["train.deterministic=true"]), Path(out, name))
"""


def test_deterministic_runs_are_equal_to_the_bit(make_config, tmp_path):
    config = make_config().source
    # In a process of its own: there is no way back.
    subprocess.run([sys.executable, "-c", TWICE, config, tmp_path], check=True)
    for a, b in zip(
        last_weights(tmp_path / "first"), last_weights(tmp_path / "second"), strict=True
    ):
        np.testing.assert_array_equal(a, b)
