"""One device: a training killed at random moments and started again.

FUZZ=4 pytest tests/training/test_kills.py  kills it 12 times instead of 3.
"""

import os
import shutil
import subprocess
import sys
import time

import keras
import numpy as np
import pytest
from PIL import Image

import tfsr
from tfsr import files
from tfsr.models import srresnet
from tfsr.training import read_config
from tfsr.training.callbacks import completed_epochs, read_log

ROUNDS = int(os.environ.get("FUZZ", "1"))
EPOCHS = 6 * ROUNDS + 3
LIMIT = 300  # seconds, after which a process that hangs is killed

TRAIN = """
import sys
from tfsr.cli import main
config, *outs = sys.argv[1:]
sys.exit(max(main(["train", config, "--out", out]) or 0 for out in outs))
"""


@pytest.fixture(scope="module")
def config(write_config, tmp_path_factory):
    rule = {"learning_rate": 1e-3, "ema": 0.9, "deterministic": True}
    return write_config(
        tmp_path_factory.mktemp("kills") / "tiny.toml",
        model={"name": "srresnet", "scale": 2, "filters": 4, "blocks": 1},
        train={"epochs": EPOCHS, "steps_per_epoch": 5, "patch": 16, **rule},
    )


def start(config, *outs):
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, config, *outs],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    try:
        errors = process.communicate(timeout=LIMIT)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    assert process.returncode == 0, errors


def wait_for(process, found):
    deadline = time.monotonic() + LIMIT
    while not found():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.001)  # a file is written in more


def in_the_cache(process, config, out, rng):
    cache = config.parent / "cache"
    wait_for(process, lambda: any(cache.glob("*")))  # from the lock on
    time.sleep(rng.uniform(0, 0.02))


def in_a_checkpoint(process, config, out, rng):
    places = (out, out / "backup")
    wait_for(
        process, lambda: any(f for p in places for f in p.glob(files.PREFIX + "*"))
    )
    time.sleep(rng.uniform(0, 0.05))


def in_an_epoch(process, config, out, rng):
    before = completed_epochs(out)
    wait_for(process, lambda: completed_epochs(out) > before)
    time.sleep(rng.uniform(0, 0.5))


def assert_readable(out):
    """Reads every file of a run folder, whatever there is already."""
    read = {
        "config.toml": read_config,
        "log.csv": lambda file: read_log(file.parent),
        "curve.png": lambda file: Image.open(file).load(),
        "model.keras": tfsr.load_model,
        "last.weights.h5": lambda file: network().load_weights(file),
        "best.weights.h5": lambda file: network().load_weights(file),
    }
    for name, reader in read.items():
        if (out / name).exists():
            reader(out / name)


def network():
    return srresnet(2, filters=4, blocks=1)


def last_weights(out):
    model = network()
    model.load_weights(out / "last.weights.h5")
    return model.get_weights()


def test_a_run_killed_again_and_again_ends_as_one_that_was_not(config, tmp_path):
    keras.utils.set_random_seed(0)
    reference, out = tmp_path / "reference", tmp_path / "run"
    rng = np.random.default_rng(0)
    for _ in range(ROUNDS):
        for moment in (in_the_cache, in_an_epoch, in_a_checkpoint):
            if moment is in_the_cache:
                shutil.rmtree(config.parent / "cache", ignore_errors=True)
            process = start(config, out)
            moment(process, config, out, rng)
            process.kill()
            process.communicate()
            assert process.returncode == -9  # it had not ended by itself
            assert_readable(out)
    done = completed_epochs(out)
    assert 0 < done < EPOCHS
    finish(start(config, out, reference))

    assert_readable(out)
    assert not list(out.rglob(files.PREFIX + "*"))
    for ours, theirs in zip(last_weights(out), last_weights(reference), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert read_log(out) == read_log(reference)
