import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest

from tfsr import children
from tfsr.errors import InputError
from tfsr.tflite import export, metadata
from tfsr.tflite.devices import delegates, gpu, verification
from tfsr.tflite.devices.delegates import Delegate, advice, coverage
from tfsr.tflite.devices.engines import ENGINES, Engine
from tfsr.tflite.lowering.engine import lower
from tfsr.tflite.lowering.rules import FLOAT_RULES
from tfsr.tflite.resizing import at_size
from tfsr.tflite.runtime import TFLiteUpscaler

SIZE = (24, 32)


@pytest.fixture(scope="module")
def network():
    import keras

    from tfsr.models import sesr

    keras.utils.set_random_seed(0)
    return sesr(2, filters=4, blocks=1, expanded=8)


@pytest.fixture(scope="module")
def keras_file(network, tmp_path_factory):
    file = tmp_path_factory.mktemp("keras") / "net.keras"
    network.save(file)
    return file


@pytest.fixture(scope="module")
def files(network, tmp_path_factory):
    """A file of fixed size and one of open size, both in float32."""
    folder = tmp_path_factory.mktemp("files")
    facts: dict = {"scale": 2, "format": "float32"}
    fixed, of_open_size = folder / "fixed.tflite", folder / "open.tflite"
    for size, file in ((SIZE, fixed), (None, of_open_size)):
        content = export.float32(lower(network, FLOAT_RULES, *(size or ())))
        facts["size"] = size and list(size)
        file.write_bytes(metadata.with_metadata(content, facts))
    return fixed, of_open_size


@pytest.fixture
def engine(monkeypatch):
    """Makes a delegate `fake` whose engine does what the arguments say."""

    def make(function=None, *arguments, **more):
        def answer(*_):
            seconds = 1 if function == "time:sleep" else 60
            return children.call("m", function, *arguments, seconds=seconds)[0]

        made = Engine("fake", "", **{"coverage": answer, "run": answer, **more})
        monkeypatch.setitem(ENGINES, "fake", made)
        return Delegate("fake")

    return make


@pytest.mark.parametrize(
    "name", ["", "npu", "cpu:1", "gpu:", "gpu:x", "qualcomm", "a:"]
)
def test_names_of_no_delegate(name):
    with pytest.raises(
        InputError, match=rf"^{name}: no delegate; choose from cpu, gpu"
    ):
        Delegate(name)


def test_names_of_delegates():
    assert Delegate("gpu:float32").option == "float32"
    assert Delegate("qualcomm:SM8650").option == "SM8650"
    assert Delegate("cpu").engine.run is None


def test_the_cpu_takes_all(files):
    answer = coverage(files[0], Delegate("cpu"))
    assert (answer["taken"], answer["parts"]) == ("whole", 1)
    assert answer["refused_operators"] == []


