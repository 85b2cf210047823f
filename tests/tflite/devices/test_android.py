import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfsr.cli import main
from tfsr.data import BenchmarkFolder
from tfsr.models import carn_m
from tfsr.tflite.conversion import convert
from tfsr.tflite.devices import android, delegates
from tfsr.tflite.devices.engines import ENGINES, Engine
from tfsr.tflite.devices.phone_delegates import PhoneDelegate

HERE = Path(__file__).parent
PHONE_PROGRAMS = {
    "getprop": """case $1 in
ro.product.manufacturer) echo Acme ;;
ro.product.model) echo Phone 7 ;;
ro.soc.model) echo X1 ;;
ro.build.version.release) echo 14 ;;
ro.build.version.sdk) echo 34 ;;
ro.product.cpu.abilist) echo arm64-v8a,armeabi-v7a ;;
esac""",
    # one line of the file for each question, the last one for ever
    "dumpsys": """echo "IsStatusOverride: false"
echo "Thermal Status: $(head -n 1 $FAKE_PHONE/thermal)"
[ $(wc -l < $FAKE_PHONE/thermal) -gt 1 ] && sed -i 1d $FAKE_PHONE/thermal
echo "Cached temperatures:" """,
    "taskset": 'echo $1 >> $FAKE_PHONE/masks; shift; exec "$@"',
}
MHZ = [1800] * 4 + [2400] * 3 + [3000]


@pytest.fixture(scope="module")
def models(tmp_path_factory, photographs):
    folder = tmp_path_factory.mktemp("models")
    images, model = BenchmarkFolder(photographs, 2), carn_m(2, filters=8, blocks=1)
    return [
        str(convert(model, 2, f, [size], folder / f"{f}.tflite", images)[0])
        for f, size in (("float32", None), ("int8", (8, 12)))
    ]


@pytest.fixture
def phone(connect, tmp_path, monkeypatch):
    """A phone that the real `adb` is connected to."""
    phone = connect(tmp_path / "phone")
    for name, content in PHONE_PROGRAMS.items():
        program(phone, name, content)
    for i, mhz in enumerate(MHZ):
        core = phone.folder / "cpu" / f"cpu{i}" / "cpufreq"
        core.mkdir(parents=True)
        (core / "cpuinfo_max_freq").write_text(f"{mhz * 1000}\n")
    (phone.folder / "thermal").write_text("0\n")
    monkeypatch.setattr(android, "THERMAL_POLL_S", 0.01)
    return phone


def program(phone, name, content):
    """Puts a shell script on the phone's PATH."""
    file = phone.folder / "bin" / name
    file.write_text(f"#!/bin/sh\n{content}\n")
    file.chmod(0o755)


@pytest.fixture
def tool(tmp_path):
    """The stand-in for `benchmark_model`."""
    file = tmp_path / "benchmark_model"
    source = (HERE / "fake_benchmark_model.py").read_text()
    file.write_text(f"#!{sys.executable}\n{source}")
    return str(file)


@pytest.fixture
def bench(phone, tool, models, capsys, tmp_path):
    """Runs `tfsr benchmark --android`; returns code, error lines and the report."""

    def run(*arguments, files=models[1:], tool=tool):
        written = tmp_path / "report.json"
        command = ["benchmark", "--android", "--tool", tool, "--size", "8x12"]
        command += ["--runs", "5", "--warmup", "2", "--json", str(written)]
        code = main([*command, *arguments, *files])
        lines = [
            line.removeprefix("tfsr: ")
            for line in capsys.readouterr().err.splitlines()
            if line.startswith("tfsr: ")
        ]
        report = json.loads(written.read_text()) if written.exists() else None
        if not phone.is_gone:
            assert not list((phone.folder / "tmp").iterdir())  # it cleaned up
        return code, lines, report

    return run


