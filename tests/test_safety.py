"""Model files are data: no code of a stranger runs, and damage is one line."""

import io
import json
import runpy
import warnings
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
from tfsr.tflite.checking import check
from tfsr.training import read_config
from tfsr.training.callbacks import load_state, save_weights
from tfsr.zoo.loading import import_carn, save_arrays
from tfsr.zoo.upscalers import load_upscaler

fuzzing = runpy.run_path(str(Path(__file__).with_name("fuzzing.py")))
survey = fuzzing["survey"]


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
    with pytest.raises(InputError, match=r"evil\.keras: .* a path out of itself"):
        tfsr.load_model(tmp_path / "evil.keras")


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

    def use(data):
        """As what runs files does, but for the runtime."""
        (tmp_path / "m.tflite").write_bytes(data)
        if metadata.read(tmp_path / "m.tflite") is None:
            check(data, "m.tflite")

    counts = survey(use, corpus, cases=200, seed=0, allowed=InputError)
    # a mutation can leave a file as it was
    assert counts["refused"] > 20 * counts["accepted"]


def tiny():
    x = keras.Input((None, None, 3), name="lr")
    model = keras.Model(x, keras.layers.Conv2D(3, 3, padding="same")(x))
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def test_damaged_training_states(tmp_path):
    (tmp_path / "backup").mkdir()
    file = tmp_path / "backup/epoch_000001.weights.h5"
    model = tiny()
    save_weights(model, file)

    def use(data):
        file.write_bytes(data)
        load_state(tmp_path, model)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras names what it misses
        counts = survey(use, [file.read_bytes()], 30, seed=0, allowed=InputError)
    assert counts["refused"] > counts["accepted"]


def mutate_entry(data, rng):
    """Damages one entry of a zip; of JSON, one value."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(changed, "w") as new:
        names = old.namelist()
        damaged = names[rng.integers(len(names))]
        for name in names:
            content = old.read(name)
            if name == damaged:
                change = fuzzing["mutate_json" if "json" in name else "mutate"]
                content = change(content, rng)
            new.writestr(name, content)
    return changed.getvalue()


def test_damaged_keras_files(tmp_path):
    tiny().save(tmp_path / "whole.keras")
    corpus = [(tmp_path / "whole.keras").read_bytes()]
    use = use_file(tmp_path, "m.keras", load_upscaler)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts = survey(
            use, corpus, 25, seed=0, allowed=InputError, mutate=mutate_entry
        )
    assert min(counts.values()) > 0


def test_damaged_arrays(tmp_path):
    """A `.npz` is a model with the config beside it."""
    config = '[model]\nname = "vdsr"\nlayers = 2\nfilters = 4\n'
    config += '[data]\ntrain = ["a"]\nval = "b"\n'
    config += "[train]\nepochs = 1\nsteps_per_epoch = 1\nbatch = 1\npatch = 8\n"
    (tmp_path / "m.toml").write_text(config)
    save_arrays(read_config(tmp_path / "m.toml").build(), tmp_path / "whole.npz")
    use = use_file(tmp_path, "m.npz", tfsr.load_model)
    corpus = [(tmp_path / "whole.npz").read_bytes()]
    counts = survey(use, corpus, 30, seed=0, allowed=InputError)
    assert counts["refused"] > counts["accepted"]
    (tmp_path / "m.toml").unlink()
    with pytest.raises(InputError, match=r"m\.npz: .*m\.toml"):
        tfsr.load_model(tmp_path / "m.npz")


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
