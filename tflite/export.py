"""Exports a graph to a TFLite file's bytes: one short function for each format.

Every file has the signature `serving_default`, from `lr` to `sr`.
"""

import re
import warnings

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert_phase import ConverterError

from tfsr.errors import InputError
from tfsr.graph import operations as op
from tfsr.graph.graph import Graph
from tfsr.graph.operators import entry_of, operator_of
from tfsr.quiet import quiet_stderr
from tfsr.tflite.emit import EMITTERS
from tfsr.tflite.flatbuffer import add_signature
from tfsr.tflite.int16x8 import to_int16_activations
from tfsr.tflite.quantization.constraints import Ranges, free_clips

MISSING = re.compile(r"'tf\.(\w+)' op is neither a custom op nor a flex op")


def float32(graph: Graph) -> bytes:
    """Returns the model in float32, with float32 input and output in [0, 1].

    Args:
        graph: A graph of one input, such as `lower` returns. The file has its input
            size.
    """
    return _convert(_converter(graph))


def float16(graph: Graph) -> bytes:
    """Returns the model with float16 weights, float32 input and output in [0, 1]."""
    converter = _converter(graph)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    return _convert(converter)


def dynamic_int8(graph: Graph) -> bytes:
    """Returns the model with 8-bit weights, float32 input and output in [0, 1]."""
    converter = _converter(graph)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return _convert(converter)


def stock_int8(graph: Graph, patches: list[np.ndarray]) -> bytes:
    """Returns the model in 8 bits with ranges by TensorFlow's converter: the baseline.

    Input and output are uint8.

    Args:
        graph: A graph of one input.
        patches: LR images to calibrate on, float32 `(H, W, C)` in [0, 1]; repeated up
            to the size of the graph, if it has one.
    """
    converter = _converter(graph)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    least = np.min([patch.shape[:2] for patch in patches], axis=0)
    sides = graph.inputs[0].shape[1:3]
    rows, columns = (np.arange(n or m) for n, m in zip(sides, least, strict=True))
    converter.representative_dataset = lambda: (
        [patch.take(rows, 0, mode="wrap").take(columns, 1, mode="wrap")[None]]
        for patch in patches
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8
    return _convert(converter)


def int8(graph: Graph, ranges: Ranges) -> bytes:
    """Returns the model in 8 bits, with uint8 pixels as input and output.

    Args:
        graph: A graph of one input, such as `lower` returns. The file has its input
            size.
        ranges: What `choose_ranges` returned for the same graph of open size.
    """
    converter = _converter(graph, ranges)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.inference_input_type = tf.uint8
    converter.inference_output_type = tf.uint8
    return _convert(converter)


def int16x8(graph: Graph, ranges: Ranges) -> bytes:
    """Returns the model with 8-bit weights and 16-bit activations, float32 in and out.

    Args:
        graph: As for `int8`.
        ranges: As for `int8`; 16 bits have room for `min_max`.
    """
    converter = _converter(graph, ranges)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    return to_int16_activations(_convert(converter))


def _converter(graph, ranges=None):
    run = _with_clip(graph) if ranges is None else _with_ranges(graph, ranges)
    (lr,) = graph.inputs
    shape = (1, *lr.shape[1:])
    function = tf.function(
        run, input_signature=[tf.TensorSpec(shape, tf.float32, name="lr")]
    )
    return tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], trackable_obj=tf.Module()
    )


def _convert(converter):
    with quiet_stderr(), warnings.catch_warnings():
        # The ranges are in the graph or calibrated; the converter looks elsewhere.
        warnings.filterwarnings("ignore", "Statistics for quantized inputs")
        try:
            return add_signature(converter.convert())
        except ConverterError as error:
            missing = sorted({*MISSING.findall(str(error))})
            if not missing:
                raise
            raise InputError(
                f"TFLite has no {', '.join(missing)}, which the network computes with; "
                "write it by other operations."
            ) from None


def _with_clip(graph):
    """Returns a function that runs `graph` and clips its output to [0, 1].

    It clips before the last pixel shuffle, which gives the same.
    """
    last = graph.nodes[-1]
    while isinstance(last.operation, op.DepthToSpace | op.GetItem):
        history = last.input_tensors[0]._keras_history
        last = history.operation._inbound_nodes[history.node_index]

    def call(node, *args, **kwargs):
        outputs = _native(node, *args, **kwargs)
        return tf.clip_by_value(outputs, 0.0, 1.0) if node is last else outputs

    def run(lr):
        (sr,) = graph.run([lr], call)
        return sr

    return run


def _with_ranges(graph: Graph, ranges: Ranges):
    """Returns a function that runs `graph` with fake quantization at every range.

    Input and output have the range [0, 1]. So their uint8 values are the pixels, and
    clipping is free.
    """
    ranged = free_clips(graph)

    def fake_quantize(x, low, high):
        return tf.quantization.fake_quant_with_min_max_args(x, low, high)

    def call(node, *args, **kwargs):
        position = graph.position[id(node)]
        if position in ranged and position in ranges:
            outputs = args[0]
        else:
            outputs = _native(node, *args, **kwargs)
        # The converter would keep the range of a sigmoid that is the output.
        is_last = position in ranges and node is graph.nodes[-1]
        if position in ranges and not (
            is_last and operator_of(node.operation).fixed_range
        ):
            outputs = fake_quantize(outputs, *ranges[position])
        return outputs

    def run(lr):
        (sr,) = graph.run([fake_quantize(lr, 0.0, 1.0)], call)
        return fake_quantize(sr, 0.0, 1.0)

    return run


def _native(node, *args, **kwargs):
    """Runs a node, by its entry in `EMITTERS` where it has one."""
    emit = entry_of(node.operation, EMITTERS)
    if emit is None or not args:
        return node.operation(*args, **kwargs)
    return emit(node.operation, *args, **kwargs)
