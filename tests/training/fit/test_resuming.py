import shutil
from unittest.mock import MagicMock

import numpy as np
import pytest

import tfsr
from short_runs import EPOCHS, STEPS, last_weights, read_log
from tfsr.errors import InputError
from tfsr.training import fit, train
from tfsr.training.pipeline import Batches


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


@pytest.mark.usefixtures("untraced")
def test_a_resumed_run_needs_no_more_what_it_began_with(run, make_config, tmp_path):
    start = shutil.copytree(run[0], tmp_path / "start")
    config = {"train__init_from": start}
    train(make_config(**config, train__epochs=1), tmp_path / "run")
    shutil.rmtree(start)
    assert train(make_config(**config), tmp_path / "run")["epochs"] == EPOCHS


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


def test_a_config_that_only_looks_different_resumes(run, make_config, tmp_path, capsys):
    out = shutil.copytree(run[0], tmp_path / "run")
    config = make_config(train__clip_norm=1, train__seed=0)  # both as they were
    train(config, out)
    assert "changes" not in capsys.readouterr().err
    assert (out / "config.toml").read_text() == config.text


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


def test_batches_begin_where_the_run_stopped():
    sampler = MagicMock(draw=lambda *which: which)
    sampler.__getitem__.side_effect = lambda step: step
    batches = Batches(sampler, first_step=2)
    assert [batches[i] for i in range(4)] == [2, 2, 3, 4]  # one more, for shapes
    assert batches.draw(1, 2, 4) == (3, 2, 4)
    assert batches.num_batches is None
