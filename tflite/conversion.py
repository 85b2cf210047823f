"""A Keras model to `.tflite` files: calibrated, written, verified."""

import functools
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

import tfsr
from tfsr.data import BenchmarkFolder
from tfsr.data.degradation import to_table
from tfsr.errors import InputError
from tfsr.files import replacing
from tfsr.graph.footprint import alignment, receptive_radius, taps, working_values
from tfsr.graph.graph import run_node
from tfsr.models import single_scale
from tfsr.tflite import export, metadata
from tfsr.tflite.lowering.engine import add_to_last_bias, last_convolution, lower
from tfsr.tflite.lowering.rules import EXACT, FOR_INT8
from tfsr.tflite.quantization import activations
from tfsr.tflite.quantization.aware import trained_format, without_rounding
from tfsr.tflite.quantization.calibration import CALIBRATION_SIZE, calibration_patches
from tfsr.tflite.quantization.simulation import simulate
from tfsr.upscaling.upscalers import UNKNOWN_REACH
from tfsr.zoo.loading import weights_sha256

FLOAT_FORMATS = {
    "float32": export.float32,
    "float16": export.float16,
}
FORMATS = (*FLOAT_FORMATS, "dynamic_int8", "int8", "int16x8")


def convert(
    model: keras.Model,
    scale: int,
    format: str,
    sizes: list[tuple[int, int] | None],
    out: str | Path,
    calibration: BenchmarkFolder,
    lowering: bool = True,
    in_float: Sequence[str] = (),
    architecture: dict | None = None,
) -> list[Path]:
    """Writes `model` as TFLite, one file a size, and returns the files.

    Args:
        model: A model of one or several scales.
        scale: The scale to take.
        format: One of `FORMATS`.
        sizes: Heights and widths of the LR input; `None` for a dynamic size.
        out: The file; for several sizes, each gets `_HxW` before the ending.
        calibration: Images whose LR patches calibrate all formats with 8-bit weights;
            the file tells by what they are degraded.
        lowering: False for the model as it is, with int8 calibrated by TensorFlow's
            converter.
        in_float: Names of activations that int8 leaves out, as `sensitivity` has them.
        architecture: For the file to tell; see `load_architecture`.

    Raises:
        InputError: If there is no such activation, or a size is too small for levels.
        ValueError: If the model lacks the scale, the format is unknown, or `in_float`
            is not for it.
    """
    if format not in FORMATS:
        raise ValueError(
            f"`format` must be one of {FORMATS}. Received: format={format}."
        )
    if in_float and (format != "int8" or not lowering or trained_format(model)):
        raise ValueError(
            "`in_float` is for float models in int8 with lowering. "
            f"Received: in_float={in_float}, format={format}."
        )
    model = single_scale(model, scale)
    least = alignment(model)
    own = tuple(model.input.shape[1:3])
    if None not in own:
        if any(size not in (None, own) for size in sizes):
            raise InputError(
                f"--size: {model.name} takes images of {own[0]}x{own[1]} alone."
            )
        sizes = [own]
    for size in sizes:
        if size and min(size) < least:
            raise InputError(
                f"--size {size[0]}x{size[1]}: each side must be {least} or more for "
                "the levels of this network."
            )
    rules = EXACT if lowering else ()
    if trained_format(model):
        build = _trained(model, format)
    elif format in FLOAT_FORMATS:
        build = _float(model, FLOAT_FORMATS[format], rules)
    else:
        patches = calibration_patches(calibration)
        if format == "dynamic_int8":
            build = _dynamic_int8(model, patches, rules)
        elif format == "int16x8":
            build = _int16x8(model, patches, rules)
        elif lowering:
            build = _int8(model, patches, in_float)
        else:
            build = _stock_int8(model, patches)
    degradation = to_table(calibration.degradation)
    facts = _facts(model, scale, format, degradation, in_float, architecture)
    written = []
    for size in sizes:
        content = build(*(size or (None, None)))
        content = metadata.attach(content, {**facts, "size": size})
        file = name_of_size(out, size) if len(sizes) > 1 else Path(out)
        with replacing(file) as temporary:
            temporary.write_bytes(content)
        written.append(file)
    return written


def name_of_size(file: str | Path, size: tuple[int, int] | None) -> Path:
    """Returns `file` with `_HxW` or `_dynamic` before its ending."""
    label = f"{size[0]}x{size[1]}" if size else "dynamic"
    return Path(file).with_stem(f"{Path(file).stem}_{label}")


