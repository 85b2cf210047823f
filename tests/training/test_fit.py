import csv
import errno
import itertools
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import MagicMock, Mock

import numpy as np
import pytest
from PIL import Image

import tfsr
from tfsr import files, metrics
from tfsr.data import BenchmarkFolder, imresize
from tfsr.errors import InputError, NotFiniteError
from tfsr.graph.complexity import params
from tfsr.scoring.evaluation import evaluate
from tfsr.training import (
    callbacks,
    compiling,
    dry_run,
    fit,
    read_config,
    run_folder,
    train,
)
from tfsr.training import images as training_images
from tfsr.training.compiling import build_trainee
from tfsr.training.pipeline import Batches
from tfsr.upscaling.upscalers import KerasUpscaler

EPOCHS, STEPS = 2, 3


@pytest.fixture(scope="module")
def make_config(write_config, tmp_path_factory):
    schedule = {"name": "cosine", "warmup": 2}
    rule = {"learning_rate": 1e-2, "schedule": schedule, "clip_norm": 1.0}
    file = write_config(
        tmp_path_factory.mktemp("config") / "tiny.toml",
        model={"scale": [2, 3]},
        train={"epochs": EPOCHS, "steps_per_epoch": STEPS, **rule},
    )

    def make(**overrides):
        sets = [f"{key.replace('__', '.')}={value}" for key, value in overrides.items()]
        return read_config(file, sets)

    return make


@pytest.fixture(scope="module")
def run(make_config, tmp_path_factory):
    """The run folder of an uninterrupted training, and what `train` returned."""
    out = tmp_path_factory.mktemp("runs") / "run"
    return out, train(make_config(), out)


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    """Leaves out the pictures, but for that of `run`, which is made before."""
    monkeypatch.setattr(callbacks.RunLog, "_draw", Mock())


def read_log(out):
    with open(out / "log.csv", newline="") as file:
        return list(csv.DictReader(file))


def last_weights(out):
    model = read_config(out / "config.toml").build()
    model.load_weights(out / "last.weights.h5")
    return model.get_weights()


def test_a_run_folder_holds_all_its_files(run, make_config):
    out, _ = run
    assert {file.name for file in out.iterdir()} == {
        "config.toml",
        "best.weights.h5",
        "last.weights.h5",
        "model.keras",
        "log.csv",
        "curve.png",
        "metrics.json",
        "backup",
        "run.lock",
    }
    assert (out / "config.toml").read_text() == make_config().text
    (state,) = (out / "backup").iterdir()
    assert re.fullmatch(r"epoch_000002_[0-9a-f]{8}\.weights\.h5", state.name)
    with Image.open(out / "curve.png") as curve:
        assert min(curve.size) > 300


def test_lr_files_are_those_that_the_config_names(make_config, tmp_path, photographs):
    lr = tmp_path / "lr"
    lr.mkdir()
    shutil.copy(photographs / "coffee.png", lr)
    config = make_config(data__train_lr=[str(lr)])
    for start in (dry_run, train):
        with pytest.raises(InputError, match=r"lr/astronautx2\.png: missing"):
            start(config, tmp_path / "run")


def test_the_log_has_a_row_an_epoch(run):
    rows = read_log(run[0])
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for row in rows:
        assert np.isfinite([float(value) for value in row.values()]).all()
        mean = np.mean([float(row["val_psnr_x2"]), float(row["val_psnr_x3"])])
        assert float(row["val_psnr"]) == pytest.approx(mean)
        assert float(row["learning_rate"]) <= 1e-2


