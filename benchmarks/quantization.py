"""Measures each choice in 8-bit quantization: simulated loss in dB against float.

python benchmarks/quantization.py MODEL --scale 4 --calibrate FOLDER --images FOLDER
"""

import argparse

import keras
import numpy as np

import tfsr
from tfsr.data import BenchmarkFolder
from tfsr.data.degradation_type import BICUBIC
from tfsr.graph.graph import run_node
from tfsr.models import single_scale
from tfsr.scoring.evaluation import psnr
from tfsr.tflite.conversion import output_shift
from tfsr.tflite.lowering.engine import add_to_last_bias, lower
from tfsr.tflite.lowering.rules import FLOAT_RULES, INT8_RULES
from tfsr.tflite.quantization.calibration import calibration_patches, with_saturated
from tfsr.tflite.quantization.observers import (
    least_squares,
    min_max,
    observe,
    percentile,
)
from tfsr.tflite.quantization.range_choice import choose_ranges
from tfsr.tflite.quantization.simulation import simulate
from tfsr.upscaling.upscalers import from_uint8, to_uint8
from tfsr.zoo.loading import load_degradation


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--scale", type=int, required=True)
    parser.add_argument("--calibrate", required=True)
    parser.add_argument("--images", required=True)
    options = parser.parse_args()
    model = single_scale(tfsr.load_model(options.model), options.scale)
    channels = model.input.shape[-1]
    task = (load_degradation(options.model) or BICUBIC).rounded()
    calibration, images = (
        BenchmarkFolder(folder, options.scale, channels, degradation=task)
        for folder in (options.calibrate, options.images)
    )
    exact = lower(model, FLOAT_RULES)
    in_float = mean_psnr(exact, run_node, images)
    print(f"float: {in_float:.3f} dB on {options.images}, x{options.scale}\n")
    print("| choice | loss, dB |\n| --- | --- |")
    for name, graph, call in choices(model, calibration_patches(calibration)):
        loss = in_float - mean_psnr(graph, call, images)
        print(f"| {name} | {loss:.3f} |", flush=True)


def choices(model, photographs):
    """Yields a name, a graph and the `call` that runs it, for each row."""
    patches = with_saturated(photographs, model)
    exact, centered = lower(model, FLOAT_RULES), lower(model, INT8_RULES)
    samples = observe(exact, patches)
    for name, choose in {
        "ranges from minimum to maximum": min_max,
        "99.99th percentile": percentile,
        "least squared error": lambda values, weights: least_squares(values),
        "the same, each activation by its influence": least_squares,
    }.items():
        ranges = choose_ranges(exact, samples, choose)
        yield name, exact, simulate(exact, ranges)
    ranges = choose_ranges(centered, observe(centered, patches))
    call = simulate(centered, ranges)
    yield "that, and the input centered exactly", centered, call
    shift = output_shift(centered, call, photographs)
    corrected = add_to_last_bias(centered, -shift)
    call = simulate(corrected, ranges)
    yield "that, and the output's bias corrected: int8", corrected, call
    convolutions = [
        i for i, node in enumerate(corrected.nodes) if hasattr(node.operation, "kernel")
    ]
    for name, first, last in (
        ("int8, but the first layer's output in float", 0, convolutions[1]),
        (
            "int8, but the last layer's output in float",
            convolutions[-3],
            len(corrected.nodes),
        ),
        ("8-bit weights alone", 0, len(corrected.nodes)),
    ):
        kept = {i: r for i, r in ranges.items() if not first <= i < last}
        yield name, corrected, simulate(corrected, kept)


def mean_psnr(graph, call, images):
    values = []
    for pair in images:
        (sr,) = graph.run(
            [keras.ops.convert_to_tensor(from_uint8(pair.lr)[None])], call
        )
        sr = to_uint8(np.clip(keras.ops.convert_to_numpy(sr)[0], 0, 1))
        values.append(psnr(sr, pair.hr, images.border))
    return np.mean(values)


if __name__ == "__main__":
    main()
