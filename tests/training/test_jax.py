"""Training under JAX, in a process that cannot import TensorFlow."""

import os
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
import sys
sys.modules["tensorflow"] = None  # to import it is now an error
from tfsr.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def config(write_config, tmp_path_factory):
    rule = {"learning_rate": 1e-3, "clip_norm": 0.1}
    return write_config(
        tmp_path_factory.mktemp("jax") / "tiny.toml",
        model={"name": "srresnet", "scale": 2, "filters": 4, "blocks": 1},
        train={"steps_per_epoch": 10, "batch": 4, "patch": 16, **rule},
    )


def run(*arguments, devices=1):
    return subprocess.run(
        [sys.executable, "-c", TFSR, *arguments],
        env={
            **os.environ,
            "KERAS_BACKEND": "jax",
            "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_two_devices_that_resume_equal_one_and_convert(config, tmp_path):
    outs = [tmp_path / "one", tmp_path / "two"]
    first_epoch = ("--set", "train.epochs=1")
    for devices, out, *options in (
        (1, outs[0]),
        (2, outs[1], *first_epoch),
        (2, outs[1]),
    ):
        done = run("train", config, "--out", out, *options, devices=devices)
        assert done.returncode == 0, done.stderr
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

    target = ("--format", "float32", "-o", tmp_path / "model.tflite")
    done = run("convert", outs[0], *target)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "tfsr: this needs TensorFlow, which is not installed here."
    )


def test_devices_share_a_batch_equally(config, tmp_path):
    wrong = ("--set", "train.batch=3")
    done = run("train", config, "--out", tmp_path / "run", *wrong, devices=2)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "tfsr: [train] batch is 3, which 2 replicas cannot share equally; "
        "take a multiple of 2."
    )


def test_several_machines_need_tensorflow(config, tmp_path):
    wrong = ("--set", "train.strategy=multi_worker")
    done = run("train", config, "--out", tmp_path / "run", *wrong)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "tfsr: strategy multi_worker needs KERAS_BACKEND=tensorflow, not jax."
    )


def test_ten_steps_of_carn_m_equal_those_of_tensorflow():
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "jax_equality.py"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
