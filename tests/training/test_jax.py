"""Training under JAX, in a process that cannot import TensorFlow."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tfsr
from tfsr.training.callbacks import read_log
from tfsr.upscaling.upscalers import KerasUpscaler

pytest.importorskip("jax")

ROOT = Path(__file__).parents[2]

TFSR = """
import contextlib
import io
import json
import sys
sys.modules["tensorflow"] = None  # to import it is now an error
from tfsr.cli import main

def run(arguments):
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            code = main(arguments)
        except SystemExit as stop:
            code = stop.code
    return code, errors.getvalue()

done = [run(arguments) for arguments in json.loads(sys.argv[1])]
print(json.dumps(done))
"""


@pytest.fixture(scope="module")
def config(write_config, tmp_path_factory):
    rule = {"learning_rate": 1e-3, "clip_norm": 0.1}
    return write_config(
        tmp_path_factory.mktemp("jax") / "tiny.toml",
        model={"name": "srresnet", "scale": 2, "filters": 4, "blocks": 1},
        train={"steps_per_epoch": 10, "batch": 4, "patch": 16, **rule},
    )


@pytest.fixture(scope="module")
def outs(tmp_path_factory):
    """The run folders of one device and of two."""
    return [tmp_path_factory.mktemp("runs") / name for name in ("one", "two")]


def run(*commands, flags):
    """Runs commands in one process; returns the exit code and errors of each."""
    commands = [[str(argument) for argument in command] for command in commands]
    done = subprocess.run(
        [sys.executable, "-c", TFSR, json.dumps(commands)],
        env={**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def on_one(config, outs, quick_to_compile):
    """A training, its conversion and a training on several machines."""
    several = ("--set", "train.strategy=multi_worker")
    target = outs[0].with_suffix(".tflite")
    return run(
        ("train", config, "--out", outs[0]),
        ("convert", outs[0], "--format", "float32", "-o", target),
        ("train", config, "--out", outs[0].with_name("several"), *several),
        flags=quick_to_compile,
    )


@pytest.fixture(scope="module")
def on_two(config, outs, quick_to_compile):
    """A training that resumes, and one with a batch of 3."""
    odd = ("--set", "train.batch=3")
    return run(
        ("train", config, "--out", outs[1], "--set", "train.epochs=1"),
        ("train", config, "--out", outs[1]),
        ("train", config, "--out", outs[1].with_name("odd"), *odd),
        flags=f"{quick_to_compile} --xla_force_host_platform_device_count=2",
    )


def test_two_devices_that_resume_equal_one_and_convert(outs, on_one, on_two):
    for code, errors in (on_one[0], *on_two[:2]):
        assert code == 0, errors
    for ours, theirs in zip(*map(read_log, outs), strict=True):
        assert ours == pytest.approx(theirs, rel=1e-6)

    # Under TensorFlow, as conversion does.
    one, two = (tfsr.load_model(out) for out in outs)
    difference, norm = 0, 0
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        difference += np.sum((a - b) ** 2)
        norm += np.sum(a**2)
    assert np.sqrt(difference / norm) < 1e-5
    lr = np.random.default_rng(0).random((8, 8, 3), "float32")
    assert KerasUpscaler(one, 2)(lr).shape == (16, 16, 3)

    code, errors = on_one[1]
    assert code == 2
    assert errors.splitlines()[-1].startswith(
        "tfsr: this needs TensorFlow: pip install "
    )


def test_devices_share_a_batch_equally(on_two):
    code, errors = on_two[2]
    assert code == 2
    assert errors.splitlines()[-1] == (
        "tfsr: [train] batch is 3, which 2 replicas cannot share equally; "
        "take a multiple of 2."
    )


def test_several_machines_need_tensorflow(on_one):
    code, errors = on_one[2]
    assert code == 2
    assert errors.splitlines()[-1] == (
        "tfsr: strategy multi_worker needs KERAS_BACKEND=tensorflow, not jax."
    )


def test_ten_steps_of_carn_m_equal_those_of_tensorflow(monkeypatch, quick_to_compile):
    script = ROOT / "benchmarks" / "jax_equality.py"
    monkeypatch.setenv("XLA_FLAGS", quick_to_compile)
    monkeypatch.setattr(sys, "argv", [str(script)])
    assert runpy.run_path(str(script))["main"]() == 0
