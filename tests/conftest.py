import functools
import gc
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from browser import Browser, find_chromium

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as in processes of commands


def pytest_collection_finish():
    """Spares the garbage collector what the imports made, which stays to the end."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 50)  # the rest of a network is young for long


@pytest.fixture
def check_layer(tmp_path):
    """Holds a layer to its contract, on inputs of two odd sizes."""
    import keras

    def shapes(tensors):
        return keras.tree.map_structure(lambda x: tuple(x.shape), tensors)

    def random_inputs(channels, count, step, height, width):
        rng = np.random.default_rng(height)
        largest = step ** ((count or 1) - 1)
        arrays = []
        for i in range(count or 1):
            size = (height * largest // step**i, width * largest // step**i)
            arrays.append(rng.standard_normal((6, *size, channels)).astype("float32"))
        return arrays if count else arrays[0]

    def check(layer, channels, count=None, step=1):
        """`count` is given for a layer that takes a list of so many tensors.

        Each of them is `step` times smaller than the one before.
        """
        inputs = keras.Input((None, None, channels))
        if count:
            inputs = [keras.Input((None, None, channels)) for _ in range(count)]
        outputs = layer(inputs)
        model = keras.Model(inputs, outputs)
        symbolic = shapes(inputs)
        promised = keras.tree.map_shape_structure(
            tuple, layer.compute_output_shape(symbolic)
        )
        assert promised == shapes(outputs)
        assert all(x.shape[1:3] == (None, None) for x in keras.tree.flatten(outputs))

        config = layer.get_config()
        assert type(layer).from_config(config).get_config() == config

        file = tmp_path / "layer.keras"
        model.save(file)
        reloaded = keras.saving.load_model(file)
        for height, width in ((5, 7), (8, 3)):
            x = random_inputs(channels, count, step, height, width)
            y = model(x)
            promised = layer.compute_output_shape(shapes(x))
            assert shapes(y) == keras.tree.map_shape_structure(tuple, promised)
            for ours, theirs in zip(
                keras.tree.flatten(y), keras.tree.flatten(reloaded(x)), strict=True
            ):
                np.testing.assert_array_equal(ours, theirs)

    return check


@pytest.fixture(scope="session")
def quick_to_compile():
    """The flags by which XLA compiles in less time what then runs in more."""
    return "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


@pytest.fixture(scope="session")
def leave_untraced():
    """Has networks trained without a trace of the step, by a `MonkeyPatch`.

    The trace takes longer than the few steps of a tiny network. It is left out where a
    test is of what is around the steps: images, files, logs and messages.
    """

    def leave(patch):
        import keras

        untraced = functools.partialmethod(keras.Model.compile, run_eagerly=True)
        patch.setattr(keras.Model, "compile", untraced)

    return leave


@pytest.fixture
def untraced(monkeypatch, leave_untraced):
    """Has networks trained without a trace of the step."""
    leave_untraced(monkeypatch)


@pytest.fixture
def shapes_alone():
    """Has networks built whose weights have shapes and never values.

    To make the values of a network in its full size takes longer than to count them.
    """
    import keras

    with keras.StatelessScope():
        yield
        keras.utils.clear_session(free_memory=False)  # or the values are made now


@pytest.fixture(scope="session")
def write_config(photographs):
    """Writes the config of a tiny training on the photographs; returns its file.

    The tables given add to the defaults or replace them, key by key; a model given by
    name has no defaults. The cache is beside the file.
    """

    def write(file, **tables):
        carn_m = {"filters": 8, "blocks": 1, "units": 1, "groups": 2}
        images, cache = str(photographs), str(file.parent / "cache")
        config = {
            "model": {"name": "carn_m", "scale": 2, **carn_m},
            "data": {"train": [images], "val": images, "cache": cache},
            "train": {"epochs": 2, "steps_per_epoch": 2, "batch": 2, "patch": 8},
        }
        if "name" in tables.get("model", {}):
            config["model"] = {}
        for name, table in tables.items():
            config[name] = {**config.get(name, {}), **table}
        file.write_text(tomli_w.dumps(config))
        return file

    return write


@pytest.fixture(scope="session")
def save_restorer(tmp_path_factory):
    """Saves a tiny SCN that restores; returns its file, to copy, and its arguments."""
    import keras

    from tfsr.models import scn

    @functools.cache
    def save(channels):
        keras.utils.set_random_seed(0)
        model = {"levels": 2, "filters": 4, "blocks": 1, "channels": channels}
        file = tmp_path_factory.mktemp("restorer") / "model.keras"
        scn(1, **model).save(file)
        return file, model

    return save


@pytest.fixture
def make_restorer(tmp_path, write_config, save_restorer):
    """Makes a run folder of a tiny SCN that restores, as training leaves it."""

    def make(channels, task):
        file, model = save_restorer(channels)
        out = tmp_path / "restorer"
        out.mkdir()
        shutil.copy(file, out)
        write_config(
            out / "config.toml",
            model={"name": "scn", "scale": 1, **model},
            data={"channels": channels, **task},
            train={"patch": 16},
        )
        return out

    return make


@pytest.fixture
def run(capsys):
    """Runs a command; returns its exit code, standard output and standard error."""

    def run_command(*arguments):
        from tfsr.cli import main

        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run_command


@pytest.fixture
def report(run):
    """Runs a command with `--json`; returns what it prints."""

    def run_command(*arguments):
        code, out, err = run(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    return run_command


@pytest.fixture
def no_memory_measured(monkeypatch):
    """Spares `benchmark` the processes in which it measures memory."""
    measure = "tfsr.tflite.benchmark.timing.peak_memory_mb"
    monkeypatch.setattr(measure, lambda file, threads, size: 10.0)


@pytest.fixture
def figures(monkeypatch):
    """The figures saved so far."""
    from matplotlib.figure import Figure

    saved, save = [], Figure.savefig

    def savefig(self, *args, **kwargs):
        saved.append(self)
        save(self, *args, **kwargs)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return saved


@pytest.fixture(scope="session")
def shared():
    """The folder of benchmark images and released weights beside the repository."""
    folder = Path(__file__).parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"{folder} is missing: benchmark images and weights are not here")
    return folder


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    """A folder of four small PNG photographs, 61x70 to 64x79; do not write into it."""
    import skimage.data
    from PIL import Image

    folder = tmp_path_factory.mktemp("photographs")
    for i, name in enumerate(("astronaut", "chelsea", "coffee", "rocket")):
        crop = getattr(skimage.data, name)()[50 : 111 + i, 100 : 170 + 3 * i]
        Image.fromarray(crop).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="session")
def litert_js():
    """The folder that `npm install @litertjs/core` was run in."""
    folder = Path(__file__).parents[1]
    if not (folder / "node_modules" / "@litertjs" / "core").is_dir():
        pytest.skip("there is no LiteRT.js here; run npm install @litertjs/core")
    return folder


@pytest.fixture(scope="session")
def open_chromium(tmp_path_factory):
    """Opens a Chromium with more flags; all are closed at the end."""
    program = find_chromium()
    if program is None:
        pytest.skip("there is no Chromium on the PATH")
    pages = []

    def start(*flags):
        profile = tmp_path_factory.mktemp("profile")
        pages.append(Browser(program, profile, flags))
        return pages[-1]

    yield start
    for page in pages:
        page.close()


@pytest.fixture(scope="session")
def chromium(open_chromium):
    return open_chromium()


@pytest.fixture
def package(tmp_path):
    """A folder as npm leaves it, with stand-ins for the files of LiteRT.js."""
    from tfsr.tflite.devices.browser import RUNTIMES

    core = tmp_path / "node_modules" / "@litertjs" / "core"
    utils = core.parent / "wasm-utils"
    for folder in (core / "dist", core / "wasm", utils / "dist"):
        folder.mkdir(parents=True)
    text = 'import { createWasmLib } from "@litertjs/wasm-utils";\n'
    (core / "dist" / "index.js").write_text(text)
    (utils / "dist" / "index.js").write_text("export {};\n")
    for runtime in RUNTIMES:
        for ending in ("js", "wasm"):
            (core / "wasm" / f"litert_wasm{runtime}_internal.{ending}").write_text("w")
    return tmp_path
