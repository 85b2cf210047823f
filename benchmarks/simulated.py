"""Compares a network trained for 8 bits with its file: differences, by size.

python benchmarks/simulated.py RUN --scale 4 --images FOLDER
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np

import tfsr
from tfsr.data import BenchmarkFolder
from tfsr.data.degradation_type import BICUBIC
from tfsr.tflite.conversion import convert
from tfsr.tflite.quantization.integers import IntegerUpscaler
from tfsr.tflite.runtime import TFLiteUpscaler
from tfsr.upscaling.upscalers import KerasUpscaler, from_uint8, to_uint8
from tfsr.zoo.loading import load_degradation

LARGEST = 3  # and more


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a run of tfsr quantize-train")
    parser.add_argument("--scale", type=int, required=True)
    parser.add_argument("--images", required=True)
    options = parser.parse_args()
    model = tfsr.load_model(options.run)
    simulations = {
        "in training": KerasUpscaler(model, options.scale),
        "integers": IntegerUpscaler(model, options.scale),
    }
    alignment = simulations["integers"].alignment
    folder = BenchmarkFolder(
        options.images,
        options.scale,
        model.inputs[0].shape[-1],
        degradation=(load_degradation(options.run) or BICUBIC).rounded(),
    )
    counts = dict.fromkeys(simulations, 0)
    for pair in folder:
        height, width = (side - side % alignment for side in pair.lr.shape[:2])
        lr = from_uint8(pair.lr[:height, :width])
        expected = run_file(model, options.scale, folder, lr)
        for name, simulation in simulations.items():
            difference = np.abs(to_uint8(simulation(lr)).astype(int) - expected)
            difference = np.minimum(difference, LARGEST)
            counts[name] += np.bincount(difference.ravel(), minlength=LARGEST + 1)
    print("| steps of 8 bits | " + " | ".join(counts) + " |")
    print("| --- |" + " --- |" * len(counts))
    for steps in range(LARGEST + 1):
        shares = (f"{count[steps] / count.sum():.4%}" for count in counts.values())
        more = " or more" if steps == LARGEST else ""
        print(f"| {steps}{more} | {' | '.join(shares)} |")


def run_file(model, scale, folder, lr):
    """Returns what the converted file gives for an image of the file's size."""
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "int8.tflite")
        convert(model, scale, "int8", [lr.shape[:2]], file, folder)
        return to_uint8(TFLiteUpscaler(file)(lr))


if __name__ == "__main__":
    main()
