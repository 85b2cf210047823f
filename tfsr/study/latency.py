"""Converts and times the networks of a study."""

from collections.abc import Sequence

import tfsr
from tfsr.data import BenchmarkFolder, list_images
from tfsr.models import single_scale
from tfsr.study.planning import Study
from tfsr.tflite.benchmark.timing import benchmark
from tfsr.tflite.conversion import convert
from tfsr.tflite.quantization.calibration import CALIBRATION_PATCHES


def measure(planned: Study, formats: Sequence[str], threads: int, runs: int) -> dict:
    """Returns the benchmark of all networks in all formats, timed in turns.

    The runs of the first seed are converted to `OUT/tflite/NAME_FORMAT.tflite`.

    Args:
        planned: The study, whose first seed is trained.
        formats: Keys of `tfsr.tflite.formats.FORMATS`.
        threads: Number of threads.
        runs: Timed runs of each file.
    """
    folder = planned.out / "tflite"
    folder.mkdir(exist_ok=True)
    converted = {
        (format, network.name): folder / f"{network.name}_{format}.tflite"
        for network in planned.networks
        for format in formats
    }
    for network in planned.networks:
        _convert(planned, network, converted)
    return benchmark(list(converted.values()), [threads], runs)


def _convert(planned, network, converted):
    """Converts one network's first run, calibrated on the training images."""
    images = list_images(planned.data.train[0])[:CALIBRATION_PATCHES]
    model = tfsr.load_model(network.runs[planned.seeds[0]].folder)
    calibration = BenchmarkFolder(
        images,
        planned.scale,
        single_scale(model, planned.scale).input.shape[
            -1
        ],  # 3 for luminance networks too
        degradation=planned.data.task.rounded(),
    )
    for (format, name), file in converted.items():
        if name == network.name:
            convert(model, planned.scale, format, [planned.size], file, calibration)
