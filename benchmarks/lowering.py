"""Measures what each exact rewrite brings: each row adds one rule.

python benchmarks/lowering.py MODEL --scale 4 --calibrate FOLDER [--format int8]
"""

import argparse
import tempfile
from pathlib import Path

import tfsr
from tfsr.data import BenchmarkFolder
from tfsr.data.degradation_type import BICUBIC
from tfsr.models import single_scale
from tfsr.tflite import export, metadata
from tfsr.tflite.benchmark.timing import benchmark
from tfsr.tflite.lowering.engine import lower
from tfsr.tflite.lowering.rules import FLOAT_RULES, INT8_RULES
from tfsr.tflite.quantization.calibration import calibration_patches, with_saturated
from tfsr.tflite.quantization.observers import observe
from tfsr.tflite.quantization.range_choice import choose_ranges
from tfsr.tflite.runtime import inspect
from tfsr.zoo.loading import load_degradation

SIZE = (180, 320)
RUNS = 12


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--scale", type=int, required=True)
    parser.add_argument("--calibrate", required=True)
    parser.add_argument("--format", choices=["int8", "float32"], default="int8")
    options = parser.parse_args()
    model = single_scale(tfsr.load_model(options.model), options.scale)
    folder = BenchmarkFolder(
        options.calibrate,
        options.scale,
        model.input.shape[-1],
        degradation=(load_degradation(options.model) or BICUBIC).rounded(),
    )
    rules = INT8_RULES if options.format == "int8" else FLOAT_RULES
    with tempfile.TemporaryDirectory() as scratch:
        files = {}
        for name, content in versions(model, options.format, rules, folder):
            file = Path(scratch, f"{len(files)}.tflite")
            facts = {"scale": options.scale, "format": options.format}
            file.write_bytes(metadata.with_metadata(content, facts))
            files[name] = file
        results = benchmark(list(files.values()), [1], RUNS, 3, SIZE)["results"]
        print_table(files, results)


def versions(model, format, rules, folder):
    """Yields a name and a TFLite model for each number of rules."""
    patches = with_saturated(calibration_patches(folder), model)
    as_it_is = lower(model, (), *SIZE)
    if format == "float32":
        yield "stock", export.float32(as_it_is)
    else:
        yield "stock", export.stock_int8(as_it_is, patches)
    nodes = signature(as_it_is)
    for n, rule in enumerate((None, *rules)):
        graph = lower(model, rules[:n], *SIZE)
        if rule is not None and signature(graph) == nodes:
            continue  # the model has nothing for this rule
        nodes = signature(graph)
        name = "ranges built in" if rule is None else rule.__name__
        if format == "int8":
            ranges = choose_ranges(graph, observe(graph, patches))
            yield name, export.int8(graph, ranges)
        elif rule is not None:
            yield name, export.float32(graph)


def signature(graph):
    """Returns what tells two graphs apart."""
    return [
        (type(n.operation).__name__, n.outputs[0].shape, len(n.input_tensors))
        for n in graph.nodes
    ]


def print_table(files, results):
    base = results[0]["median_ms"]
    print(
        "| up to this rule | median ms | of stock | peak MB | partitions | QUANTIZE |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for (name, file), r in zip(files.items(), results, strict=True):
        quantize_count = inspect(file)["operators"].get("QUANTIZE", 0)
        print(
            f"| {name} | {r['median_ms']:.0f} | {r['median_ms'] / base:.2f} | "
            f"{r['peak_memory_mb']:.0f} | {r['partitions']} | {quantize_count} |"
        )


if __name__ == "__main__":
    main()
