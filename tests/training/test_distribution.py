"""Replicas against one device: two logical devices, three workers on loopback."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import keras
import numpy as np
import pytest

from tfsr.errors import InputError
from tfsr.training import distribution, keras_20585, read_config, train
from tfsr.training.callbacks import read_log
from tfsr.training.checkpoints import completed_epochs

EPOCHS, STEPS, WORKERS = 5, 10, 3
LIMIT = 300  # seconds, after which a process that hangs is killed

TRAIN = """
import sys
from tfsr.cli import main
sys.exit(main(["train", *sys.argv[1:]]))
"""

# Its collective operations must not be taken for those of the training before.
TRAIN_THEN_DRY_RUN = """
import sys
from tfsr.cli import main
arguments = ["train", *sys.argv[1:]]
assert main(arguments) == 0
arguments[arguments.index("--out") + 1] += "_of_another"
sys.exit(main([*arguments, "--set", "model.filters=4", "--dry-run"]))
"""

DRY_RUNS = """
import sys
from tfsr.cli import main
dry_run = ["train", *sys.argv[1:], "--set", "train.strategy=mirrored", "--dry-run"]
assert main(dry_run) == 0
sys.exit(main([*dry_run, "--set", "train.accumulate=2"]))
"""

TWO_DEVICES = """
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0],
    [tf.config.LogicalDeviceConfiguration()] * 2,
)
"""

# Stochastic gradient descent shows what Adam hides: gradients that are scaled wrongly.
CLIPPED = """
import keras
import numpy as np
from tfsr.training import distribution
from tfsr.training.pipeline import Batches

class Sampler:
    def draw(self, step, part, parts):
        rng = np.random.default_rng(step)
        x, y = 255 * rng.random((4, 3), "float32"), 255 * rng.random((4, 1), "float32")
        if step == 3:
            y[3] = 3e38  # overflows, once scaled, on the second replica alone
        size = 4 // parts
        return x[part * size :][:size], y[part * size :][:size]

def fitted(strategy, loss="mae", wrap=lambda optimizer: optimizer, **options):
    keras.utils.set_random_seed(0)
    with distribution.replicas(strategy, batch=4) as replicas:
        with replicas.scope():
            model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
            sgd = keras.optimizers.SGD(0.1, global_clipnorm=0.05, use_ema=True)
            model.compile(wrap(sgd), loss, jit_compile=False, **options)
        replicas.prepare(model)
        batches = replicas.distribute(Batches(Sampler()))
        model.fit(batches, steps_per_epoch=20, shuffle=False, verbose=0)
        return [v.numpy() for v in [*model.weights, *model.optimizer.variables]]

scaled = {"loss": "mse", "wrap": keras.optimizers.LossScaleOptimizer}
for options in ({}, scaled):
    both = (fitted(strategy, **options) for strategy in ("single", "mirrored"))
    for one, two in zip(*both, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, two, rtol=1e-6)

for batch, options in ((3, {}), (4, {"steps_per_execution": 2})):
    try:
        with distribution.replicas("mirrored", batch) as replicas:
            fitted("mirrored", **options)
    except distribution.InputError as error:
        print(error)
