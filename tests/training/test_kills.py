"""Trainings killed at random moments and started again, each on one device.

FUZZ=14 pytest tests/training/test_kills.py  kills each 42 times instead of 3.
"""

import os
import select
import shutil
import signal
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
from tfsr.training.callbacks import read_log
from tfsr.training.checkpoints import completed_epochs

ROUNDS = int(os.environ.get("FUZZ", "1"))
EPOCHS = 6 * ROUNDS + 3
LIMIT = 600  # seconds, after which a process that hangs is killed

# Has imported what takes long when it runs a command, in a process of its own. Training
# steps are not traced, which takes longer than the few there are.
SERVER = """
import functools, os, sys
import keras, tensorflow
import tfsr.tflite.quantization.training, tfsr.training
from tfsr.cli import main
keras.Model.compile = functools.partialmethod(keras.Model.compile, run_eagerly=True)
for line in sys.stdin:
    process = os.fork()
    if not process:
        os.dup2(2, 1)  # what it prints is no answer
        os._exit(main(line.split()) or 0)
    print(process, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
"""
COMMANDS = {
    "train": "train {config} --out {out}",
    "quantize-train": "quantize-train {start} --config {config} --out {out} "
    "--set quantize.learn_ranges=0.4",
}


class Command:
    """A command that runs in a process of its own."""

    def __init__(self, server, line):
        self.answers = server.stdout
        server.stdin.write(f"{line}\n".encode())
        self.process = int(self.answers.readline())

    def has_ended(self, within=0.0):
        return bool(select.select([self.answers], [], [], within)[0])

    def kill(self):
        """Kills it; returns its exit code."""
        os.kill(self.process, signal.SIGKILL)
        return int(self.answers.readline())

    def finish(self):
        if not self.has_ended(LIMIT):
            self.kill()
            pytest.fail("it hangs")
        assert int(self.answers.readline()) == 0

    def wait_for(self, found):
        deadline = time.monotonic() + LIMIT
        while not found():
            assert not self.has_ended()
            assert time.monotonic() < deadline
            time.sleep(0.002)  # a file is written in more


@pytest.fixture(scope="module")
def server():
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, bufsize=0, **pipes) as process:  # for `select`
        yield process
        process.stdin.close()


@pytest.fixture(scope="module")
def config(write_config, tmp_path_factory):
    rule = {"learning_rate": 1e-3, "ema": 0.9, "deterministic": True}
    return write_config(
        tmp_path_factory.mktemp("kills") / "tiny.toml",
        model={"name": "srresnet", "scale": 2, "filters": 4, "blocks": 1},
        train={"epochs": EPOCHS, "steps_per_epoch": 5, "patch": 16, **rule},
    )


def in_the_cache(command, config, out, rng):
    cache = config.parent / "cache"
    command.wait_for(lambda: any(cache.glob("*")))  # from the lock on
    time.sleep(rng.uniform(0, 0.02))


def in_a_checkpoint(command, config, out, rng):
    before, places = completed_epochs(out), (out, out / "backup")

    def found():  # a file that is being written, or the state, behind which more are
        parts = (f for place in places for f in place.glob(files.PREFIX + "*"))
        return any(parts) or completed_epochs(out) > before

    command.wait_for(found)
    time.sleep(rng.uniform(0, 0.05))


def in_an_epoch(command, config, out, rng):
    before = completed_epochs(out)
    command.wait_for(lambda: completed_epochs(out) > before)
    time.sleep(rng.uniform(0, 0.3))


def assert_readable(out):
    """Reads every file of a run folder, whatever there is already."""
    read = {
        "config.toml": read_config,
        "log.csv": lambda file: read_log(file.parent),
        "curve.png": lambda file: Image.open(file).load(),
        "model.keras": tfsr.load_model,
    }
    for name, reader in read.items():
        if (out / name).exists():
            reader(out / name)
    if (out / "model.keras").exists():
        for name in ("last", "best"):
            weights(out, name)


def weights(out, name="last"):
    model = tfsr.load_model(out)
    model.load_weights(out / f"{name}.weights.h5")
    return model.get_weights()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_run_killed_again_and_again_ends_as_one_that_was_not(
    name, server, config, tmp_path
):
    keras.utils.set_random_seed(0)
    start = tmp_path / "float.keras"
    srresnet(2, filters=4, blocks=1).save(start)
    reference, out = tmp_path / "reference", tmp_path / "run"
    rng = np.random.default_rng(0)

    def begin(out):
        line = COMMANDS[name].format(start=start, config=config, out=out)
        return Command(server, line)

    for _ in range(ROUNDS):
        for moment in (in_the_cache, in_an_epoch, in_a_checkpoint):
            if moment is in_the_cache:
                shutil.rmtree(config.parent / "cache", ignore_errors=True)
            command = begin(out)
            moment(command, config, out, rng)
            assert command.kill() == -signal.SIGKILL  # it had not ended by itself
            assert_readable(out)
    assert 0 < completed_epochs(out) < EPOCHS
    for folder in (out, reference):
        begin(folder).finish()

    assert_readable(out)
    assert not list(out.rglob(files.PREFIX + "*"))
    for ours, theirs in zip(weights(out), weights(reference), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert read_log(out) == read_log(reference)
