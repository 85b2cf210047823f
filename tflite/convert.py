"""A Keras model to `.tflite` files: calibrated, written, verified."""

import hashlib
import importlib.metadata
import os
from pathlib import Path

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from tfsr.data import BenchmarkFolder
from tfsr.files import replacing
from tfsr.footprint import alignment, receptive_radius, taps, working_values
from tfsr.graph import run_node
from tfsr.inference import from_uint8, to_uint8
from tfsr.models import single_scale
from tfsr.quiet import quiet_stderr
from tfsr.tflite import export, metadata, quantize
from tfsr.tflite.lowering import EXACT, FOR_INT8, add_to_last_bias, lower

FLOAT_FORMATS = {
    "float32": export.float32,
    "float16": export.float16,
    "dynamic_int8": export.dynamic_int8,
}
FORMATS = (*FLOAT_FORMATS, "int8")
CALIBRATION_PATCHES = 32
CALIBRATION_SIZE = 72  # LR pixels


def convert(
    model: keras.Model,
    scale: int,
    format: str,
    sizes: list[tuple[int, int] | None],
    out: str | Path,
    calibration: BenchmarkFolder,
    lowering: bool = True,
) -> list[Path]:
    """Writes `model` as TFLite, one file a size, and returns the files.

    Args:
        model: A model of one or several scales.
        scale: The scale to take.
        format: One of `FORMATS`.
        sizes: Heights and widths of the LR input; `None` for a dynamic size.
        out: The file; for several sizes, each gets `_HxW` before the ending.
        calibration: Images whose LR patches calibrate the int8 format.
        lowering: False for what TensorFlow's converter makes of the model as it is.

    Raises:
        ValueError: If the model lacks the scale or the format is unknown.
    """
    if format not in FORMATS:
        raise ValueError(
            f"`format` must be one of {FORMATS}. Received: format={format}."
        )
    model = single_scale(model, scale)
    if format != "int8":
        build = _float(model, FLOAT_FORMATS[format], EXACT if lowering else ())
    elif lowering:
        build = _int8(model, calibration_patches(calibration))
    else:
        build = _stock_int8(model, calibration_patches(calibration))
    written = []
    for size in sizes:
        content = build(*(size or (None, None)))
        content = metadata.attach(content, _facts(model, scale, format, size))
        file = Path(out)
        if len(sizes) > 1:
            label = f"{size[0]}x{size[1]}" if size else "dynamic"
            file = file.with_name(f"{file.stem}_{label}{file.suffix}")
        with replacing(file) as temporary:
            temporary.write_bytes(content)
        written.append(file)
    return written


def _float(model, save, rules):
    """Returns a function from height and width to the TFLite model."""
    return lambda height, width: save(lower(model, rules, height, width))


def _stock_int8(model, patches):
    """Returns a function from height and width to the TFLite model."""
    return lambda height, width: export.stock_int8(
        lower(model, (), height, width), patches
    )


def _int8(model, patches):
    """Returns a function from height and width to the TFLite model.

    What 8 bits shift the mean of the output by is measured on the calibration patches
    and taken off the last bias.
    """
    graph = lower(model, FOR_INT8)
    ranges = quantize.ranges(graph, quantize.observe(graph, patches))
    shift = _output_shift(graph, export.int8(graph, ranges), patches)

    def build(height, width):
        lowered = lower(model, FOR_INT8, height, width)
        return export.int8(add_to_last_bias(lowered, -shift), ranges)

    return build


def _output_shift(graph, content, patches):
    """Returns by how much the 8-bit model's output exceeds that of its float graph.

    The mean for each filter of the last convolution, before a last pixel shuffle.
    """
    interpreter = Interpreter(model_content=content, num_threads=os.cpu_count())
    (lr,) = interpreter.get_input_details()
    (sr,) = interpreter.get_output_details()
    operation = graph.nodes[-1].operation
    r = operation.block_size if type(operation).__name__ == "DepthToSpace" else 1
    differences = []
    for patch in patches:
        interpreter.resize_tensor_input(lr["index"], (1, *patch.shape))
        with quiet_stderr():  # LiteRT announces its CPU delegate
            interpreter.allocate_tensors()
        interpreter.set_tensor(lr["index"], to_uint8(patch)[None])
        interpreter.invoke()
        quantized = from_uint8(interpreter.get_tensor(sr["index"])[0])
        (exact,) = graph.run([keras.ops.convert_to_tensor(patch[None])], run_node)
        difference = quantized - np.clip(keras.ops.convert_to_numpy(exact)[0], 0, 1)
        h, w, c = difference.shape
        by_place = difference.reshape(h // r, r, w // r, r, c).mean(axis=(0, 2))
        differences.append(by_place.ravel())
    return np.mean(differences, axis=0)


def _facts(model, scale, format, size):
    itemsize = 1 if format == "int8" else 4
    weights = hashlib.sha256()
    for weight in model.weights:
        weights.update(keras.ops.convert_to_numpy(weight).tobytes())
    return {
        "version": importlib.metadata.version("tfsr"),
        "model": model.name,
        "weights_sha256": weights.hexdigest(),
        "scale": scale,
        "size": size,
        "format": format,
        "input": "uint8 RGB pixels" if format == "int8" else "float32 RGB in [0, 1]",
        "receptive_radius": receptive_radius(model),
        "alignment": alignment(model),
        # XNNPACK keeps a pointer for every tap of a convolution at every pixel.
        "working_bytes": working_values(model) * itemsize + taps(model) * 8,
    }


def calibration_patches(folder: BenchmarkFolder, seed: int = 0) -> list[np.ndarray]:
    """Returns random LR patches of a folder's images, float32 in [0, 1].

    The images give equal numbers of patches, `CALIBRATION_PATCHES` in all or one each
    if there are more; an image smaller than a patch is taken whole.
    """
    rng = np.random.default_rng(seed)
    patches = []
    for pair in folder:
        for _ in range(max(1, CALIBRATION_PATCHES // len(folder))):
            h, w = pair.lr.shape[:2]
            y = rng.integers(max(1, h - CALIBRATION_SIZE + 1))
            x = rng.integers(max(1, w - CALIBRATION_SIZE + 1))
            patch = pair.lr[y : y + CALIBRATION_SIZE, x : x + CALIBRATION_SIZE]
            patches.append(from_uint8(patch))
    return patches