"""


@pytest.fixture(scope="module")
def config(write_config, tmp_path_factory):
    sizes = {"epochs": EPOCHS, "steps_per_epoch": STEPS, "batch": 6, "patch": 16}
    rule = {"optimizer": "sgd", "learning_rate": 0.03, "clip_norm": 0.1, "ema": 0.9}
    return write_config(
        tmp_path_factory.mktemp("distributed") / "tiny.toml",
        model={"scale": [2, 3]},
        train={**sizes, **rule},
    )


@pytest.fixture(scope="module")
def one_device(config, tmp_path_factory):
    out = tmp_path_factory.mktemp("one") / "run"
    train(read_config(config), out)
    return out


def start(program, *arguments, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_workers(config, out):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(WORKERS)]
    addresses = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return [
        start(
            TRAIN,
            *(config, "--out", out),
            TF_CONFIG=json.dumps(
                {
                    "cluster": {"worker": addresses},
                    "task": {"type": "worker", "index": index},
                }
            ),
        )
        for index in range(WORKERS)
    ]


def finish(process):
    try:
        output, errors = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, output, errors


def assert_equal_runs(out, reference):
    import h5py

    def weights(run):
        arrays = []
        with h5py.File(run / "last.weights.h5") as file:
            file.visititems(
                lambda _, item: (
                    arrays.append(np.ravel(item))
                    if isinstance(item, h5py.Dataset)
                    else None
                )
            )
        return np.concatenate(arrays)

    theirs = weights(reference)
    difference = np.linalg.norm(weights(out) - theirs) / np.linalg.norm(theirs)
    assert difference < 1e-4  # Adam enlarges what sums in another order differ by
    rows = zip(read_log(out), read_log(reference), strict=True)
    for ours, expected in rows:
        assert ours["loss"] == pytest.approx(expected["loss"], rel=1e-5)


def test_mirrored_equals_one_device(config, one_device, tmp_path):
    out = tmp_path / "run"
    strategy = ("--set", "train.strategy=mirrored")
    program = TWO_DEVICES + TRAIN_THEN_DRY_RUN
    code, output, errors = finish(start(program, config, "--out", out, *strategy))
    assert code == 0, errors
    assert " steps of " in output
    assert_equal_runs(out, one_device)


def test_clipping_averages_and_overflow_are_of_the_global_batch():
    code, output, errors = finish(start(TWO_DEVICES + CLIPPED))
    assert code == 0, errors
    assert output.splitlines() == [
        "[train] batch is 3, which 2 replicas cannot share equally; "
        "take a multiple of 2.",
        "2 replicas cannot accumulate gradients or take several steps per execution; "
        f"raise batch instead, or set strategy single (Keras {keras.__version__}).",
    ]


def test_a_dry_run_is_of_the_strategy(config, tmp_path):
    out = tmp_path / "run"
    code, output, errors = finish(start(TWO_DEVICES + DRY_RUNS, config, "--out", out))
    assert code == 2, errors
    assert f"{EPOCHS * STEPS} steps of" in output
    assert errors.splitlines()[-1].startswith("tfsr: 2 replicas cannot accumulate")
    assert not out.exists()


def test_a_killed_worker_stops_all_and_all_go_on(config, one_device, tmp_path):
    out = tmp_path / "run"
    chief, killed, other = start_workers(config, out)
    deadline = time.monotonic() + LIMIT
    while not completed_epochs(out) and time.monotonic() < deadline:
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    assert finish(killed)[0] == -signal.SIGKILL
    for left in (chief, other):
        code, _, errors = finish(left)
        assert code == 1, errors
        assert "Traceback" not in errors
        assert errors.splitlines()[-1] == (
            "tfsr: another worker has stopped or cannot be reached; "
            "start all again to go on from the last epoch."
        )
    done = completed_epochs(out)
    assert 1 <= done < EPOCHS

    chief, *others = start_workers(config, out)
    code, output, errors = finish(chief)
    assert code == 0, errors
    assert f"resuming after epoch {done} of {EPOCHS}" in errors
    assert "best after epoch" in output
    for worker in others:
        code, output, errors = finish(worker)
        assert (code, output) == (0, ""), errors
    assert_equal_runs(out, one_device)


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1", "b:1"]}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "chief", "index": 0}}',
        '{"cluster": {"worker": ["a", "b"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": "a:1"}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"ps": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": "x"}}',
    ],
)
def test_a_malformed_cluster_is_said_in_one_line(monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    message = f'TF_CONFIG: must be as {{"cluster": .*, not {re.escape(text)}'
    with pytest.raises(InputError, match=message), distribution.replicas("auto", 4):
        pass


def test_a_cluster_of_one_is_a_single_machine(monkeypatch):
    monkeypatch.setenv(
        "TF_CONFIG",
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}',
    )
    with distribution.replicas("auto", 3) as replicas:
        assert (replicas.count, replicas.chief) == (1, True)
    with (
        pytest.raises(InputError, match="multi_worker: TF_CONFIG must name several"),
        distribution.replicas("multi_worker", 4),
    ):
        pass


def test_another_keras_is_refused(monkeypatch):
    monkeypatch.setattr(keras_20585.keras, "__version__", "3.99.0")
    message = r"works with Keras 3\.14 and 3\.15, not 3\.99\.0: pip install"
    with pytest.raises(InputError, match=message), keras_20585.patched_keras():
        pass


def test_pieces_are_of_one_process(monkeypatch, run, config, tmp_path):
    cluster = {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}
    task = {"type": "worker", "index": 0}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
    out = tmp_path / "run"
    code, _, err = run("train", config, "--out", out, "--minutes", "1")
    assert code == 2
    assert err == "tfsr: --minutes: is for one process, not for several workers.\n"
