import csv
import json
import subprocess
import sys

import pytest
from PIL import Image

from tfsr import children
from tfsr.data import BenchmarkFolder
from tfsr.models import carn_m
from tfsr.tflite.benchmark import report as report_files
from tfsr.tflite.benchmark import timing
from tfsr.tflite.benchmark.profiling import profile
from tfsr.tflite.benchmark.timing import benchmark, statistics
from tfsr.tflite.conversion import convert


@pytest.fixture(scope="module")
def files(tmp_path_factory, photographs):
    folder = tmp_path_factory.mktemp("converted")
    images, model = BenchmarkFolder(photographs, 2), carn_m(2, filters=8, blocks=1)
    return [
        convert(model, 2, f, [(8, 8)], folder / f"{f}.tflite", images)[0]
        for f in ("float32", "int8")
    ]


def test_every_file_and_thread_count_is_reported(files):
    report = benchmark(files, threads=[1, 2], runs=4, warmup=1)
    results = report["results"]
    assert [(r["format"], r["threads"]) for r in results] == [
        ("float32", 1),
        ("float32", 2),
        ("int8", 1),
        ("int8", 2),
    ]
    for r in results:
        assert r["runs"] == 4
        assert 0 < r["min_ms"] <= r["median_ms"] <= r["p95_ms"]
        assert r["min_ms"] <= r["mean_ms"]
        assert r["size"] == "8x8"
        assert r["size_bytes"] > 1000
        assert r["partitions"] == 1
        assert r["peak_memory_mb"] > 0


def test_statistics_of_known_latencies():
    latencies = [10.0 + ms for ms in range(101)]
    assert statistics(latencies) == pytest.approx(
        {
            "runs": 101,
            "median_ms": 60,
            "p95_ms": 105,
            "min_ms": 10,
            "mean_ms": 60,
            "std_ms": (100 * 102 / 12) ** 0.5,
            "spread": (105 - 10) / 60,
        }
    )


@pytest.mark.usefixtures("no_memory_measured")
def test_all_forms_of_the_report_agree(tmp_path, files):
    report = benchmark(files, threads=[1], runs=3)
    report["profiles"] = [profile(file, 1, runs=1) for file in files]
    report_files.write(tmp_path / "new" / "report", report)
    folder = tmp_path / "new" / "report"
    assert json.loads((folder / "benchmark.json").read_text()) == report
    rows = list(csv.DictReader((folder / "benchmark.csv").read_text().splitlines()))
    assert [float(r["median_ms"]) for r in rows] == [
        r["median_ms"] for r in report["results"]
    ]
    assert list(rows[0]) == list(report["results"][0])
    markdown = (folder / "benchmark.md").read_text()
    assert markdown.startswith(report["device"])
    assert f"{report['results'][1]['median_ms']:.1f}" in markdown.splitlines()[-1]
    rows = list(csv.DictReader((folder / "profile.csv").read_text().splitlines()))
    for file, expected in zip(files, report["profiles"], strict=True):
        ours = [r for r in rows if r["file"] == str(file)]
        total = sum(float(r["total_ms"]) for r in ours)
        assert total == pytest.approx(expected["operators_ms"])
    assert (folder / "profile.md").read_text().count("## ") == 2
    assert len(list(folder.iterdir())) == 7
    for name in ("benchmark.png", "profile.png"):
        with Image.open(folder / name) as picture:
            picture.verify()


def test_bars_and_whiskers_are_the_numbers():
    result = {"file": "a.tflite", "threads": 1, "delegate": "gpu"}
    with_percentiles = {"median_ms": 5.0, "p95_ms": 8.0, "min_ms": 4.0, "mean_ms": 6.0}
    without = {"median_ms": None, "p95_ms": None, "min_ms": 1.0, "mean_ms": 3.0}
    figure = report_files.latency_figure(
        {
            "device": "a phone",
            "results": [result | with_percentiles, result | without],
        }
    )
    (axes,) = figure.axes
    assert [bar.get_width() for bar in axes.patches] == [5, 3]
    whiskers = [c.get_segments()[0][:, 0].tolist() for c in axes.collections]
    assert whiskers == [[4, 8], [3, 3]]
    assert axes.get_yticklabels()[0].get_text() == "a.tflite\n1 thread, gpu"
    assert axes.get_title(loc="left") == "a phone"


def test_a_script_needs_no_guard(tmp_path, files):
    script = tmp_path / "script.py"
    script.write_text(
        "import tfsr\n"
        f"report = tfsr.benchmark([{str(files[0])!r}], threads=(1,), runs=1)\n"
        "(result,) = report['results']\n"
        "print('started', result['runs'], result['peak_memory_mb'] > 0)\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "started 1 True\n"


def test_a_run_that_is_killed_names_its_file(monkeypatch, files):
    monkeypatch.setattr(children, "SERVE", "import os; os.kill(os.getpid(), 9)")
    with pytest.raises(children.ChildError, match=r"float32\.tflite: .*SIGKILL"):
        timing.peak_memory_mb(files[0], 1, (8, 8))
