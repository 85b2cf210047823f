import json
import zipfile

import keras
import numpy as np
import pytest

import tfsr
from tfsr.errors import InputError
from tfsr.models import carn_m, in_color, vdsr


@pytest.fixture
def model():
    keras.utils.set_random_seed(0)
    return carn_m(2, filters=8, blocks=1, units=1, groups=2)


def test_load_model_of_a_file_and_of_a_run_folder(tmp_path, model):
    model.save(tmp_path / "model.keras")
    lr = np.random.default_rng(0).random((1, 5, 7, 3), dtype="float32")
    for place in (tmp_path / "model.keras", tmp_path, str(tmp_path)):
        np.testing.assert_array_equal(tfsr.load_model(place)(lr), model(lr))


def rewrite(source, target, member, content):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name == member else old.read(name))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "nowhere: no such model"),
        ("empty", "empty: no such model"),
        ("notes.txt", r"notes\.txt: not a \.keras file"),
        ("text.keras", r"text\.keras: not a \.keras file"),
        ("zip.keras", r"zip\.keras: not a model tfsr can load"),
        ("half.keras", r"half\.keras: not a "),
        ("foreign.keras", r"foreign\.keras: not a model tfsr can load"),
        ("config.keras", r"config\.keras: not a model tfsr can load"),
        ("weights.keras", r"weights\.keras: not a model tfsr can load"),
    ],
)
def test_load_model_errors(tmp_path, model, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("notes")
    (tmp_path / "text.keras").write_text("not a zip file")
    with zipfile.ZipFile(tmp_path / "zip.keras", "w") as archive:
        archive.writestr("readme.txt", "nothing")
    whole = tmp_path / "whole.keras"
    model.save(whole)
    data = whole.read_bytes()
    (tmp_path / "half.keras").write_bytes(data[: len(data) // 2])
    foreign = {"module": "nowhere", "class_name": "Nothing", "config": {}}
    rewrite(whole, tmp_path / "foreign.keras", "config.json", json.dumps(foreign))
    rewrite(whole, tmp_path / "config.keras", "config.json", "{")
    rewrite(whole, tmp_path / "weights.keras", "model.weights.h5", b"no HDF5")
    with pytest.raises(InputError, match=message):
        tfsr.load_model(tmp_path / name)


def test_a_model_with_code_in_it_is_refused(tmp_path):
    x = keras.Input((None, None, 3))
    file = tmp_path / "code.keras"
    keras.Model(x, keras.layers.Lambda(lambda y: y * 2)(x)).save(file)
    with pytest.raises(InputError, match=r"code\.keras: not a model tfsr can load"):
        tfsr.load_model(file)


@pytest.mark.parametrize("earlier", [0, 2])  # models that the training process had
def test_a_loaded_model_is_built_upon_in_a_new_process(tmp_path, earlier):
    keras.backend.clear_session()  # Keras begins to count names again
    for _ in range(earlier):
        vdsr(layers=2, filters=2)
    vdsr(layers=2, filters=2).save(tmp_path / "vdsr.keras")
    keras.backend.clear_session()
    model = in_color(tfsr.load_model(tmp_path / "vdsr.keras"))
    assert model.output["sr_x4"].shape[-1] == 3


def damaged_arrays(folder, kind, arrays):
    file = folder / "m.npz"
    np.savez_compressed(file, *arrays)
    data = file.read_bytes()
    changed = {
        "empty": b"",
        "text": b"weights",
        "short": data[: len(data) // 2],
        "array": data[:100] + bytes(50) + data[150:],
    }
    if kind in changed:
        file.write_bytes(changed[kind])
    elif kind == "few":
        np.savez_compressed(file, *arrays[1:])
    elif kind == "objects":
        np.savez_compressed(file, *[np.array([{}])] * len(arrays))
    elif kind == "not finite":
        np.savez_compressed(file, *(array * np.nan for array in arrays))
    return file


@pytest.mark.parametrize(
    "kind", ["empty", "text", "short", "array", "few", "objects", "not finite"]
)
def test_damaged_arrays_are_named(tmp_path, kind):
    config = '[model]\nname = "carn_m"\nscale = 2\nfilters = 8\nblocks = 1\n'
    config += '[data]\ntrain = ["a"]\nval = "b"\n'
    config += "[train]\nepochs = 1\nsteps_per_epoch = 1\nbatch = 1\npatch = 8\n"
    (tmp_path / "m.toml").write_text(config)
    arrays = carn_m(scale=2, filters=8, blocks=1).get_weights()
    file = damaged_arrays(tmp_path, kind, arrays)
    with pytest.raises(InputError, match=r"m\.npz: not the weights of") as caught:
        tfsr.load_model(file)
    assert "\n" not in str(caught.value)
