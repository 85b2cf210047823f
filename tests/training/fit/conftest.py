from unittest.mock import Mock

import pytest

from short_runs import EPOCHS, STEPS
from tfsr.training import callbacks, read_config, train


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def run(make_config, tmp_path_factory):
    """The run folder of an uninterrupted training, and what `train` returned."""
    out = tmp_path_factory.mktemp("runs") / "run"
    return out, train(make_config(), out)


@pytest.fixture(autouse=True)
def no_curves(monkeypatch):
    """Leaves out the pictures, but for that of `run`, which is made before."""
    monkeypatch.setattr(callbacks.RunLog, "_draw", Mock())
