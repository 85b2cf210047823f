"""int8 files need neither TensorFlow nor what else comes with an extra."""

import ast
import configparser
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tfsr import extras

ROOT = Path(__file__).parent.parent
# Extras whose modules are asked for in words of their own, and what comes with others.
OWN_WORDS = {"pillow_heif": "heic", "onnx": "qualcomm", "onnxruntime_qnn": "qualcomm"}
WITH_OTHERS = {"onnxruntime", "scipy"}
WITHOUT = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

BLOCKED = sys.argv.pop(1).split(",")
sys.meta_path.insert(0, Blocked())
from tfsr.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def without(tmp_path, photographs):
    """Runs a command in a new process that cannot import what extras bring."""
    with Image.open(photographs / "coffee.png") as photo:
        crop = photo.convert("RGB").crop((0, 0, 60, 40))
    crop.save(tmp_path / "photo.png")
    (tmp_path / "images").mkdir()
    crop.save(tmp_path / "images" / "photo.png")

    def run(*arguments):
        command = [sys.executable, "-c", WITHOUT, ",".join(extras.MODULES)]
        paths = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(
            [*command, *arguments],
            cwd=tmp_path,
            env=paths,
            capture_output=True,
            text=True,
        )

    return run


@pytest.mark.parametrize(
    "command",
    [
        "upscale photo.png -o large.png --model carn_m_x2_int8",
        "restore photo.png -o restored.png --model restore_jpeg_int8",
        "inspect carn_m_x2_int8",
        "benchmark carn_m_x2_int8 --runs 1 --warmup 1 --size 32x32 --profile",
        "evaluate carn_m_x2_int8 images",
    ],
)
def test_int8_files_without_tensorflow(without, command):
    done = without(*command.split())
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "command",
    [
        "summary carn_m",
        "demo",
        "convert carn_m --scale 2 --format int8 -o out.tflite",
    ],
)
def test_what_needs_tensorflow_says_what_to_install(without, command):
    done = without(*command.split())
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"tfsr: this needs TensorFlow and Keras: pip install -e '{ROOT}[train]'\n"
    )


@pytest.mark.parametrize(
    "wanted",
    [
        "tfsr.MODELS",
        "tfsr.layers",
        "tfsr.load_model('sesr_m', scale=2)",
        "tfsr.load_upscaler('sesr_m', scale=2)",
        "tfsr.metrics.PSNR",
        "tfsr.data.PatchDataset",
    ],
)
def test_python_says_what_to_install_too(wanted):
    block, _, _ = WITHOUT.partition("from tfsr.cli")
    code = f"{block}import tfsr\n{wanted}"
    done = subprocess.run(
        [sys.executable, "-c", code, ",".join(extras.MODULES)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.stderr.endswith(
        "\nModuleNotFoundError: this needs TensorFlow and Keras: "
        f"pip install -e '{ROOT}[train]'\n"
    )


@pytest.mark.parametrize(
    ("command", "light"),
    [
        ("upscale photo.png --model photo --scale 4", "photo_x2_int8 or photo_x4_int8"),
        ("restore photo.png --model denoise", "denoise_int8"),
        (
            "evaluate carn_m images --scale 2",
            "carn_m_x2_int8 or carn_m_x3_int8 or carn_m_x4_int8",
        ),
    ],
)
def test_a_network_in_float_names_those_that_need_no_tensorflow(
    without, command, light
):
    done = without(*command.split())
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"tfsr: this needs TensorFlow and Keras: pip install -e '{ROOT}[train]'; "
        f"without it take {light}.\n"
    )


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [
        ("evaluate carn_m_x2_int8 images --ifc", "SciPy", "ifc"),
        (
            "evaluate carn_m_x2_int8 images --metrics lpips",
            *("torchmetrics", "perceptual"),
        ),
        (
            "evaluate bicubic images --scale 2 --metrics dists",
            "torchmetrics",
            "perceptual",
        ),
        ("evaluate carn_m_x2_int8 images --picture a.png", "Matplotlib", "train"),
        ("benchmark carn_m_x2_int8 -o timed", "Matplotlib", "train"),
    ],
)
def test_an_option_says_what_to_install_before_work(without, command, missing, extra):
    done = without(*command.split())
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == (
        f"tfsr: this needs {missing}: pip install -e '{ROOT}[{extra}]'\n"
    )


def test_what_is_imported_is_declared():
    """In the base, or in the extra that the message names."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")

    def names(requirements):
        lines = requirements.strip().splitlines()
        return {re.split(r"[\[>=]", line)[0].replace("-", "_") for line in lines}

    base = names(parser["options"]["install_requires"])
    brought = {
        extra: names(requirements)
        for extra, requirements in parser["options.extras_require"].items()
    }
    imported = set()
    for file in [*ROOT.glob("tfsr/**/*.py"), *ROOT.glob("tflite/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module.partition(".")[0])
    others = imported - {*sys.stdlib_module_names, "tfsr", "jax"}  # if it is there
    packages = {"PIL": "pillow", "google": "protobuf", "skimage": "scikit_image"}
    named = {module: extra for module, (_, extra) in extras.MODULES.items()} | OWN_WORDS
    needed = others - {*named} - WITH_OTHERS
    assert {packages.get(name, name) for name in needed} == base
    for module in others & {*named} - WITH_OTHERS:
        package = packages.get(module, module)
        assert package in brought[named[module]] - base, module
    assert "tfsr" in brought["dev"]


@pytest.mark.parametrize(
    ("noted", "command"),
    [
        (None, "pip install 'tfsr[train]'"),
        (
            {"url": "file:///dist/tfsr.whl", "archive_info": {}},
            "pip install 'tfsr[train] @ file:///dist/tfsr.whl'",
        ),
    ],
)
def test_the_command_is_for_this_copy(monkeypatch, tmp_path, noted, command):
    class Distribution:
        def read_text(self, name):
            assert name == "direct_url.json"
            return noted and json.dumps(noted)

    monkeypatch.setattr(extras, "ROOT", tmp_path)
    monkeypatch.setattr(extras.metadata, "distribution", lambda name: Distribution())
    assert extras.command("train") == command
