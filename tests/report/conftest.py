import shutil
import threading

import pytest

MODELS = ("small", "small_int8.tflite", "small_dynamic.tflite", "aware")
TILE = (40, 48)  # LR pixels, smaller than what the tests upscale


@pytest.fixture(scope="session")
def runs(write_config, photographs, tmp_path_factory, leave_untraced):
    """A folder of runs and files; do not write into it.

    `small`, trained in two steps, and of it `small_int8.tflite` of fixed size,
    `small_dynamic.tflite` and `aware`, ready to be trained for 8 bits.
    """
    import tfsr
    from tfsr.data import BenchmarkFolder
    from tfsr.tflite.conversion import convert
    from tfsr.tflite.quantization.aware import quantization_aware
    from tfsr.training import read_config, train
    from tfsr.upscaling.upscalers import from_uint8

    folder = tmp_path_factory.mktemp("runs")
    training = {"steps_per_epoch": 1, "learning_rate": 1e-2}
    config = write_config(folder / "small.toml", train=training)
    with pytest.MonkeyPatch.context() as patch:
        leave_untraced(patch)
        train(read_config(config), folder / "small")
    model = tfsr.load_model(folder / "small")
    images = BenchmarkFolder(photographs, 2)
    for name, size in (("int8", TILE), ("dynamic", None)):
        convert(model, 2, "int8", [size], folder / f"small_{name}.tflite", images)
    (folder / "aware").mkdir()
    shutil.copy(folder / "small" / "config.toml", folder / "aware")
    aware = quantization_aware(model, [from_uint8(pair.lr) for pair in images])
    aware.save(folder / "aware" / "model.keras")
    return folder


@pytest.fixture(scope="session")
def set5(photographs, tmp_path_factory):
    """The photographs in a folder named as one that papers print figures of."""
    return shutil.copytree(photographs, tmp_path_factory.mktemp("test") / "Set5")


@pytest.fixture(scope="session")
def made(runs, set5, tmp_path_factory):
    """The folder of a report on what is in `runs`; its test folder is `set5`."""
    from tfsr.cli import main

    out = tmp_path_factory.mktemp("report") / "out"
    arguments = [
        *(runs / name for name in MODELS),
        "bicubic",
        "--test",
        set5,
        "-o",
        out,
    ]
    assert main(["report", *map(str, arguments)]) == 0
    return out


@pytest.fixture
def serve():
    """Serves a report; returns its address."""
    from tfsr.report.server import make_server

    running = []

    def start(folder):
        listening = make_server(folder, port=0)
        running.append(listening)
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{listening.server_port}/"

    yield start
    for listening in running:
        listening.shutdown()
        listening.server_close()