def test_the_figures_of_the_best_epoch(run, make_config, photographs):
    out, result = run
    assert json.loads((out / "metrics.json").read_text()) == result
    best = max(read_log(out), key=lambda row: float(row["val_psnr"]))
    assert result["best_epoch"] == int(best["epoch"])
    assert (result["epochs"], result["steps"]) == (EPOCHS, EPOCHS * STEPS)

    model = tfsr.load_model(out)
    assert result["params"] == params(model)
    for scale in (2, 3):
        folder = BenchmarkFolder(photographs, scale)
        report = evaluate(KerasUpscaler(model, scale), folder)
        expected = report["mean"]["psnr_y"]
        assert result["val_psnr_y"][f"x{scale}"] == pytest.approx(expected, abs=1e-3)
        bicubic = np.mean(
            [
                metrics.psnr(
                    metrics.luma(imresize(p.lr, scale)), metrics.luma(p.hr), scale
                )
                for p in folder
            ]
        )
        assert result["val_psnr_y_bicubic"][f"x{scale}"] == pytest.approx(bicubic)

    weights = make_config().build()
    weights.load_weights(out / "best.weights.h5")
    for a, b in zip(weights.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def interrupt_at(step):
    class Interrupt(fit.StopOnNaN):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            if int(self.model.optimizer.iterations) == step:
                raise KeyboardInterrupt

    return Interrupt


@pytest.mark.parametrize("step", [1, STEPS + 2], ids=["before_a_state", "after_one"])
def test_a_resumed_run_equals_an_uninterrupted_one(
    run, make_config, tmp_path, monkeypatch, step
):
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(fit, "StopOnNaN", interrupt_at(step))
        with pytest.raises(KeyboardInterrupt):
            train(make_config(), out)
    assert not (out / "metrics.json").exists()
    states = [f.name[:12] for f in out.glob("backup/*")]
    assert states == (["epoch_000001"] if step > STEPS else [])

    result = train(make_config(), out)
    for a, b in zip(last_weights(out), last_weights(run[0]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)
    for ours, theirs in zip(read_log(out), read_log(run[0]), strict=True):
        assert {k: float(v) for k, v in ours.items()} == pytest.approx(
            {k: float(v) for k, v in theirs.items()}, rel=1e-4
        )
    assert result["val_psnr_y"] == pytest.approx(run[1]["val_psnr_y"], rel=1e-4)


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


@pytest.mark.usefixtures("untraced")
def test_a_resumed_run_needs_no_more_what_it_began_with(run, make_config, tmp_path):
    start = shutil.copytree(run[0], tmp_path / "start")
    config = {"train__init_from": start}
    train(make_config(**config, train__epochs=1), tmp_path / "run")
    shutil.rmtree(start)
    assert train(make_config(**config), tmp_path / "run")["epochs"] == EPOCHS


@pytest.mark.usefixtures("untraced")
def test_a_dry_run_writes_nothing(make_config, photographs, tmp_path):
    cache = tmp_path / "cache"
    config = make_config(data__cache=cache)
    report = dry_run(config, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
    assert (report["epochs"], report["steps"]) == (EPOCHS, EPOCHS * STEPS)
    assert report["images"] == 4
    assert report["estimated_seconds"] == pytest.approx(
        EPOCHS * (STEPS * report["step_seconds"] + report["validation_seconds"])
    )
    assert report["peak_memory_mb"] > 100
    train(config, tmp_path / "run")
    (pixels,) = cache.glob("*/pixels.bin")
    assert report["cache_bytes"] == pixels.stat().st_size
    longer = make_config(data__cache=cache, train__epochs=3)
    assert dry_run(longer, tmp_path / "run")["epochs"] == 1


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(
    ("epochs", "advised"),
    [(20, {"name": "cosine", "warmup": 6}), (3, {"name": "cosine"})],
)
def test_a_rate_that_rises_throughout(make_config, tmp_path, capsys, epochs, advised):
    def warnings(schedule, prepare=lambda config: fit.prepare(config, resumed=False)):
        config = make_config(train__schedule=schedule, train__epochs=epochs)
        prepare(config)
        found = re.findall("warning: .*", capsys.readouterr().err)
        return config.train.schedule, found

    steps = epochs * STEPS
    half = f'{{ name = "cosine", warmup = {steps // 2} }}'
    assert not warnings(half)[1]
    _, (warning,) = warnings(
        '{ name = "cosine", warmup = 200 }',
        lambda config: dry_run(config, tmp_path / "run"),
    )
    assert f"rises for 200 steps, and the training has {steps}, so" in warning
    advice = shlex.split(warning.partition("; set ")[2])[0].partition("=")[2]
    assert warnings(advice) == (advised, [])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data__train": '["nowhere"]'}, "nowhere: not a folder"),
        ({"data__val": "nowhere"}, "nowhere: not a folder"),
        ({"train__patch": 40}, r"no image is large enough .*40 at x2"),
        ({"model__scale": 5}, r"\[model\] .*scale=5"),
    ],
    ids=["train", "val", "patch", "model"],
)
def test_a_dry_run_finds_what_would_stop_a_training(
    make_config, tmp_path, overrides, message
):
    with pytest.raises(InputError, match=message):
        dry_run(make_config(**overrides), tmp_path / "run")


@pytest.mark.usefixtures("untraced")
def test_memory_that_does_not_suffice_is_named(make_config, tmp_path, monkeypatch):
    class ResourceExhaustedError(Exception):
        """As TensorFlow's is named."""

    class Exhausted(fit.StopOnNaN):
        def on_train_batch_end(self, batch, logs=None):
            raise ResourceExhaustedError("OOM when allocating tensor")

    monkeypatch.setattr(fit, "StopOnNaN", Exhausted)
    with pytest.raises(MemoryError, match="OOM when"):
        train(make_config(), tmp_path / "run")


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 1 MB of its own."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder]
    if not shutil.which("mount") or subprocess.run(command, check=False).returncode:
        pytest.skip("a small tmpfs cannot be mounted here: needs Linux and root")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(
    ("kilobytes", "file"), [(0, "log.csv"), (100, "backup/epoch_000003_*.weights.h5")]
)
def test_a_full_disk_leaves_the_last_state(
    run, make_config, small_disk, monkeypatch, kilobytes, file
):
    out = shutil.copytree(run[0], small_disk / "run")
    longer = make_config(train__epochs=EPOCHS + 1)

    class Fill(fit.StopOnNaN):
        def on_epoch_end(self, epoch, logs=None):
            free = shutil.disk_usage(small_disk).free
            ballast = bytes(free - kilobytes * 1024)
            (small_disk / "ballast").write_bytes(ballast)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "StopOnNaN", Fill)
        with pytest.raises(OSError, match="No space left on device") as error:
            train(longer, out)
    assert error.value.errno == errno.ENOSPC
    assert Path(error.value.filename).relative_to(out).match(file)
    assert not list(out.rglob(f"{files.PREFIX}*"))
    assert tfsr.load_model(out)
    (small_disk / "ballast").unlink()
    assert train(longer, out)["epochs"] == EPOCHS + 1


