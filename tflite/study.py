"""The whole of `tfsr study`: trainings in a queue, latency in TFLite, tables."""

import json
from pathlib import Path

import tfsr
from tfsr import files, study
from tfsr.data import BenchmarkFolder, list_images
from tfsr.data.degradation import in_8_bits
from tfsr.tflite.benchmark import benchmark
from tfsr.tflite.calibrate import CALIBRATION_PATCHES
from tfsr.tflite.convert import convert

FORMATS = ("float32", "int8")
THREADS = 1
RUNS = 12


def run(planned: study.Study, latency: bool = True) -> dict:
    """Trains what is not trained yet, in turns of seeds; returns the report.

    Tables and pictures are written after every training, and again once all networks
    have their first seed and are timed.

    Args:
        planned: The study.
        latency: Whether to convert and time the networks.
    """
    timed = None
    for seed in planned.seeds:
        for network in planned.networks:
            if study.train_run(network.runs[seed]):
                study.write(planned, study.report(planned, timed))
        if latency and timed is None:
            timed = time_networks(planned)
        report = study.report(planned, timed)
        study.write(planned, report)
        if len(planned.networks) > 1:
            study.draw_crops(planned)
    return report


def time_networks(planned: study.Study) -> dict:
    """Returns the latency of all networks, timed in turns in one run.

    The runs of the first seed are converted to `OUT/tflite/NAME_FORMAT.tflite`. The
    benchmark is kept in `OUT/latency.json` and serves as long as the study has the same
    networks and size.

    Returns:
        `device`, `threads`, `runs` and `median_ms` {format: {network: ms}}.
    """
    folder = planned.out / "tflite"
    converted = {
        (format, network.name): folder / f"{network.name}_{format}.tflite"
        for network in planned.networks
        for format in FORMATS
    }
    kept = planned.out / "latency.json"
    measured = json.loads(kept.read_text()) if kept.exists() else {"results": []}
    height, width = planned.size
    expected = [(file.name, f"{height}x{width}") for file in converted.values()]
    if expected != [(Path(r["file"]).name, r["size"]) for r in measured["results"]]:
        folder.mkdir(exist_ok=True)
        for network in planned.networks:
            _convert(planned, network, converted)
        measured = benchmark(list(converted.values()), [THREADS], RUNS)
        files.write_json(kept, measured)
    median_ms = {format: {} for format in FORMATS}
    for (format, name), result in zip(converted, measured["results"], strict=True):
        median_ms[format][name] = result["median_ms"]
    return {
        "device": measured["device"],
        "threads": THREADS,
        "runs": RUNS,
        "median_ms": median_ms,
    }


def _convert(planned, network, converted):
    """Converts one network's first run, calibrated on its training images."""
    config = network.config
    images = list_images(config.data.train[0])[:CALIBRATION_PATCHES]
    calibration = BenchmarkFolder(
        images,
        planned.scale,
        config.data.channels,
        degradation=in_8_bits(config.data.task),
    )
    model = tfsr.load_model(network.runs[planned.seeds[0]].folder)
    for format in FORMATS:
        file = converted[format, network.name]
        convert(model, planned.scale, format, [planned.size], file, calibration)
