"""What chains of some widths and depths cost in int8, untrained, as shares of another.

All are timed in turns in one run, on one thread and LR of 180x320 pixels.

python benchmarks/sesr_sizes.py carn_m_x4_int8.tflite 16x3 32x5 48x8 [--scale 4]
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from tfsr.graph import complexity
from tfsr.models import sesr
from tfsr.tflite import export, metadata
from tfsr.tflite.benchmark.timing import benchmark
from tfsr.tflite.lowering.engine import lower
from tfsr.tflite.lowering.rules import FOR_INT8
from tfsr.tflite.quantization import activations

SIZE = (180, 320)


def main():
    """Prints a table, one row a chain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("unit", help="the file that is 1.000")
    parser.add_argument("chains", nargs="+", help="FILTERSxBLOCKS")
    parser.add_argument("--scale", type=int, default=4, help="default: %(default)s")
    parser.add_argument("--runs", type=int, default=20, help="default: %(default)s")
    options = parser.parse_args()
    mult_adds, files = [], []
    with tempfile.TemporaryDirectory() as scratch:
        for chain in options.chains:
            filters, blocks = map(int, chain.split("x"))
            model = sesr(options.scale, filters, blocks)
            mult_adds.append(complexity.mult_adds(model, *SIZE))
            files.append(Path(scratch, f"{chain}.tflite"))
            facts = {"scale": options.scale, "format": "int8"}
            files[-1].write_bytes(metadata.attach(int8(model), facts))
        every = [*files, options.unit]
        *results, unit = benchmark(every, [1], options.runs, size=SIZE)["results"]
    print("| filters x blocks | mult-adds | ms | share | of the fastest | partitions |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = zip(options.chains, mult_adds, results, strict=True)
    for chain, count, result in rows:
        median, least = (result[key] / unit[key] for key in ("median_ms", "min_ms"))
        print(
            f"| {chain} | {count / 1e9:.2f} G | {result['median_ms']:.1f} "
            f"| {median:.3f} | {least:.3f} | {result['partitions']} |"
        )


def int8(model):
    patch = np.random.default_rng(0).random((32, 32, 3), np.float32)
    graph = lower(model, FOR_INT8)
    ranges = activations.ranges(graph, activations.observe(graph, [patch]))
    return export.int8(lower(model, FOR_INT8, *SIZE), ranges)


if __name__ == "__main__":
    main()
