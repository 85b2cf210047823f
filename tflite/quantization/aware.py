"""Quantization-aware networks: they are trained with the rounding of 8 bits."""

from collections.abc import Iterable, Sequence

import keras
import numpy as np

from tfsr.errors import InputError
from tfsr.graph import operations as op
from tfsr.graph.graph import Graph, inline
from tfsr.graph.operators import SUMS, is_convolution
from tfsr.layers import FakeQuantize, FakeQuantizedConv2D, SquareRoot
from tfsr.layers.fake_quantized_conv import round_kernel
from tfsr.tflite.formats import qat_format_for_bits
from tfsr.tflite.lowering.engine import built, lower
from tfsr.tflite.quantization.constraints import Ranges, is_given, within_clips
from tfsr.tflite.quantization.equalization import with_fine_sums
from tfsr.tflite.quantization.mixed_precision import (
    drop_ranges,
    node_names,
    requantize_sums,
)
from tfsr.tflite.quantization.observers import observe
from tfsr.tflite.quantization.range_choice import choose_ranges


def quantization_aware(
    model: keras.Model,
    patches: Iterable[np.ndarray],
    weight_bits: int = 8,
    activation_bits: int = 8,
    in_float: Sequence[str] = (),
    fine_sums: bool = False,
) -> keras.Model:
    """Returns `model` lowered, with every kernel and activation rounded as TFLite does.

    The network that is trained is the one that runs: batch and weight normalization are
    folded, and activations are rounded where the runtime does (`choose_ranges`).
    The copy has the scales of `model` but weights of its own.

    Args:
        model: A float model of one or several scales.
        patches: LR images, float32 `(H, W, C)` in [0, 1], that give the initial ranges.
        weight_bits: 8, or 4 for studies.
        activation_bits: 8 or 16.
        in_float: Names or patterns of sums that are not rounded, as for `convert`.
        fine_sums: Whether sums are computed by convolutions, as for `convert`.

    Raises:
        InputError: If `in_float` names something that is no sum.
    """
    wanted = qat_format_for_bits(activation_bits)
    graph = requantize_sums(lower(model, wanted.load("rules")), in_float)
    patches = list(patches)
    if fine_sums:
        graph = with_fine_sums(graph, patches)
    samples = observe(graph, patches)
    ranges = choose_ranges(graph, samples, wanted.load("ranges"), activation_bits)
    left_out = ranges.keys() - drop_ranges(graph, ranges, in_float).keys()
    for i in left_out:
        if not isinstance(graph.nodes[i].operation, SUMS):
            raise InputError(
                f"{node_names(graph)[i]}: not a sum; only sums can stay in "
                "float while training for 8 bits."
            )
        del ranges[i]
    layers = {}  # one for each convolution and each range that several share

    def call(node, *args, **kwargs):
        operation = node.operation
        if is_convolution(operation):
            key = _identity(operation)
            if key not in layers:
                copy = _copy(operation, node, operation.get_weights())
                layers[key] = FakeQuantizedConv2D(copy, weight_bits)
            operation = layers[key]
        elif isinstance(operation, op.Sqrt):
            operation = SquareRoot()
        elif isinstance(operation, keras.layers.Layer) and not operation.weights:
            # With a new name, because names inside blocks come again in every block.
            key = id(operation)
            if key not in layers:
                config = {**operation.get_config(), "name": None}
                layers[key] = type(operation).from_config(config)
            operation = layers[key]
        outputs = operation(*args, **kwargs)
        bounds = ranges.get(graph.position[id(node)])
        if bounds is None:
            return outputs
        key = id(bounds)
        if key not in layers:
            learned = not is_given(bounds)
            layers[key] = FakeQuantize(*bounds, activation_bits, learned)
        return layers[key](outputs)

    inputs = [keras.Input(x.shape[1:], name=x.name) for x in model.inputs]
    outputs = graph.run(inputs, call)
    return keras.Model(
        keras.tree.pack_sequence_as(model.input, inputs),
        keras.tree.pack_sequence_as(model.output, outputs),
        name=model.name,
    )


def is_quantization_aware(model: keras.Model) -> bool:
    """Returns whether `model` is quantization-aware."""
    return any(isinstance(layer, FakeQuantize) for layer in model.layers)


def qat_format(model: keras.Model) -> str | None:
    """Returns the format of a quantization-aware model, "int8" or "int16x8".

    None for any other model.
    """
    if not is_quantization_aware(model):
        return None
    bits = next(x.bits for x in model.layers if isinstance(x, FakeQuantize))
    return qat_format_for_bits(bits).name


def _copy(conv, node, weights):
    """Returns a copy of a node's convolution `conv` with other weights."""
    copy = type(conv).from_config(conv.get_config())
    return built(copy, node.input_tensors[0], weights)


def _rounded(layer, node):
    """Returns the convolution to export; the converter rounds kernels of 8 bits."""
    conv = layer.conv
    if layer.bits == 8:
        return conv
    _, *rest = conv.get_weights()
    kernel = keras.ops.convert_to_numpy(round_kernel(conv, layer.bits))
    return _copy(conv, node, [kernel, *rest])


def _identity(conv):
    """Returns a key that is equal for the copies that lowering makes of one layer."""
    values = (keras.ops.convert_to_numpy(weight) for weight in conv.weights)
    return type(conv), conv.name, *(value.tobytes() for value in values)


def strip_fake_quantization(
    model: keras.Model, height: int | None = None, width: int | None = None
) -> tuple[Graph, Ranges]:
    """Returns the graph of a quantization-aware model without rounding, and its ranges.

    Args:
        model: A quantization-aware model of one input.
        height: Height of the input, or `None` to leave it open.
        width: Width of the input, or `None` to leave it open.
    """
    bounds = {}

    def call(node, *args, **kwargs):
        operation = node.operation
        if isinstance(operation, FakeQuantize):
            low, high = map(float, operation.bounds())
            # An empty learned range means zeros, which any range of TFLite can hold.
            bounds[id(args[0])] = (low, high) if low < high else (0.0, 1.0)
            return args[0]
        if isinstance(operation, FakeQuantizedConv2D):
            operation = _rounded(operation, node)
        elif isinstance(operation, SquareRoot):
            operation = op.Sqrt()
        return operation(*args, **kwargs)

    rounded = inline(model, height, width)
    graph = rounded.map(call)
    ranges = {
        i: bounds[id(x)]
        for i, node in enumerate(graph.nodes)
        for x in node.outputs
        if id(x) in bounds
    }
    return graph, within_clips(graph, ranges)
