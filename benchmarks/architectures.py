"""Measures untrained networks on a device: mult-adds, latency and memory.

python benchmarks/architectures.py configs/ms3/srresnet_{standard,ms,ms2,ms3}.toml
python benchmarks/architectures.py --scale 2 --output 360x640 \
    configs/carn/carn_m.toml configs/cmsc/{vdsr,cmsc}.toml
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

from tfsr.graph import complexity
from tfsr.models import single_scale
from tfsr.tflite import export, metadata
from tfsr.tflite.benchmark.timing import benchmark
from tfsr.tflite.lowering.engine import lower
from tfsr.tflite.lowering.rules import FLOAT_RULES, INT8_RULES
from tfsr.tflite.quantization.observers import observe
from tfsr.tflite.quantization.range_choice import choose_ranges
from tfsr.training import build_model, read_config

RUNS = 8


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="+", help="the first is 1.00")
    parser.add_argument("--scale", type=int, default=4, help="default: %(default)s")
    parser.add_argument("--output", default="720x1280", help="default: %(default)s")
    options = parser.parse_args()
    size = [int(side) // options.scale for side in options.output.split("x")]
    mult_adds, files = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        for config in options.configs:
            name = str(Path(config).with_suffix(""))
            model = build_model(read_config(config).model, config)
            model = single_scale(model, options.scale)
            mult_adds[name] = complexity.mult_adds(model, *size)
            for format, save in (("float32", float32), ("int8", int8)):
                files[name, format] = Path(scratch, f"{len(files)}.tflite")
                facts = {"scale": options.scale, "format": format}
                content = metadata.with_metadata(save(model, size), facts)
                files[name, format].write_bytes(content)
        results = benchmark(list(files.values()), [1], RUNS)["results"]
    print(
        "| network | format | mult-adds | ratio | median ms | ratio | peak MB "
        "| partitions |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    first = {}
    for (name, format), result in zip(files, results, strict=True):
        base_mult_adds, base_ms = first.setdefault(
            format, (mult_adds[name], result["median_ms"])
        )
        print(
            f"| {name} | {format} | {mult_adds[name] / 1e9:.1f} G | "
            f"{mult_adds[name] / base_mult_adds:.3f} | {result['median_ms']:.0f} | "
            f"{result['median_ms'] / base_ms:.3f} | {result['peak_memory_mb']:.0f} | "
            f"{result['partitions']} |"
        )


def float32(model, size):
    return export.float32(lower(model, FLOAT_RULES, *size))


def int8(model, size):
    patch = np.random.default_rng(0).random((32, 32, 3), np.float32)
    graph = lower(model, INT8_RULES)
    ranges = choose_ranges(graph, observe(graph, [patch]))
    return export.int8(lower(model, INT8_RULES, *size), ranges)


if __name__ == "__main__":
    main()
