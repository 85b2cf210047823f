"""Model files are data: no code of a stranger runs, and damage is one line."""

import json
import runpy
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import tfsr
from tfsr.errors import InputError
from tfsr.graph.graph import inline
from tfsr.models import carn_m
from tfsr.tflite import export, metadata
from tfsr.tflite.runtime import TFLiteUpscaler
from tfsr.training import read_config
from tfsr.zoo.loading import import_carn

survey = runpy.run_path(str(Path(__file__).with_name("fuzzing.py")))["survey"]


def test_a_lambda_in_a_keras_file_does_not_run(tmp_path):
    marker = tmp_path / "ran"
    code = f"__import__('pathlib').Path({str(marker)!r}).touch()"
    layer = keras.layers.Lambda(lambda x, code=code: (exec(code), x)[1])
    x = keras.Input((None, None, 3))
    model = keras.Model(x, layer(x))
    marker.unlink()  # building it ran the code here, where it was written
    model.save(tmp_path / "evil.keras")
    marker.unlink(missing_ok=True)
    with pytest.raises(InputError, match=r"evil\.keras: not a model tfsr can load"):
        tfsr.load_model(tmp_path / "evil.keras")
    assert not marker.exists()


@pytest.mark.parametrize(
    ("module", "name"), [("os", "system"), ("keras.utils", "get_file")]
)
def test_a_function_named_in_a_keras_file_does_not_run(tmp_path, module, name):
    file, evil = tmp_path / "model.keras", tmp_path / "evil.keras"
    marker = tmp_path / "ran"
    carn_m(scale=2, filters=8, blocks=1).save(file)
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(evil, "w") as new:
        for entry in old.namelist():
            content = old.read(entry)
            if entry == "config.json":
                config = json.loads(content)
                config["config"]["layers"][1] |= {
                    "module": module,
                    "class_name": name,
                    "registered_name": None,
                    "config": {"command": f"touch {marker}"},
                }
                content = json.dumps(config)
            new.writestr(entry, content)
    with pytest.raises(InputError, match=r"evil\.keras: not a model tfsr can load"):
        tfsr.load_model(evil)
    assert not marker.exists()


def test_a_keras_file_of_another_architecture_is_refused(tmp_path):
    file = tmp_path / "classifier.keras"
    x = keras.Input((32, 32, 3))
    y = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x))
    keras.Model(x, y).save(file)
    with pytest.raises(InputError, match=r"classifier\.keras: gives"):
        tfsr.load_model(file)


def use_file(tmp_path, name, use):
    """Returns a function of bytes that writes them to a file and uses that."""

    def use_bytes(data):
        (tmp_path / name).write_bytes(data)
        use(tmp_path / name)

    return use_bytes


def test_damaged_configs(tmp_path):
    corpus = [
        file.read_bytes()
        for file in sorted((Path(__file__).parents[1] / "configs").rglob("*.toml"))
    ]

    use = use_file(tmp_path, "config.toml", read_config)
    counts = survey(use, corpus[:3], cases=70, seed=0, allowed=InputError)
    assert counts["refused"] > counts["accepted"]


def test_damaged_tflite(tmp_path):
    model = carn_m(scale=2, filters=8, blocks=1)
    facts = {"scale": 2, "format": "float32"}
    corpus = [metadata.attach(export.float32(inline(model)), facts)]
    use = use_file(tmp_path, "m.tflite", TFLiteUpscaler)
    counts = survey(use, corpus, cases=200, seed=0, allowed=InputError)
    # a mutation can leave a file as it was
    assert counts["refused"] > 20 * counts["accepted"]


def test_damaged_checkpoints(tmp_path):
    torch = pytest.importorskip("torch", reason="reading a .pth needs PyTorch")
    rng = np.random.default_rng(0)
    state = {
        f"entry.{name}": torch.tensor(rng.random(shape), dtype=torch.float32)
        for name, shape in (("weight", (8, 3, 3, 3)), ("bias", (8,)))
    }
    file = tmp_path / "whole.pth"
    torch.save(state, file)
    use = use_file(tmp_path, "m.pth", import_carn)
    counts = survey(use, [file.read_bytes()], 200, seed=0, allowed=InputError)
    assert counts["refused"] > 0
    assert counts["accepted"] == 0
