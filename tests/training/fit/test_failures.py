import errno
import shutil
import subprocess
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

import tfsr
from short_runs import EPOCHS, STEPS
from tfsr import files
from tfsr.errors import InputError, NotFiniteError
from tfsr.training import callbacks, dry_run, fit, train
from tfsr.training import images as training_images


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


def test_a_builder_that_refuses_names_the_file_given(make_config, tmp_path):
    with pytest.raises(InputError, match=r"tiny\.toml: \[model\] .*scale=5"):
        train(make_config(model__scale=5), tmp_path / "run")


def test_lr_files_are_those_that_the_config_names(make_config, tmp_path, photographs):
    lr = tmp_path / "lr"
    lr.mkdir()
    shutil.copy(photographs / "coffee.png", lr)
    config = make_config(data__train_lr=[str(lr)])
    for start in (dry_run, train):
        with pytest.raises(InputError, match=r"lr/astronautx2\.png: missing"):
            start(config, tmp_path / "run")


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