def test_the_whole_way(bench, phone, models, photographs):
    code, lines, report = bench(
        *("--delegates", "cpu,gpu", "--threads", "1,5"),
        *("--image", str(photographs / "coffee.png")),
        files=models,
    )
    assert (code, lines) == (0, [])
    assert report["device"] == "Acme Phone 7, X1, 8 cores, Android 14"
    facts = report["android"]
    assert facts["abis"] == ["arm64-v8a", "armeabi-v7a"]
    assert facts["max_mhz"] == MHZ
    assert facts["thermal_status"] == 0
    results = report["results"]
    assert [(Path(r["file"]).name, r["delegate"], r["threads"]) for r in results] == [
        ("float32.tflite", "xnnpack", 1),
        ("int8.tflite", "xnnpack", 1),
        ("float32.tflite", "xnnpack", 5),
        ("int8.tflite", "xnnpack", 5),
        ("float32.tflite", "gpu", 5),
        ("int8.tflite", "gpu", 5),
    ]
    for r in results:
        assert r["runs"] == 5
        assert 0 < r["min_ms"] <= r["median_ms"] <= r["p95_ms"]
        assert r["spread"] == pytest.approx(
            (r["p95_ms"] - r["min_ms"]) / r["median_ms"]
        )
        assert r["load_ms"] == 1.25
        assert r["peak_memory_mb"] == 8.5
        assert (r["delegated"], r["partitions"]) == ("all", 1)
        assert r["size"] == "8x12"
        assert r["psnr_db"] == "inf" or r["psnr_db"] > 60
        assert r["thermal_status"] == [0, 0]
    masks = ["f0"] * 2 + ["f1"] * 4
    assert [r["cpu_mask"] for r in results] == masks
    assert (phone.folder / "masks").read_text().split() == masks
    assert report["failures"] == []


def test_reports_are_those_of_this_machine(bench, models, tmp_path):
    options = ("--threads", "1", "--profile", "-o")
    code, _, on_phone = bench("--delegates", "cpu", *options, str(tmp_path / "phone_"))
    assert code == 0
    (profile,) = on_phone["profiles"]
    assert profile["operators_ms"] == pytest.approx(2 * 3 + 2)
    assert profile["kinds"][0]["kind"] == "Convolution (NHWC, QC8) IGEMM"
    assert profile["whole_ms"] == on_phone["results"][0]["median_ms"]

    assert main(["benchmark", models[1], *options, str(tmp_path / "here")]) == 0
    here = json.loads((tmp_path / "here" / "benchmark.json").read_text())
    assert here.keys() <= on_phone.keys()
    assert here["results"][0].keys() <= on_phone["results"][0].keys()
    assert here["profiles"][0].keys() == profile.keys()
    rows = [r["operators"][0].keys() for r in (here["profiles"][0], profile)]
    assert rows[0] == rows[1]
    names = [
        sorted(file.name for file in (tmp_path / name).iterdir())
        for name in ("here", "phone_")
    ]
    assert names[0] == names[1]
    for name in ("benchmark.png", "profile.png"):
        with Image.open(tmp_path / "phone_" / name) as picture:
            picture.verify()
    (row,) = csv.DictReader((tmp_path / "phone_/benchmark.csv").read_text().split("\n"))
    assert float(row["p95_ms"]) == on_phone["results"][0]["p95_ms"]
    assert "PSNR" in (tmp_path / "phone_" / "benchmark.md").read_text()


@pytest.mark.parametrize("form", ["old", "litert"])
def test_other_forms_of_the_tool(bench, monkeypatch, form):
    monkeypatch.setenv("FAKE_TOOL", form)
    code, _, report = bench("--delegates", "cpu", "--threads", "2")
    assert code == 0
    (r,) = report["results"]
    assert r["runs"] == 5
    assert r["load_ms"] == 1.25
    assert r["first_ms"] > 0
    assert 0 < r["min_ms"] <= r["mean_ms"]
    assert r["peak_memory_mb"] == 8.5
    assert r["psnr_db"] is None  # no --output_filepath
    assert (r["median_ms"] is None) == (form == "old")  # LiteRT's writes the protobuf


def test_output_of_a_wrong_model_shows(bench, monkeypatch):
    monkeypatch.setenv("FAKE_TOOL", "wrong")
    _, _, report = bench("--delegates", "cpu", "--threads", "1")
    assert report["results"][0]["psnr_db"] < 40


def test_a_part_of_the_graph(bench, monkeypatch, tmp_path):
    monkeypatch.setenv("FAKE_TOOL", "part")
    _, _, report = bench("--delegates", "gpu", "-o", str(tmp_path / "out"))
    (r,) = report["results"]
    assert "| 20 of 27 |" in (tmp_path / "out" / "benchmark.md").read_text()
    assert (r["delegated"], r["partitions"]) == ("part", 3)
    assert (r["delegated_operators"], r["operators"]) == (20, 27)


