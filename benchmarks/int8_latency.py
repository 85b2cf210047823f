"""Times untrained networks in int8 at x4, as shares of a given file's latency.

The networks are chains of `sesr`, given as filters x blocks, and published networks in
plain Keras (`published_networks.py`). All are timed in turns in one run, on one thread,
with LR of 180x320 pixels. "Peak MB" is what loading and running the file once adds to
the memory of a new process.

python benchmarks/int8_latency.py carn_m_x4_int8.tflite 16x11 32x10 ESPCN SAFMN
"""

import argparse
import tempfile
from pathlib import Path

from published_networks import NETWORKS, SCALE, SIZE

from tfsr.data import BenchmarkFolder
from tfsr.data.embedded import HELD_OUT, photographs
from tfsr.errors import InputError
from tfsr.graph import complexity
from tfsr.models import sesr
from tfsr.tflite.benchmark.timing import benchmark
from tfsr.tflite.conversion import convert
from tfsr.zoo.keras_models import as_image_model


def main():
    """Prints a table, one row a network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("unit", help="the file that is 1.000")
    parser.add_argument(
        "networks", nargs="*", help=f"FILTERSxBLOCKS, or of {', '.join(NETWORKS)}"
    )
    parser.add_argument("--runs", type=int, default=20, help="default: %(default)s")
    options = parser.parse_args()
    rows, files = [], []
    with tempfile.TemporaryDirectory() as scratch:
        calibration = BenchmarkFolder(photographs(HELD_OUT), SCALE)
        for name in options.networks or NETWORKS:
            model = as_image_model(build(name), name)
            file = Path(scratch, f"{name}.tflite")
            try:
                convert(model, SCALE, "int8", [SIZE], file, calibration)
            except InputError as error:
                print(f"{name}: {error}")
                continue
            files.append(file)
            rows.append((name, complexity.mult_adds(model, *SIZE)))
        every = [*files, options.unit]
        *results, unit = benchmark(every, [1], options.runs, size=SIZE)["results"]
    head = "network", "mult-adds", "ms", "share", "of the fastest", "partitions"
    print(f"| {' | '.join((*head, 'peak MB'))} |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for (name, count), result in zip(rows, results, strict=True):
        median, least = (result[key] / unit[key] for key in ("median_ms", "min_ms"))
        print(
            f"| {name} | {count / 1e9:.2f} G | {result['median_ms']:.1f} "
            f"| {median:.3f} | {least:.3f} | {result['partitions']} "
            f"| {result['peak_memory_mb']:.0f} |"
        )


def build(name):
    if name in NETWORKS:
        return NETWORKS[name]()
    filters, blocks = map(int, name.split("x"))
    return sesr(SCALE, filters, blocks)


if __name__ == "__main__":
    main()
