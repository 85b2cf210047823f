"""Model files are data: no code of a stranger runs."""

import json
import zipfile

import keras
import pytest

import tfsr
from tfsr.errors import InputError
from tfsr.models import carn_m


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


@pytest.mark.parametrize("name", ["../evil", "assets/../../evil", "/evil", "a\\..\\b"])
def test_paths_out_of_a_keras_file_are_refused(tmp_path, name):
    with zipfile.ZipFile(tmp_path / "evil.keras", "w") as archive:
        archive.writestr(name, b"")
    with pytest.raises(InputError, match=r"evil\.keras: .* a path out of its folder"):
        tfsr.load_model(tmp_path / "evil.keras")


def test_a_keras_file_of_another_architecture_is_refused(tmp_path):
    file = tmp_path / "classifier.keras"
    x = keras.Input((32, 32, 3))
    y = keras.layers.Dense(10)(keras.layers.GlobalAveragePooling2D()(x))
    keras.Model(x, y).save(file)
    with pytest.raises(InputError, match=r"classifier\.keras: gives"):
        tfsr.load_model(file)