FAULTS = {
    "aborts": (("os:abort",), r"^its process crashed \(SIGABRT\)"),
    "hangs": (("time:sleep", 60), r"^no answer within 1 s$"),
    "throws": (("builtins:int", "x"), r"^invalid literal for int"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_engines_that_fail_are_one_line(engine, files, fault):
    arguments, reason = FAULTS[fault]
    answer = coverage(files[0], engine(*arguments))
    assert answer["taken"] == "refused"
    with pytest.raises(InputError, match=reason):
        raise InputError(answer["reason"])


@pytest.mark.parametrize("fault", FAULTS)
def test_commands_on_engines_that_fail(
    run, engine, files, keras_file, photographs, fault
):
    arguments, reason = FAULTS[fault]
    delegate = engine(*arguments, compile=lambda *_: delegate.engine.coverage())
    reason = reason.strip("^$")
    images = ("--against", keras_file, "--images", photographs)
    code, out, err = run("verify", files[0], *images, "--delegate", "fake")
    assert (code, out) == (2, "")
    assert re.fullmatch(
        rf"tfsr: {files[0]}: fake does not run it: {reason}.*\.\n", lines(err)
    )
    code, out, err = run("inspect", files[0], "--delegates", "fake")
    assert code == 0
    assert re.search(rf"fake: refused.*{reason}", out)


def lines(err):
    """Returns the lines of `tfsr` on standard error."""
    found = [line for line in err.splitlines(True) if line.startswith("tfsr: ")]
    return "".join(found)


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """Has temporary files on a disk that has as much room as the function gets."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", folder]
    if not shutil.which("mount") or subprocess.run(mount, check=False).returncode:
        pytest.skip("a small tmpfs cannot be mounted here: needs Linux and root")
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    def leave(size):
        free = shutil.disk_usage(folder).free
        (folder / "ballast").write_bytes(bytes(free - size))
        return folder

    yield leave
    subprocess.run(["umount", folder], check=True)


def test_no_room_for_what_an_engine_gets(
    small_disk, run, engine, files, keras_file, photographs
):
    engine("builtins:bool")
    folder = small_disk(16384)
    images = ("--against", keras_file, "--images", photographs)
    code, _, err = run("verify", files[0], *images, "--delegate", "fake")
    assert code == 2
    expected = rf"tfsr: {folder}/.*/lr.npy: No space left on device\.\n"
    assert re.fullmatch(expected, lines(err))
    assert [file.name for file in folder.iterdir()] == ["ballast"]


@pytest.mark.parametrize("name", ["gpu", "qualcomm:SM8650"])
def test_no_room_for_what_an_engine_gives(small_disk, here, files, name):
    delegate = here(name)
    image = np.zeros((*SIZE, 3), np.float32)
    small_disk(20480)  # four of these, as output, are 37 KB
    with pytest.raises(InputError, match=rf"{name} does not run it: .*[Nn]o space"):
        delegates.DelegatedUpscaler(files[0], delegate, [image])


def test_no_room_for_a_compiled_file(small_disk, here, files):
    npu = here("qualcomm:SM8650")
    small_disk(4096)
    assert "no space left in" in coverage(files[0], npu)["reason"]


def test_what_is_not_installed_is_named(run, report, engine, files, monkeypatch):
    engine(missing=lambda: "pip install it", notice="read its licence")
    found = report("inspect", files[0], "--delegates", "fake,cpu")["delegates"]
    assert [*found] == ["fake", "cpu"]
    assert found["fake"]["taken"] == "unavailable"
    assert found["fake"]["reason"] == "pip install it"
    for command in ("verify", "benchmark"):
        more = ("--against", "x.keras", "--images", "x") if command == "verify" else ()
        code, _, err = run(command, files[0], "--delegate", "fake", *more)
        assert code == 2
        assert "licence" not in err


def test_without_a_driver_chromium_is_named(files, monkeypatch, tmp_path):
    for name in gpu.NAMES_A_DRIVER:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(gpu, "INSTALLED", [])
    monkeypatch.setattr(gpu, "DRIVER", tmp_path / "none.json")
    answer = coverage(files[0], Delegate("gpu"))
    assert answer["taken"] == "unavailable"
    assert "no Vulkan driver" in answer["reason"]
    assert "apt install chromium" in answer["reason"]


def test_a_driver_that_is_none(here, files, monkeypatch, tmp_path):
    delegate = here("gpu")
    monkeypatch.setenv("VK_ICD_FILENAMES", str(tmp_path / "none.json"))
    monkeypatch.setenv("VK_DRIVER_FILES", str(tmp_path / "none.json"))
    answer = coverage(files[0], delegate)
    assert answer["taken"] == "refused"
    assert answer["reason"].startswith("no Vulkan driver that is set up here can")
    assert f"={gpu.DRIVER} takes Chromium's" in answer["reason"]
    monkeypatch.setattr(gpu, "DRIVER", tmp_path / "none.json")
    assert "apt install chromium" in coverage(files[0], delegate)["reason"]


def test_a_file_of_open_size_is_refused(engine, files):
    answer = coverage(files[1], engine("os:abort", open_size=False))
    assert answer["taken"] == "refused"
    assert answer["reason"].startswith("its size is open")


def test_a_file_of_open_size_is_verified_as_a_small_one(
    run, engine, files, keras_file, photographs, monkeypatch
):
    monkeypatch.setattr(verification, "SMALL", SIZE)

    def run_small(file, option, lr, sr, seconds):
        local = TFLiteUpscaler(file)
        assert local.size == SIZE
        images = [local(image[0])[None] for image in np.load(lr)]
        np.save(sr, np.stack(images))
        return {"device": "Small", "note": "is small"}

    engine(run=run_small)
    command = ("verify", files[1], "--against", keras_file, "--images", photographs)
    code, out, err = run(*command, "--delegate", "fake", "--json")
    assert code == 0
    assert f"tfsr: {files[1].name}: is small." in err
    verified = json.loads(out)
    assert verified["device"] == "Small"
    assert abs(verified["loss_db"]) < 1e-3
    assert {tuple(image["lr_size"]) for image in verified["images"]} == {SIZE}


def facts_of(tmp_path, file, **facts):
    """Returns a copy of a file with other facts."""
    copy = tmp_path / "copy.tflite"
    facts = {**metadata.read(file), **facts}
    copy.write_bytes(metadata.with_metadata(file.read_bytes(), facts))
    assert metadata.read(copy) == facts
    return copy


def test_advice_names_whom_it_is_for(tmp_path, files):
    assert advice(files[0]) == []
    (line,) = advice(files[1])
    assert line.startswith("gpu and qualcomm would refuse a file of open size")
    dynamic = facts_of(tmp_path, files[0], format="dynamic_int8")
    assert advice(dynamic) == [
        "qualcomm would take dynamic_int8 in parts; convert with --format int8."
    ]
    assert advice(dynamic, [Delegate("gpu")]) == []
    wide = facts_of(tmp_path, files[0], format="int16x8")
    assert advice(wide, [Delegate("qualcomm:SM8650")]) == [
        "qualcomm:SM8650 would take int16x8 in parts or not at all; "
        "convert with --format int8."
    ]


@pytest.mark.parametrize("name", ["gpu", "qualcomm:SM8650"])
def test_what_pads_and_crops_is_taken_whole(here, tmp_path, name):
    """Converted at an odd size, and of open size and made one of that."""
    from tfsr.models import ffdnet

    network = ffdnet(filters=4, blocks=1, colors=4, color_blocks=1, expanded=8)
    of_open_size = export.float32(lower(network, FLOAT_RULES))
    facts = {"scale": 1, "format": "float32", "size": [15, 21]}
    for content in (
        export.float32(lower(network, FLOAT_RULES, 15, 21)),
        at_size(of_open_size, 15, 21),
    ):
        file = tmp_path / "file.tflite"
        file.write_bytes(metadata.with_metadata(content, facts))
        answer = coverage(file, here(name))
        assert answer["taken"] == "whole", answer


LOG = """INFO: [environment.cc:36] Creating LiteRT environment with options
I0000 00:00:1 12595 environment.cc:532] Selected adapter: SwiftShader Device \
(Subzero), arch=swiftshader, vendor=google, backend=Vulkan, adapterType=CPU / Software
ERROR: Following operations are not supported by GPU delegate:
CONV_2D: Tensor type(INT16) is not supported. BiasAdd;Conv2D;BiasAdd/bias1
CONV_2D: Tensor type(INT16) is not supported. Pad
DEQUANTIZE: Unsupported dequantization type.
5 operations will run on the GPU, and the remaining 23 operations will run on the CPU.
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
"""


def test_what_a_log_of_the_gpu_says():
    assert gpu.parse(LOG, whole=False) == {
        "parts": 1,
        "whole": False,
        "refused_operators": ["CONV_2D", "DEQUANTIZE"],
        "reason": "CONV_2D: Tensor type(INT16) is not supported.",
    }
    none = LOG.replace("5 operations will run", "No operations will run")
    assert gpu.parse(none, whole=False)["parts"] == 0
    assert gpu.adapter(LOG) == {
        "device": "SwiftShader Device (Subzero)",
        "software": True,
    }
    real = LOG.replace("CPU / Software", "Discrete GPU")
    assert gpu.adapter(real)["software"] is False


def test_the_gpu_loses_nothing(here, run, report, files, keras_file, photographs):
    here("gpu")
    image = np.full((*SIZE, 3), 0.5, np.float32)
    chosen = delegates.DelegatedUpscaler(files[0], Delegate("gpu"), [image])
    software = "SwiftShader" in chosen.device
    assert (chosen.note is not None) == software  # it has no float16
    found = report("inspect", files[0], "--delegates", "gpu")["delegates"]["gpu"]
    assert (found["taken"], found["parts"]) == ("whole", 1)
    command = ("verify", files[0], "--against", keras_file, "--images", photographs)
    code, out, err = run(*command, "--delegate", "gpu:float32", "--json")
    assert (code, "float16" in err) == (0, False)
    verified = json.loads(out)
    assert verified["delegate"] == "gpu:float32"
    assert verified["device"] == found["device"]
    assert abs(verified["loss_db"]) < 1e-3
    assert verified["psnr_between"] == "inf" or verified["psnr_between"] > 60
    assert verified["psnr_on_cpu"] == pytest.approx(
        verified["psnr_quantized"], abs=0.01
    )
    assert max(verified["flat_field_error"].values()) <= 1
    assert all(image["lr_size"] == list(SIZE) for image in verified["images"])


def test_times_of_a_driver_in_software_want_a_flag(here, run, engine, files):
    of_software = {
        "whole": True,
        "parts": 1,
        "refused_operators": [],
        "reason": None,
        "device": "Slow",
        "software": True,
    }
    engine(coverage=lambda *_: of_software, measure=gpu.measure)
    code, _, err = run("benchmark", files[0], "--delegate", "fake")
    assert code == 2
    assert "fake: Slow is a software driver; its times say nothing" in err
    here("gpu")
    command = ("benchmark", files[0], "--delegate", "gpu", "--software-driver")
    code, out, err = run(*command, "--runs", "2", "--json")
    assert code == 0, err
    (result,) = json.loads(out)["results"]
    assert result["delegate"] == "gpu"
    assert result["runs"] == 2
    assert 0 < result["min_ms"] <= result["median_ms"]


@pytest.mark.parametrize("delegate", ["qualcomm:SM8650", "fake"])
def test_what_has_no_times(run, engine, files, delegate):
    engine()
    code, _, err = run("benchmark", files[0], "--delegate", delegate)
    assert code == 2
    assert f"{delegate}: times on this machine say nothing about it." in err


def test_a_compiled_file_has_our_metadata(engine, files, tmp_path):
    def append(file, option, out, seconds):
        out.write_bytes(Path(file).read_bytes() + b"bytecode")

    file = tmp_path / "m.tflite"
    shutil.copy(files[0], file)
    made = delegates.compile(file, engine(compile=append))
    assert made.parent == tmp_path
    assert made.read_bytes().endswith(b"bytecode")
    assert metadata.read(made) == {**metadata.read(file), "compiled": "fake"}
    with pytest.raises(InputError, match=r"is compiled for fake; nothing else"):
        TFLiteUpscaler(made)


def test_a_compiled_file_is_inspected(run, engine, files, tmp_path):
    file = facts_of(tmp_path, files[0], compiled="fake")
    engine("os:abort")
    code, out, err = run("inspect", file, "--delegates", "cpu,fake")
    assert (code, err) == (0, "")
    assert "compiled: fake\n" in out
    for name in ("cpu", "fake"):
        assert f"{name}: unavailable: compiled already, for fake; ask about" in out


def test_nothing_is_compiled_for_the_gpu(files):
    with pytest.raises(InputError, match=r"^gpu: takes no compiled files"):
        delegates.compile(files[0], Delegate("gpu"))


def test_compiling_wants_a_fixed_size(run, engine, keras_file, tmp_path):
    engine(compile=lambda *_: None)
    command = ("convert", keras_file, "--format", "int8", "--compile", "fake")
    code, _, err = run(*command, "-o", tmp_path / "m.tflite")
    assert code == 2
    assert "fake: compiles files of fixed size; give --size." in err
    assert not list(tmp_path.iterdir())


def test_the_middle_of_images(photographs):
    from tfsr.data import BenchmarkFolder

    folder = BenchmarkFolder(photographs, 2)
    whole, middle = folder[0], folder.middles((10, 12))[0]
    assert middle.lr.shape == (10, 12, 3)
    top, left = ((n - m) // 2 for n, m in zip(whole.lr.shape, (10, 12), strict=False))
    np.testing.assert_array_equal(
        middle.hr, whole.hr[2 * top : 2 * top + 20, 2 * left : 2 * left + 24]
    )
    with pytest.raises(InputError, match=r"its LR is 30x35, smaller than 40x12"):
        folder.middles((40, 12))[0]
