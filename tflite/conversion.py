"""Converts a Keras model to `.tflite` files: lowers, calibrates and writes it."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np

import tfsr
from tfsr.data import BenchmarkFolder
from tfsr.data.degradation_type import to_table
from tfsr.errors import InputError, naming_memory, reason_of
from tfsr.files import write_bytes
from tfsr.graph.footprint import (
    alignment,
    far_seeing,
    kernel_taps,
    receptive_radius,
    working_values,
)
from tfsr.graph.graph import Graph, run_node
from tfsr.graph.operators import clip_bounds
from tfsr.models import single_scale
from tfsr.tflite import metadata
from tfsr.tflite.formats import FORMATS, Format
from tfsr.tflite.lowering.engine import add_to_last_bias, last_convolution, lower
from tfsr.tflite.quantization import equalization
from tfsr.tflite.quantization.aware import qat_format, strip_fake_quantization
from tfsr.tflite.quantization.calibration import (
    calibration_patches,
    fitted,
    with_saturated,
)
from tfsr.tflite.quantization.mixed_precision import drop_ranges, requantize_sums
from tfsr.tflite.quantization.observers import batches, observe
from tfsr.tflite.quantization.range_choice import choose_ranges
from tfsr.tflite.quantization.simulation import simulate
from tfsr.upscaling.tiling import DEFAULT_OVERLAP
from tfsr.zoo.loading import weights_sha256

PIXELS = {"uint8": "pixels", "float32": "in [0, 1]"}  # by the type of a file's ends
MOST_VALUES = 2**31 - 1  # of a tensor


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
    fine_sums: bool = False,
) -> list[Path]:
    """Writes `model` as TFLite, one file a size, and returns the files.

    Args:
        model: A model of one or several scales.
        scale: The scale to take.
        format: One of `FORMATS`.
        sizes: Heights and widths of the LR input; `None` for a dynamic size.
        out: The file; for several sizes, each gets `_HxW` before the ending.
        calibration: Images whose LR patches calibrate all formats with 8-bit weights;
            their degradation goes into the metadata.
        lowering: False for the model as it is, with int8 calibrated by TensorFlow's
            converter.
        in_float: Names of activations, as in the table of `sensitivity`, that int8
            leaves in float32.
        architecture: Goes into the metadata; see `load_architecture`.
        fine_sums: Whether int8 computes sums by convolutions; see
            `quantization.equalization`.

    Raises:
        InputError: If there is no such format or activation, the format, `in_float` or
            `fine_sums` is not for the model, or a size is too small for levels.
        ValueError: If the model lacks the scale.
    """
    if format not in FORMATS:
        raise InputError(
            f"{format}: no such format; choose one of {', '.join(FORMATS)}."
        )
    chosen = FORMATS[format]
    _check_options(model, chosen, lowering, in_float, fine_sums)
    model = single_scale(model, scale)
    sizes = _sizes(model, scale, sizes)
    build = _builder(model, chosen, calibration, lowering, in_float, fine_sums)
    degradation = to_table(calibration.degradation)
    facts = _facts(model, scale, chosen, degradation, in_float, architecture)
    written = []
    for size in sizes:
        try:
            content = build(*(size or (None, None)))
        except InputError:
            raise
        except ValueError:
            if size:
                _check_runs(model, size)
            raise
        content = metadata.with_metadata(content, {**facts, "size": size})
        file = name_of_size(out, size) if len(sizes) > 1 else Path(out)
        write_bytes(file, content)
        written.append(file)
    return written


def name_of_size(file: str | Path, size: tuple[int, int] | None) -> Path:
    """Returns `file` with `_HxW` or `_dynamic` before its ending."""
    label = f"{size[0]}x{size[1]}" if size else "dynamic"
    return Path(file).with_stem(f"{Path(file).stem}_{label}")


def _check_options(model, format: Format, lowering, in_float, fine_sums):
    """Raises an `InputError` for options that exclude each other or do not fit."""
    trained = qat_format(model)
    if trained not in (None, format.name):
        raise InputError(
            f"{model.name}: was trained for {trained}; {format.name} is for float "
            "models."
        )
    for what, given in (("layers in float", in_float), ("fine sums", fine_sums)):
        if given and (not format.in_float or not lowering or trained):
            allowed = " or ".join(f.name for f in FORMATS.values() if f.in_float)
            raise InputError(
                f"{model.name}: {what} are for float models in {allowed}, with "
                "lowering."
            )
    if in_float and fine_sums:
        raise InputError(
            f"{model.name}: layers in float and fine sums exclude each other."
        )


def _sizes(model, scale, sizes):
    """Returns the sizes to convert for: a network of one size has its own alone."""
    own = tuple(model.input.shape[1:3])
    if None not in own:
        if len(sizes) > 1 or sizes[0] not in (None, own):
            raise InputError(f"{model.name}: takes images of {own[0]}x{own[1]} alone.")
        sizes = [own]
    least = alignment(model)
    for size in filter(None, sizes):
        if min(size) < least:
            raise InputError(
                f"size {size[0]}x{size[1]}: each side must be {least} or more for "
                "the levels of this network."
            )
        if math.prod(size) * scale**2 * model.output.shape[-1] > MOST_VALUES:
            raise InputError(
                f"size {size[0]}x{size[1]}: the output would have more than "
                f"{MOST_VALUES} values, which TFLite cannot count."
            )
    return sizes


def _check_runs(model, size):
    """Raises an `InputError` if a model does not run on images of a size."""
    (x,) = model.inputs
    try:
        with naming_memory():
            model(np.zeros((1, *size, x.shape[-1]), np.float32))
    except MemoryError:
        return
    except Exception as error:  # user code may raise anything
        raise InputError(
            f"size {size[0]}x{size[1]}: {model.name} does not run on such images "
            f"({reason_of(error)})."
        ) from None


def _builder(model, format: Format, calibration, lowering, in_float, fine_sums):
    """Returns a function from height and width to the bytes of a file.

    Each function below does so for one kind of format.
    """
    if qat_format(model):
        return _trained(model, format)
    if format.is_float:
        return _saved(model, format, lowering)
    patches = calibration_patches(calibration)
    if format.stock and not lowering:
        return _stock(model, format, fitted(patches, model))
    return _calibrated(model, format, patches, lowering, in_float, fine_sums)


def _trained(model, format: Format):
    save = format.load("save")
    return lambda height, width: save(*strip_fake_quantization(model, height, width))


def _saved(model, format: Format, lowering):
    save, lowered = format.load("save"), _lowering(model, format, lowering)
    return lambda height, width: save(lowered(height, width))


def _stock(model, format: Format, patches):
    save, lowered = format.load("stock"), _lowering(model, format, False)
    return lambda height, width: save(lowered(height, width), patches)


def _calibrated(model, format: Format, patches, lowering, in_float, fine_sums):
    lowered = _lowering(model, format, lowering, in_float)
    every = with_saturated(patches, model)
    if fine_sums:
        lowered = _with_fine_sums(lowered, every)
    graph, ranges = lowered(), {}
    if format.bits:
        samples = observe(graph, every)
        ranges = choose_ranges(graph, samples, format.load("ranges"), format.bits)
        ranges = drop_ranges(graph, ranges, in_float)

    def is_rounded(conv):
        return math.prod(conv.kernel.shape) >= format.smallest_kernel

    rounded = simulate(graph, ranges, format.bits or 8, is_rounded)
    shift = output_shift(graph, rounded, fitted(patches, model))
    save, given = format.load("save"), [ranges] if format.bits else []

    def build(height, width):
        graph = lowered(height, width)
        graph = graph if shift is None else add_to_last_bias(graph, -shift)
        return save(graph, *given)

    return build


def _lowering(model, format: Format, lowering, in_float=()):
    """Returns a function from height and width to the graph that is saved."""
    rules = format.load("rules") if lowering else ()

    def lowered(height=None, width=None):
        graph = lower(model, rules, height, width)
        return requantize_sums(graph, in_float) if in_float else graph

    return lowered


def _with_fine_sums(lowered, patches):
    """Returns `lowered` with the sums of its graphs as convolutions."""
    scales = equalization.channel_scales(
        equalization.as_convolutions(lowered()), patches
    )

    def finely(height=None, width=None):
        return equalization.rescaled(
            equalization.as_convolutions(lowered(height, width)), scales
        )

    return finely


def output_shift(
    graph: Graph, quantized: Callable, patches: list[np.ndarray]
) -> np.ndarray | None:
    """Returns each output filter's mean quantization error.

    The bias of the last convolution can take it off. None if output values do not map
    to single filters of that convolution.

    Args:
        graph: The float graph.
        quantized: The `call` that runs it quantized.
        patches: LR images.
    """
    sides = np.max([patch.shape[:2] for patch in patches], axis=0)
    filter_of = _filter_of_each_value(graph, sides)
    if filter_of is None:
        return None
    totals = np.zeros(last_convolution(graph).filters)
    counts = np.zeros_like(totals)
    for batch in batches(patches):
        exact = np.clip(_run(graph, batch), 0, 1)
        difference = np.clip(_run(graph, batch, quantized), 0, 1) - exact
        _, height, width, _ = difference.shape
        filters = np.broadcast_to(filter_of[:, :height, :width], difference.shape)
        filters = filters.ravel()
        totals += np.bincount(filters, difference.ravel(), len(totals))
        counts += np.bincount(filters, minlength=len(totals))
    return totals / counts


def _filter_of_each_value(graph, sides):
    """Returns the index of the filter behind each output value.

    None where several filters contribute.
    """
    last = last_convolution(graph)
    if last is None:
        return None

    def unclipped(node, *args, **kwargs):
        if clip_bounds(node.operation) is not None:
            return args[0]
        return run_node(node, *args, **kwargs)

    zeros = keras.ops.zeros((1, *sides, graph.inputs[0].shape[-1]))
    numbers = np.arange(last.filters)
    numbered = _run(add_to_last_bias(graph, numbers), zeros, unclipped)
    numbered = numbered - _run(graph, zeros, unclipped)
    found = np.rint(numbered).astype(int)
    exact = np.abs(numbered - found).max() < 0.1
    return found if exact and {*np.unique(found)} == {*numbers} else None


def _run(graph, lr, call=run_node):
    (sr,) = graph.run([lr], call)
    return keras.ops.convert_to_numpy(sr)


def _facts(model, scale, format, degradation, in_float, architecture):
    radius = receptive_radius(model)
    itemsize = 4 if in_float else format.itemsize
    color = "RGB" if model.input.shape[-1] == 3 else "gray"
    return {
        "version": tfsr.__version__,
        "model": model.name,
        **({"architecture": architecture} if architecture else {}),
        "weights_sha256": weights_sha256(model),
        "quantization_aware": qat_format(model) is not None,
        "scale": scale,
        "degradation": degradation,
        "format": format.name,
        **({"in_float": list(in_float)} if in_float else {}),
        "input": f"{format.io_dtype} {color} {PIXELS[format.io_dtype]}",
        "receptive_radius": DEFAULT_OVERLAP if radius is None else radius,
        "far_seeing": far_seeing(model),
        "one_size": None not in model.input.shape[1:3],
        "alignment": alignment(model),
        # XNNPACK keeps a pointer for every tap of a convolution at every pixel.
        "working_bytes": working_values(model) * itemsize + kernel_taps(model) * 8,
    }
