"""Our int8 beside that of other tools: loss against float, latency, size, partitions.

python benchmarks/quantizers.py MODEL.keras [...] --calibrate FOLDER --images FOLDER

The tools are TensorFlow's converter, calibrated on the same patches, and Google's
`ai-edge-quantizer` where it is installed. All images must have one size; files have it
too. They take turns on one thread; the processor's time counts, so that other work on
the machine does not. TensorFlow's calibration (2.21) may end the process by a fault of
its own, as it does now and then on FSRCNN; then run again.
"""

import argparse
import importlib.util
import tempfile
import time
from pathlib import Path

import numpy as np

import tfsr
from tfsr.data import BenchmarkFolder
from tfsr.errors import InputError
from tfsr.models import scales
from tfsr.scoring.evaluation import psnr
from tfsr.tflite import export, metadata
from tfsr.tflite.conversion import convert
from tfsr.tflite.lowering.engine import lower
from tfsr.tflite.quantization.calibration import calibration_patches
from tfsr.tflite.runtime import TFLiteUpscaler, inspect
from tfsr.upscaling.upscalers import KerasUpscaler, from_uint8, to_uint8

RUNS = 20


def by_tfsr(model, scale, size, calibration, file):
    convert(model, scale, "int8", [size], file, calibration)


def by_tensorflow(model, scale, size, calibration, file):
    convert(model, scale, "int8", [size], file, calibration, lowering=False)


def by_ai_edge(model, scale, size, calibration, file):
    from ai_edge_quantizer import quantizer, recipe

    file.write_bytes(export.float32(lower(model, (), *size)))
    tool = quantizer.Quantizer(str(file), recipe.static_wi8_ai8())
    images = (_of_size(patch, size) for patch in calibration_patches(calibration))
    values = tool.calibrate({"serving_default": [{"lr": x[None]} for x in images]})
    facts = {"scale": scale, "format": "int8", "size": size}
    content = bytes(tool.quantize(values).quantized_model)
    file.write_bytes(metadata.attach(content, facts))


TOOLS = {"tfsr": by_tfsr, "TensorFlow": by_tensorflow}
if importlib.util.find_spec("ai_edge_quantizer"):
    TOOLS["ai-edge-quantizer"] = by_ai_edge


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="+", metavar="MODEL.keras")
    parser.add_argument("--calibrate", required=True, metavar="FOLDER")
    parser.add_argument("--images", required=True, metavar="FOLDER")
    options = parser.parse_args()
    print("| network | tool | loss, dB | ms | of TensorFlow's | KB | partitions |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for model in options.models:
        with tempfile.TemporaryDirectory() as scratch:
            compare(model, options.calibrate, options.images, Path(scratch))


def compare(name, calibrate, images, scratch):
    """Prints a network's rows."""
    model = tfsr.load_model(name)
    (scale,) = scales(model)
    calibration, folder = (
        BenchmarkFolder(path, scale, model.input.shape[-1])
        for path in (calibrate, images)
    )
    (size,) = {pair.lr.shape[:2] for pair in folder}
    in_float = mean_psnr(KerasUpscaler(model, scale), folder)
    losses, files = {}, {}
    for tool, write in TOOLS.items():
        file = scratch / f"{tool}.tflite"
        try:
            write(model, scale, size, calibration, file)
            losses[tool] = in_float - mean_psnr(TFLiteUpscaler(file, 1), folder)
            files[tool] = file
        except (RuntimeError, ValueError, InputError) as error:
            print(f"| {Path(name).stem} | {tool} | {str(error).splitlines()[0]} |")
    times = processor_ms(files)
    base = times.get("TensorFlow", np.nan)
    for tool, file in files.items():
        print(
            f"| {Path(name).stem}, {in_float:.2f} dB | {tool} | {losses[tool]:.3f} | "
            f"{times[tool]:.1f} | {times[tool] / base:.2f} | "
            f"{file.stat().st_size / 1000:.0f} | {inspect(file)['partitions']} |",
            flush=True,
        )


def processor_ms(files):
    """Returns the median time of the processor for a run of each file, in ms."""
    upscalers = {tool: TFLiteUpscaler(file, 1) for tool, file in files.items()}
    times = {tool: [] for tool in files}
    for i in range(RUNS):
        for tool, upscaler in upscalers.items():
            upscaler.fill(np.random.default_rng(i))
            started = time.process_time()
            upscaler.interpreter.invoke()
            times[tool].append(1e3 * (time.process_time() - started))
    return {tool: np.median(of_tool) for tool, of_tool in times.items()}


def mean_psnr(upscaler, folder):
    return np.mean(
        [
            psnr(to_uint8(upscaler(from_uint8(pair.lr))), pair.hr, folder.border)
            for pair in folder
        ]
    )


def _of_size(patch, size):
    """Returns a patch repeated to a size."""
    rows, columns = map(np.arange, size)
    return patch.take(rows, 0, mode="wrap").take(columns, 1, mode="wrap")


if __name__ == "__main__":
    main()