def elf(machine):
    """Returns the head of an ELF file for a kind of processor."""
    return b"\x7fELF\x02\x01\x01" + bytes(11) + machine.to_bytes(2, "little")


def test_an_external_delegate_comes_along(bench, phone, tmp_path):
    library = tmp_path / "libnpu.so"
    library.write_bytes(elf(machine=183))
    code, _, report = bench("--delegates", f"external:{library}")
    assert code == 0
    assert report["results"][0]["delegate"] == "libnpu.so"
    assert any(asked.endswith("/libnpu.so") for asked in phone.asked)
    missing = tmp_path / "libno.so"
    code, lines, _ = bench("--delegates", f"external:{missing}")
    assert code == 2
    assert lines == [f"{missing}: neither here nor on the phone."]


@pytest.fixture
def libraries(tmp_path):
    """The libraries of LiteRT and of an NPU's maker, one of them for the NPU itself."""
    folder = tmp_path / "its libraries"
    folder.mkdir()
    (folder / "libLiteRtDispatch_Qualcomm.so").write_bytes(elf(machine=183))
    (folder / "libQnnHtpV75Skel.so").write_bytes(elf(machine=164))
    return folder


def test_the_npu_of_litert(bench, monkeypatch, libraries):
    monkeypatch.setenv("FAKE_TOOL", "litert")
    code, lines, report = bench("--delegates", f"npu:{libraries}", "--threads", "1")
    assert (code, lines) == (0, [])
    (r,) = report["results"]
    assert (r["delegate"], r["delegated"], r["partitions"]) == ("npu", "all", 1)
    (libraries / "libLiteRtDispatch_Qualcomm.so").unlink()
    code, lines, _ = bench("--delegates", f"npu:{libraries}")
    assert code == 2
    assert lines[0].startswith(f"{libraries}: has no libLiteRtDispatch*.so")


def test_a_compiled_file_is_compared_with_the_plain_one(
    bench, monkeypatch, libraries, models, tmp_path
):
    def append(file, option, out, seconds):
        out.write_bytes(Path(file).read_bytes())

    engine = Engine("fake:SOC", "X1", lambda *_: {}, compile=append)
    monkeypatch.setitem(ENGINES, "fake", engine)
    plain = tmp_path / "m.tflite"
    shutil.copy(models[1], plain)
    compiled = delegates.compile(plain, delegates.Delegate("fake:X1"))
    monkeypatch.setenv("FAKE_TOOL", "litert")
    options = ("--delegates", f"npu:{libraries}", "--threads", "1")
    code, _, report = bench(*options, files=[str(compiled)])
    assert (code, report["results"][0]["file"]) == (0, str(compiled))
    plain.unlink()
    code, lines, _ = bench(*options, files=[str(compiled)])
    assert code == 2
    assert lines[0].startswith(f"{compiled}: the file it was compiled from must lie")


def test_precision_of_the_gpu():
    assert PhoneDelegate("gpu").arguments() == ["--use_gpu=true"]
    exact = PhoneDelegate("gpu:float32")
    assert (exact.name, exact.flag) == ("gpu:float32", "--use_gpu")
    assert "--gpu_precision_loss_allowed=false" in exact.arguments()
    assert "--allow_fp16=false" in exact.arguments()


def test_libraries_go_to_the_folder_of_each_run(tmp_path):
    sent = []

    class Phone:
        def push(self, file, target):
            sent.append(target)

    library = tmp_path / "lib.so"
    library.write_text("#!")
    delegate = PhoneDelegate(f"external:{library}")
    paths = [delegate.send(Phone(), folder, []) for folder in ("/1", "/2")]
    assert paths == sent == ["/1/lib.so", "/2/lib.so"]
    assert delegate.arguments(paths[1]) == ["--external_delegate_path=/2/lib.so"]


def test_a_tool_for_another_processor(bench, phone, tmp_path):
    file = tmp_path / "linux_x86-64_benchmark_model"
    file.write_bytes(elf(machine=62))
    code, lines, report = bench(tool=str(file))
    assert (code, report) == (2, None)
    assert lines == [
        f"{file}: is for x86_64, the phone runs arm64-v8a, armeabi-v7a; get that one."
    ]
    assert not any(asked.startswith("send") for asked in phone.asked)