@pytest.mark.usefixtures("untraced")
def test_a_validation_image_that_disappears_is_named(
    photographs, make_config, tmp_path, monkeypatch
):
    images = shutil.copytree(photographs, tmp_path / "val")

    class Remove(fit.StopOnNaN):
        def on_epoch_end(self, epoch, logs=None):
            (images / "coffee.png").unlink()

    monkeypatch.setattr(fit, "StopOnNaN", Remove)
    with pytest.raises(InputError, match=r"val/coffee\.png: no such file"):
        train(make_config(data__val=images), tmp_path / "run")


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


def test_a_finished_run_is_left_as_it_is(run, make_config):
    out, result = run
    before = (out / "last.weights.h5").read_bytes()
    again = train(make_config(), out)
    assert (out / "last.weights.h5").read_bytes() == before
    assert {**again, "seconds_since_resume": 0} == {**result, "seconds_since_resume": 0}


def test_a_damaged_state_is_named(run, make_config, tmp_path):
    out = shutil.copytree(run[0], tmp_path / "run")
    (state,) = (out / "backup").iterdir()
    content = state.read_bytes()
    message = rf"{state.name}: not a readable .*its checksum does not match"
    for damaged in (content[: len(content) // 2], content[:-1] + b"?"):
        state.write_bytes(damaged)
        with pytest.raises(InputError, match=message):
            train(make_config(), out)


@pytest.mark.usefixtures("untraced")
def test_a_state_of_an_older_version_is_taken(run, make_config, tmp_path):
    out = shutil.copytree(run[0], tmp_path / "run")
    (state,) = (out / "backup").iterdir()
    state.rename(out / "backup/epoch_000002.weights.h5")
    train(make_config(train__epochs=EPOCHS + 1), out)
    (state,) = (out / "backup").iterdir()
    assert state.name.startswith("epoch_000003_")


@pytest.mark.usefixtures("untraced")
def test_nan_stops_and_names_the_step(make_config, tmp_path):
    config = make_config(
        train__learning_rate=1e38, train__schedule='{name = "constant"}'
    )
    with pytest.raises(NotFiniteError, match=r"the loss is (nan|inf) at step 2;"):
        train(config, tmp_path / "run")
    assert {f.name for f in (tmp_path / "run").iterdir()} == {"config.toml", "run.lock"}


def break_weights(value):
    """A `StopOnNaN` that sets a weight after the last step of the first epoch."""

    class Break(fit.StopOnNaN):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            if int(self.model.optimizer.iterations) == STEPS:
                weight = self.model.get_layer("head").kernel
                weight.assign(weight * 0 + value)

    return Break


@pytest.mark.usefixtures("untraced")
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            np.nan,
            r"the weight head/kernel is not finite at step 3; lower learning_rate",
        ),
        (3e38, r"the network's output is not finite at step 3; lower learning_rate"),
    ],
)
def test_a_diverged_epoch_writes_nothing(
    make_config, tmp_path, monkeypatch, value, message
):
    monkeypatch.setattr(fit, "StopOnNaN", break_weights(value))
    with pytest.raises(NotFiniteError, match=message):
        train(make_config(), tmp_path / "run")
    assert {f.name for f in (tmp_path / "run").iterdir()} == {"config.toml", "run.lock"}


