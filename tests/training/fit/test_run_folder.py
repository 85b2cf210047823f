import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

import tfsr
from short_runs import EPOCHS, STEPS, read_log
from tfsr import files, metrics
from tfsr.data import BenchmarkFolder, imresize
from tfsr.errors import InputError
from tfsr.graph.complexity import params
from tfsr.scoring.evaluation import evaluate
from tfsr.training import run_folder, train
from tfsr.upscaling.upscalers import KerasUpscaler


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


def test_a_finished_run_is_left_as_it_is(run, make_config):
    out, result = run
    before = (out / "last.weights.h5").read_bytes()
    again = train(make_config(), out)
    assert (out / "last.weights.h5").read_bytes() == before
    assert {**again, "seconds_since_resume": 0} == {**result, "seconds_since_resume": 0}


def test_another_config_in_the_same_folder_is_an_error(run, make_config):
    before = {f: f.stat().st_mtime_ns for f in run[0].iterdir()}
    message = (
        r"run: holds a run of another config, which differs in model\.units, train"
    )
    with pytest.raises(InputError, match=message + r"\.batch; give a new `out`"):
        train(make_config(train__batch=3, train__epochs=3, model__units=2), run[0])
    assert {f: f.stat().st_mtime_ns for f in run[0].iterdir()} == before


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