def test_it_waits_for_a_warm_phone(bench, phone):
    (phone.folder / "thermal").write_text("3\n2\n1\n0\n1\n")
    _, _, report = bench("--delegates", "cpu", "--threads", "1")
    assert report["android"]["thermal_status"] == 3
    assert report["results"][0]["thermal_status"] == [0, 1]


def test_it_does_not_wait_for_ever(bench, phone):
    (phone.folder / "thermal").write_text("2\n")
    code, _, report = bench("--delegates", "cpu", "--threads", "1", "--cool", "1")
    assert code == 0
    assert report["results"][0]["thermal_status"] == [2, 2]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("refuse", "gpu refused the model: Failed to apply GPU delegate."),
        ("ignore", "gpu refused the model: it took no operator of the model."),
        ("silent", "gpu refused the model: the tool does not say that it ran"),
        ("crash", "the tool crashed (SIGSEGV) after: INFO: Explicitly applied GPU"),
        ("fail", "the tool failed (exit code 1): ERROR: Failed to allocate tensors!"),
        ("full", "no space left on the phone."),
        ("hang", "no end within 1 s."),
        ("mute", "the tool printed no timings"),
    ],
)
def test_a_failed_run_is_one_line(bench, monkeypatch, models, words, expected):
    monkeypatch.setenv("FAKE_TOOL", words)
    timeout = ["--timeout", "1"] if words == "hang" else []
    code, lines, report = bench("--delegates", "gpu", "--threads", "2", *timeout)
    assert code == 1
    assert lines[0].startswith(f"{models[1]}, gpu, 2 threads: {expected}")
    assert lines[1:] == ["1 of 1 runs failed."]
    (failure,) = report["failures"]
    assert failure["error"] in lines[0]
    assert report["results"] == []


def test_other_runs_go_on_after_a_failure(bench, monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("FAKE_TOOL", "crash")
    monkeypatch.setenv("FAKE_WHEN", "--use_gpu")
    out = tmp_path / "out"
    arguments = ["--delegates", "gpu,cpu", "--threads", "1", "-o", str(out)]
    code, lines, report = bench(*arguments)
    assert (code, lines[-1]) == (1, "1 of 2 runs failed.")
    assert [r["delegate"] for r in report["results"]] == ["xnnpack"]
    markdown = (out / "benchmark.md").read_text()
    assert "- int8.tflite, gpu, 1 thread: the tool crashed (SIGSEGV)" in markdown


def test_a_profile_may_fail_alone(bench, monkeypatch):
    monkeypatch.setenv("FAKE_TOOL", "unprofiled")
    code, lines, report = bench("--delegates", "cpu", "--threads", "1", "--profile")
    assert code == 1
    assert len(report["results"]) == 1
    assert "gave no profile" in lines[0]


def test_output_that_is_not_finite(bench, monkeypatch, models):
    monkeypatch.setenv("FAKE_TOOL", "nan")
    code, lines, report = bench(
        "--delegates", "cpu", "--threads", "1", files=models[:1]
    )
    assert (code, report["results"]) == (1, [])
    assert "its output is NaN or infinite" in lines[0]


def test_a_lost_phone_keeps_the_results(bench, phone, monkeypatch):
    monkeypatch.setenv("FAKE_TOOL", "vanish")
    monkeypatch.setenv("FAKE_WHEN", "--use_gpu")
    code, lines, report = bench("--threads", "1")
    assert code == 2
    assert lines == [f"{phone.serial}: lost the phone (the connection ended)."]
    assert [r["delegate"] for r in report["results"]] == ["xnnpack"]


def test_a_tool_that_the_phone_cannot_run(bench, tmp_path):
    script = tmp_path / "tool"
    script.write_text("#!/no/such/interpreter\n")
    code, lines, report = bench(tool=str(script))
    assert (code, report) == (2, None)
    assert len(lines) == 1
    assert lines[0].startswith(f"{script}: the phone cannot run it (")


def test_real_adb_without_a_phone(real_adb, tool, models, capsys):
    assert main(["benchmark", "--android", "--tool", tool, models[1]]) == 2
    assert capsys.readouterr().err == (
        "tfsr: adb: no phone; connect one by USB and allow USB debugging in its "
        "developer options.\n"
    )


def test_the_serial_number_chooses(bench, phone, connect, tmp_path):
    other = connect(tmp_path / "other")
    code, lines, _ = bench("--delegates", "cpu", "--threads", "1")
    assert code == 2
    assert lines[0].startswith("adb: several phones (")
    options = ("--delegates", "cpu", "--threads", "1", "--serial", phone.serial)
    code, _, report = bench(*options)
    assert (code, report["android"]["serial"]) == (0, phone.serial)
    assert other.asked == []


def test_no_space_for_the_files(bench, phone, tool):
    phone.free_bytes = 1000
    code, lines, report = bench()
    assert (code, report) == (2, None)
    assert lines == [
        f"{phone.serial}: no space left on the phone for {tool} "
        f"({Path(tool).stat().st_size / 1e6:.1f} MB) in /data/local/tmp."
    ]


def test_no_place_on_the_phone(bench, phone):
    program(phone, "mkdir", "echo mkdir: $1: No space left on device; exit 1")
    code, lines, report = bench()
    assert (code, report) == (2, None)
    assert lines[0].startswith(f"{phone.serial}: cannot make /data/local/tmp/tfsr-")
    assert lines[0].endswith("(no space left on the phone).")


def test_no_adb(bench, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, lines, _ = bench()
    assert code == 2
    assert lines[0].startswith("adb: not found on the PATH; install")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--delegates", "npu"], "'npu': no delegate; choose from cpu, gpu,"),
        (["--delegates", "external:"], "'external:': no delegate"),
        (["--delegates", "gpu:float16"], "'gpu:float16': no delegate"),
        (["--tool", "nowhere"], "nowhere: no such file; --tool names"),
        (["--image", "nowhere.png"], "nowhere.png: no such file"),
    ],
)
def test_mistakes_are_found_before_the_phone(bench, phone, arguments, expected):
    code, lines, _ = bench(*arguments)
    assert code == 2
    assert lines[0].startswith(expected)
    assert phone.asked == []