def _trained(model, format):
    """Returns a function from height and width to the TFLite model, as it was trained.

    Raises:
        ValueError: If the format is another than it was trained for.
    """
    wanted = trained_format(model)
    if format != wanted:
        raise ValueError(
            f"`format` must be {wanted}, which `model` was trained for. "
            f"Received: format={format}."
        )
    save = {"int8": export.int8, "int16x8": export.int16x8}[format]
    return lambda height, width: save(*without_rounding(model, height, width))


def _float(model, save, rules):
    """Returns a function from height and width to the TFLite model."""
    return lambda height, width: save(lower(model, rules, height, width))


def _stock_int8(model, patches):
    """Returns a function from height and width to the TFLite model."""
    return lambda height, width: export.stock_int8(
        lower(model, (), height, width), patches
    )


def _int8(model, patches, in_float):
    """Returns a function from height and width to the TFLite model."""

    def lowered(height=None, width=None):
        graph = lower(model, FOR_INT8, height, width)
        return activations.read_rounded(graph, in_float)

    graph = lowered()
    ranges = activations.ranges(graph, activations.observe(graph, patches))
    ranges = activations.leave_out(graph, ranges, in_float)
    return _calibrated(lowered, patches, ranges, export.int8, bits=8)


def _int16x8(model, patches, rules):
    """Returns a function from height and width to the TFLite model."""
    lowered = functools.partial(lower, model, rules)
    graph = lowered()
    samples = activations.observe(graph, patches)
    ranges = activations.ranges(graph, samples, activations.min_max)
    return _calibrated(lowered, patches, ranges, export.int16x8, bits=16)


def _dynamic_int8(model, patches, rules):
    """Returns a function from height and width to the TFLite model."""
    lowered = functools.partial(lower, model, rules)
    graph = lowered()
    rounded = simulate(graph, {}, kernels=export.rounds_kernel)
    shift = output_shift(graph, rounded, patches)
    return _corrected(lowered, export.dynamic_int8, shift)


def _calibrated(lowered, patches, ranges, save, bits):
    graph = lowered()
    shift = output_shift(graph, simulate(graph, ranges, bits), patches)
    return _corrected(lowered, lambda graph: save(graph, ranges), shift)


def _corrected(lowered, save, shift):
    """Returns a function that saves the lowered model with `shift` off its output."""

    def build(height, width):
        return save(add_to_last_bias(lowered(height, width), -shift))

    return build


def output_shift(graph, quantized, patches):
    """Returns by how much quantization moves the mean of the output.

    For each filter of the last convolution, so that its bias can take it off.

    Args:
        graph: The float graph.
        quantized: The `call` that runs it quantized.
        patches: LR images.
    """
    filter_of = _filter_of_each_value(graph, CALIBRATION_SIZE)
    sums = np.zeros(last_convolution(graph).filters)
    counts = np.zeros_like(sums)
    for batch in activations.batches(patches):
        exact = np.clip(_run(graph, batch), 0, 1)
        difference = _run(graph, batch, quantized) - exact
        _, height, width, _ = difference.shape
        filters = np.broadcast_to(filter_of[:, :height, :width], difference.shape)
        filters = filters.ravel()
        sums += np.bincount(filters, difference.ravel(), len(sums))
        counts += np.bincount(filters, minlength=len(sums))
    return sums / counts


def _filter_of_each_value(graph, side):
    """Returns which filter of the last convolution gives each value of the output."""
    zeros = keras.ops.zeros((1, side, side, graph.inputs[0].shape[-1]))
    numbers = np.arange(last_convolution(graph).filters)
    numbered = _run(add_to_last_bias(graph, numbers), zeros)
    return np.rint(numbered - _run(graph, zeros)).astype(int)


def _run(graph, lr, call=run_node):
    (sr,) = graph.run([lr], call)
    return keras.ops.convert_to_numpy(sr)


def _facts(model, scale, format, degradation, in_float, architecture):
    radius = receptive_radius(model)
    itemsize = 1 if format == "int8" and not in_float else 4
    color = "RGB" if model.input.shape[-1] == 3 else "gray"
    return {
        "version": tfsr.__version__,
        "model": model.name,
        **({"architecture": architecture} if architecture else {}),
        "weights_sha256": weights_sha256(model),
        "quantization_aware": trained_format(model) is not None,
        "scale": scale,
        "degradation": degradation,
        "format": format,
        **({"in_float": list(in_float)} if in_float else {}),
        "input": f"uint8 {color} pixels"
        if format == "int8"
        else f"float32 {color} in [0, 1]",
        "receptive_radius": UNKNOWN_REACH if radius is None else radius,
        "radius_is_exact": radius is not None,
        "one_size": None not in model.input.shape[1:3],
        "alignment": alignment(model),
        # XNNPACK keeps a pointer for every tap of a convolution at every pixel.
        "working_bytes": working_values(model) * itemsize + taps(model) * 8,
    }