@pytest.mark.usefixtures("untraced")
def test_a_kill_after_the_state_loses_no_best_weights(
    run, make_config, tmp_path, monkeypatch
):
    out = tmp_path / "run"

    def killed(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fit.Checkpoint, "_save_weights", killed)
        with pytest.raises(KeyboardInterrupt):
            train(make_config(), out)
    assert not (out / "model.keras").exists()
    result = train(make_config(train__epochs=1), out)
    assert result["best_epoch"] == 1
    model = tfsr.load_model(out)
    for ours, last in zip(model.get_weights(), last_weights(out), strict=True):
        np.testing.assert_array_equal(ours, last)


def test_another_config_in_the_same_folder_is_an_error(run, make_config):
    before = {f: f.stat().st_mtime_ns for f in run[0].iterdir()}
    message = (
        r"run: holds a run of another config, which differs in model\.units, train"
    )
    with pytest.raises(InputError, match=message + r"\.batch; give a new `out`"):
        train(make_config(train__batch=3, train__epochs=3, model__units=2), run[0])
    assert {f: f.stat().st_mtime_ns for f in run[0].iterdir()} == before


def test_a_run_without_an_epoch_takes_another_config(
    run, make_config, tmp_path, capsys
):
    out = tmp_path / "run"
    out.mkdir()
    (out / "config.toml").write_text(make_config(train__batch=10**6).text)
    assert train(make_config(), out)["epochs"] == EPOCHS
    assert "train.batch was 1000000, now 2" in capsys.readouterr().err
    for ours, expected in zip(last_weights(out), last_weights(run[0]), strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_a_config_that_only_looks_different_resumes(run, make_config, capsys):
    config = make_config(train__clip_norm=1, train__seed=0)  # both as they were
    train(config, run[0])
    assert "changes" not in capsys.readouterr().err
    assert (run[0] / "config.toml").read_text() == config.text


@pytest.mark.usefixtures("untraced")
def test_a_run_goes_on_at_another_rate(run, make_config, tmp_path, capsys):
    out = shutil.copytree(run[0], tmp_path / "run")
    constant = {"train__schedule": '{name = "constant"}'}
    train(make_config(train__epochs=3, **constant), out)
    slow = make_config(train__epochs=4, train__learning_rate=1e-3, **constant)
    capsys.readouterr()
    train(slow, out)
    assert (
        "run: the config changes: train.epochs was 3, now 4; "
        "train.learning_rate was 0.01, now 0.001.\n" in capsys.readouterr().err
    )
    rates = [float(row["learning_rate"]) for row in read_log(out)]
    assert rates[2:] == pytest.approx([1e-2, 1e-3])
    assert (out / "config.toml").read_text() == slow.text


def test_a_builder_that_refuses_names_the_file_given(make_config, tmp_path):
    with pytest.raises(InputError, match=r"tiny\.toml: \[model\] .*scale=5"):
        train(make_config(model__scale=5), tmp_path / "run")


def test_two_trainings_at_once_are_an_error(run, make_config):
    before = {f: f.stat().st_mtime_ns for f in run[0].iterdir()}
    with (
        files.locked(run[0] / run_folder.LOCK),
        pytest.raises(InputError, match=r"run: another training is running there\."),
    ):
        train(make_config(), run[0])
    assert {f: f.stat().st_mtime_ns for f in run[0].iterdir()} == before


def test_what_a_killed_training_left_is_removed(run, make_config, tmp_path):
    out = shutil.copytree(run[0], tmp_path / "run")
    dead = 2**22 + 1  # beyond Linux' largest process id
    stale = [
        out / f".tfsr-tmp-{dead}-0-1.csv",
        out / f"backup/.tfsr-tmp-{dead}-0-1.weights.h5",
    ]
    for file in stale:
        file.touch()
    train(make_config(), out)
    assert not any(file.exists() for file in stale)


def test_a_folder_with_only_a_lock_is_free(make_config, tmp_path):
    (tmp_path / run_folder.LOCK).touch()  # killed before the config was written
    assert run_folder.check_free(tmp_path, make_config()) == []


def test_a_folder_that_is_no_run_is_an_error(make_config, tmp_path):
    (tmp_path / "thesis.txt").write_text("do not touch")
    with pytest.raises(InputError, match="is not a run folder"):
        train(make_config(), tmp_path)
    assert [f.name for f in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"data__train": '["nowhere"]'}, "nowhere: not a folder"),
        ({"data__train": "[]"}, "no image|train"),
        ({"data__val": "nowhere"}, "nowhere: not a folder"),
        ({"train__patch": 40}, r"no image is large enough .*40 at x2"),
        ({"data__channels": 1}, r"tiny\.toml: \[data\] channels is 1 where"),
        ({"model__channels": 1}, "channels"),
        ({"data__channels": 2, "model__channels": 3}, "channels"),
    ],
    ids=[
        "train",
        "no_train",
        "val",
        "patch",
        "gray_data",
        "gray_model",
        "two_channels",
    ],
)
def test_data_that_cannot_be_used(make_config, tmp_path, overrides, message):
    with pytest.raises(InputError, match=message):
        train(make_config(**overrides), tmp_path / "run")


def test_mistakes_show_before_the_cache_is_built(make_config, tmp_path, monkeypatch):
    monkeypatch.setattr(training_images, "ImageCache", Mock(side_effect=AssertionError))
    monkeypatch.setattr(callbacks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="nowhere: not a folder"):
        train(make_config(data__val="nowhere"), tmp_path / "run")
    with pytest.raises(InputError, match="TensorBoard needs pip install"):
        train(make_config(), tmp_path / "run", tensorboard=True)


def test_batches_begin_where_the_run_stopped():
    sampler = MagicMock(draw=lambda *which: which)
    sampler.__getitem__.side_effect = lambda step: step
    batches = Batches(sampler, first_step=2)
    assert [batches[i] for i in range(4)] == [2, 2, 3, 4]  # one more, for shapes
    assert batches.draw(1, 2, 4) == (3, 2, 4)
    assert batches.num_batches is None
