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
from tfsr.training import pack, read_config
from tfsr.training.callbacks import read_log
from tfsr.upscaling.upscalers import KerasUpscaler

pytest.importorskip("jax")

ROOT = Path(__file__).parents[2]
# What a machine may lack that has Keras, NumPy, h5py and Pillow.
MORE = ("ai_edge_litert", "flatbuffers", "jinja2", "matplotlib", "skimage", "tqdm")

TFSR = """
import contextlib
import io
import json
import sys
sys.modules.update(dict.fromkeys(sys.argv[2:]))  # to import one is now an error
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
    """A config whose images are a packed file, those it names being elsewhere."""
    folder = tmp_path_factory.mktemp("jax")
    rule = {"learning_rate": 1e-3, "clip_norm": 0.1}
    tables = {
        "model": {"name": "srresnet", "scale": 2, "filters": 4, "blocks": 1},
        "train": {"steps_per_epoch": 10, "batch": 4, "patch": 16, **rule},
    }
    here, file = write_config(folder / "here.toml", **tables), folder / "photos.pack"
    pack(read_config(here), file, 1)
    elsewhere = {"train": ["nowhere"], "val": "nowhere", "pack": str(file)}
    return write_config(folder / "tiny.toml", data=elsewhere, **tables)


@pytest.fixture(scope="module")
def outs(tmp_path_factory):
    """The run folders of one device and of two."""
    return [tmp_path_factory.mktemp("runs") / name for name in ("one", "two")]


def run(*commands, flags, lacking=()):
    """Runs commands in one process; returns the exit code and errors of each."""
    commands = [[str(argument) for argument in command] for command in commands]
    done = subprocess.run(
        [sys.executable, "-c", TFSR, json.dumps(commands), "tensorflow", *lacking],
        env={**os.environ, "KERAS_BACKEND": "jax", "XLA_FLAGS": flags},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def on_one(config, outs, quick_to_compile):
    """A training, its conversion, one on several machines, and a study."""
    several = ("--set", "train.strategy=multi_worker")
    target = outs[0].with_suffix(".tflite")
    return run(
        ("train", config, "--out", outs[0]),
        ("convert", outs[0], "--format", "float32", "-o", target),
        ("train", config, "--out", outs[0].with_name("several"), *several),
        ("study", config, "--out", outs[0].with_name("study"), "--no-latency"),
        flags=quick_to_compile,
    )


@pytest.fixture(scope="module")
def on_two(config, outs, quick_to_compile):
    """A training in two pieces by little more than Keras; one with a batch of 3."""
    odd = ("--set", "train.batch=3")
    return run(
        ("train", config, "--out", outs[1], "--set", "train.epochs=1"),
        ("train", config, "--out", outs[1]),
        ("train", config, "--out", outs[1].with_name("odd"), *odd),
        flags=f"{quick_to_compile} --xla_force_host_platform_device_count=2",
        lacking=MORE,
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


def test_a_study_needs_no_tensorflow_if_not_timed(outs, on_one):
    code, errors = on_one[3]
    assert code == 0, errors
    report = json.loads((outs[0].with_name("study") / "study.json").read_text())
    assert report["networks"][0]["psnr"]["val"]["mean"] > 0


def test_ten_steps_of_carn_m_equal_those_of_tensorflow(monkeypatch, quick_to_compile):
    script = ROOT / "benchmarks" / "jax_equality.py"
    monkeypatch.setenv("XLA_FLAGS", quick_to_compile)
    monkeypatch.setattr(sys, "argv", [str(script)])
    assert runpy.run_path(str(script))["main"]() == 0