def test_options_of_a_phone_need_one(capsys, models):
    assert main(["benchmark", models[0], "--tool", "x"]) == 2
    assert "--tool: is for a phone; add --android." in capsys.readouterr().err
    assert main(["benchmark", models[0], "--android"]) == 2
    assert "--android: needs --tool" in capsys.readouterr().err


def test_images_are_cut_or_mirrored():
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    np.testing.assert_array_equal(android._fit(pixels, 2, 2), pixels[1:3, 2:4])
    larger = android._fit(pixels, 10, 7)
    assert larger.shape == (10, 7, 3)
    np.testing.assert_array_equal(larger[4:8, :6], pixels[::-1])


def test_delegates_have_names():
    assert [PhoneDelegate(t).name for t in ("cpu", "gpu", "external:/a/libb.so")] == [
        "xnnpack",
        "gpu",
        "libb.so",
    ]


def test_ctrl_c_keeps_results_and_cleans_up(phone, tool, models, tmp_path, monkeypatch):
    monkeypatch.setenv("FAKE_TOOL", "hang")
    monkeypatch.setenv("FAKE_WHEN", "--use_gpu")
    out = tmp_path / "out"
    command = [sys.executable, "-c", "import sys, tfsr.cli; sys.exit(tfsr.cli.main())"]
    command += ["benchmark", "--android", "--tool", tool, "--threads", "1"]
    with subprocess.Popen(
        [*command, "-o", str(out), models[1]],
        stdout=subprocess.DEVNULL,
        text=True,
        # A shell's background jobs, such as these tests may be, ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        masks = phone.folder / "masks"
        while (
            not (pids := list((phone.folder / "tmp").glob("*/pid")))
            or not masks.exists()
            or masks.read_text().count("\n") < 2
        ):
            assert process.poll() is None
            time.sleep(0.05)
        tool_process = int(pids[0].read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait() == 130
    assert not list((phone.folder / "tmp").iterdir())
    with pytest.raises(ProcessLookupError):
        os.kill(tool_process, 0)
    report = json.loads((out / "benchmark.json").read_text())
    assert [r["delegate"] for r in report["results"]] == ["xnnpack"]
