"""Checks the content of a `.tflite` file before LiteRT, which checks little, sees it.

LiteRT reads beyond buffers, divides by strides and follows indices as it finds them. So
a graph is unpacked and checked here, and packed anew: the runtime sees only what this
module has read.
"""

import math
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfsr.errors import InputError
from tfsr.tflite.flatbuffer import constant, kind_of, unpack

MAX_BYTES = 2**30  # of one tensor
MAX_VALUES = 2**25  # of an input: RGB of 11 megapixels
MAX_COUNT = 20_000  # of tensors and of operators; tfsr's largest file has 400
MAX_RANK = 8
LONGEST = 2**16  # side of a map that a constant asks for
WIDEST = 2**12  # strides, windows, paddings, repetitions
# NumPy's types, by those of the schema.
TYPES = {
    getattr(schema.TensorType, name): np.dtype(kind)
    for name, kind in {
        "FLOAT32": np.float32,
        "FLOAT16": np.float16,
        "INT8": np.int8,
        "UINT8": np.uint8,
        "INT16": np.int16,
        "INT32": np.int32,
        "INT64": np.int64,
        "BOOL": np.bool_,
    }.items()
}
TYPE_NAMES = {n: name for name, n in vars(schema.TensorType).items()}
SMALL_INTEGERS = (np.int8, np.uint8, np.int16)


@dataclass(frozen=True)
class OperatorRule:
    """What an operator must have.

    Attributes:
        inputs: How many inputs at least and at most.
        options: Type of its options; None where they do not matter.
        by_channel: By input, the dimension that may be quantized channel by channel.
        optional: Inputs that may be left out.
    """

    inputs: tuple[int, int]
    options: type | None = None
    by_channel: tuple[tuple[int, int], ...] = ()
    optional: tuple[int, ...] = ()


ONE, TWO, SEVERAL = (1, 1), (2, 2), (1, 1000)
_OF_FILTER = ((1, 0), (2, 0))
UNARY = (
    *("ABS", "CEIL", "COS", "ELU", "EXP", "FLOOR", "GELU", "HARD_SWISH"),
    *("L2_NORMALIZATION", "LOG", "LOGICAL_NOT", "LOGISTIC", "LOG_SOFTMAX", "NEG"),
    *("QUANTIZE", "RANK", "RELU", "RELU6", "RELU_0_TO_1", "RELU_N1_TO_1", "ROUND"),
    *("RSQRT", "SHAPE", "SIGN", "SIN", "SQRT", "SQUARE", "TANH", "ZEROS_LIKE"),
)
BINARY = (
    *("ADD", "ARG_MAX", "ARG_MIN", "ATAN2", "BROADCAST_TO", "DIV", "EQUAL"),
    *("EXPAND_DIMS", "FILL", "FLOOR_DIV", "FLOOR_MOD", "GATHER_ND", "GREATER"),
    *("GREATER_EQUAL", "LESS", "LESS_EQUAL", "LOGICAL_AND", "LOGICAL_OR", "MAXIMUM"),
    *("MINIMUM", "MUL", "NOT_EQUAL", "PAD", "POW", "PRELU", "REVERSE_V2"),
    *("SQUARED_DIFFERENCE", "SUB", "TILE", "TRANSPOSE"),
)
REDUCTIONS = (
    *("MEAN", "SUM", "REDUCE_ALL", "REDUCE_ANY", "REDUCE_MAX", "REDUCE_MIN"),
    "REDUCE_PROD",
)
OPERATORS: dict[str, OperatorRule] = {
    "ADD_N": OperatorRule(SEVERAL),
    "AVERAGE_POOL_2D": OperatorRule(ONE, schema.Pool2DOptionsT),
    "BATCH_MATMUL": OperatorRule(TWO, schema.BatchMatMulOptionsT),
    "BATCH_TO_SPACE_ND": OperatorRule((3, 3)),
    "CAST": OperatorRule(ONE),
    "CONCATENATION": OperatorRule(SEVERAL, schema.ConcatenationOptionsT),
    "CONV_2D": OperatorRule((2, 3), schema.Conv2DOptionsT, _OF_FILTER, (2,)),
    "CUMSUM": OperatorRule(TWO, schema.CumsumOptionsT),
    "DEPTHWISE_CONV_2D": OperatorRule(
        (2, 3), schema.DepthwiseConv2DOptionsT, ((1, 3), (2, 0)), (2,)
    ),
    "DEPTH_TO_SPACE": OperatorRule(ONE, schema.DepthToSpaceOptionsT),
    "DEQUANTIZE": OperatorRule(ONE, None, ((0, -1),)),
    "FULLY_CONNECTED": OperatorRule(
        (2, 3), schema.FullyConnectedOptionsT, _OF_FILTER, (2,)
    ),
    "GATHER": OperatorRule(TWO, schema.GatherOptionsT),
    "LEAKY_RELU": OperatorRule(ONE, schema.LeakyReluOptionsT),
    "MAX_POOL_2D": OperatorRule(ONE, schema.Pool2DOptionsT),
    "MIRROR_PAD": OperatorRule(TWO, schema.MirrorPadOptionsT),
    "PACK": OperatorRule(SEVERAL, schema.PackOptionsT),
    "PADV2": OperatorRule((3, 3)),
    "RANGE": OperatorRule((3, 3)),
    "RESHAPE": OperatorRule((1, 2)),
    "RESIZE_BILINEAR": OperatorRule(TWO, schema.ResizeBilinearOptionsT),
    "RESIZE_NEAREST_NEIGHBOR": OperatorRule(TWO, schema.ResizeNearestNeighborOptionsT),
    "SELECT": OperatorRule((3, 3)),
    "SELECT_V2": OperatorRule((3, 3)),
    "SLICE": OperatorRule((3, 3)),
    "SOFTMAX": OperatorRule(ONE, schema.SoftmaxOptionsT),
    "SPACE_TO_BATCH_ND": OperatorRule((3, 3)),
    "SPACE_TO_DEPTH": OperatorRule(ONE, schema.SpaceToDepthOptionsT),
    "SPLIT": OperatorRule(TWO, schema.SplitOptionsT),
    "SPLIT_V": OperatorRule((3, 3), schema.SplitVOptionsT),
    "SQUEEZE": OperatorRule(ONE, schema.SqueezeOptionsT),
    "STRIDED_SLICE": OperatorRule((4, 4), schema.StridedSliceOptionsT),
    "TRANSPOSE_CONV": OperatorRule(
        (3, 4), schema.TransposeConvOptionsT, ((1, 0), (3, 0)), (3,)
    ),
    "UNPACK": OperatorRule(ONE, schema.UnpackOptionsT),
    **dict.fromkeys(UNARY, OperatorRule(ONE)),
    **dict.fromkeys(BINARY, OperatorRule(TWO)),
    **dict.fromkeys(REDUCTIONS, OperatorRule(TWO, schema.ReducerOptionsT)),
}
# Operators whose integers need no scale.
PLAIN_INTEGERS = {
    *("CAST", "CONCATENATION", "EXPAND_DIMS", "GATHER", "PACK", "RESHAPE", "SHAPE"),
    *("SLICE", "SQUEEZE", "STRIDED_SLICE", "TRANSPOSE", "UNPACK"),
}
# Options that LiteRT divides by or allocates for, which must be positive.
COUNTS = (
    *("strideW", "strideH", "dilationWFactor", "dilationHFactor"),
    *("filterWidth", "filterHeight", "blockSize", "numSplits", "num", "valuesCount"),
)
# The least and the largest value of each option that LiteRT relies on.
OPTION_BOUNDS = {
    **dict.fromkeys(COUNTS, (1, WIDEST)),
    "depthMultiplier": (0, WIDEST),
    "fusedActivationFunction": (0, 5),  # of those that exist
    "padding": (0, 1),
    "axis": (-MAX_RANK, MAX_RANK - 1),
}


class _Fault(Exception):
    pass


def check(content: bytes, name: Any) -> schema.ModelT:
    """Returns the model in a `.tflite` file, if it is safe to run.

    Args:
        content: Content of the file.
        name: What messages call the file.

    Raises:
        InputError: If it is damaged, harmful, or has operators that image networks do
            not have.
    """
    if content[4:8] != b"TFL3":
        raise InputError(f"{name}: not a TFLite model, or damaged.")
    try:
        _check_counts(content)
        model = unpack(content)
        _check_model(model)
    except _Fault as fault:
        raise InputError(f"{name}: not a sound TFLite model ({fault}).") from None
    except (MemoryError, RecursionError):
        raise InputError(f"{name}: not a sound TFLite model (too large).") from None
    # Wrong offsets make reading raise these.
    except (
        *(struct.error, IndexError, ValueError, TypeError, KeyError),
        *(AttributeError, OverflowError),
    ):
        raise InputError(f"{name}: not a TFLite model, or damaged.") from None
    return model


def _check_counts(content):
    """Checks the lengths of lists before anything of such a length is made."""
    model = schema.Model.GetRootAs(content, 0)
    if model.SubgraphsLength() != 1:
        raise _Fault(f"{model.SubgraphsLength()} graphs instead of one")
    graph = model.Subgraphs(0)
    counts = {
        "tensors": graph.TensorsLength(),
        "operators": graph.OperatorsLength(),
        "buffers": model.BuffersLength(),
        "operator codes": model.OperatorCodesLength(),
        "metadata": model.MetadataLength(),
        "signatures": model.SignatureDefsLength(),
        "inputs": graph.InputsLength(),
        "outputs": graph.OutputsLength(),
    }
    for what, count in counts.items():
        if count > MAX_COUNT:
            raise _Fault(f"{count} {what}, more than {MAX_COUNT}")


def _check_model(model):
    if model.externalBuffers or model.externalBufferGroups:
        raise _Fault("buffers in other files")
    if model.buffers is None or not model.operatorCodes:
        raise _Fault("no buffers or no operators")
    for entry in model.metadata or []:
        _within(entry.buffer, model.buffers, "buffer of metadata")
    (graph,) = model.subgraphs
    tensors, operators = graph.tensors or [], graph.operators or []
    _check_names(model, graph)
    for i, tensor in enumerate(tensors):
        _check_tensor(model, tensor, f"tensor {i}")
    for what, ends in (("input", graph.inputs), ("output", graph.outputs)):
        if ends is None or not len(ends):
            raise _Fault(f"no {what}")
        for i in ends:
            _within(i, tensors, f"tensor of an {what}")
    for signature in model.signatureDefs or []:
        _within(signature.subgraphIndex, model.subgraphs, "graph of a signature")
        for end in [*(signature.inputs or []), *(signature.outputs or [])]:
            _within(end.tensorIndex, tensors, "tensor of a signature")
    known = {i for i, t in enumerate(tensors) if _is_constant(model, t)}
    for i in graph.inputs:
        if i in known:
            raise _Fault(f"input {i} is a constant, or twice an input")
        if math.prod(_shape(tensors[i])) > MAX_VALUES:
            raise _Fault(f"input {i} of {math.prod(_shape(tensors[i]))} values")
        known.add(i)
    for n, operator in enumerate(operators):
        _check_operator(model, operator, n, known)
    for i in graph.outputs:
        if i not in known:
            raise _Fault(f"output {i} that nothing computes")


def _check_names(model, graph):
    """LiteRT's Python interface stops at names that are not UTF-8."""
    signatures = model.signatureDefs or []
    ends = [end for s in signatures for end in [*(s.inputs or []), *(s.outputs or [])]]
    for name in (
        graph.name,
        *(tensor.name for tensor in graph.tensors or []),
        *(code.customCode for code in model.operatorCodes),
        *(signature.signatureKey for signature in signatures),
        *(end.name for end in ends),
    ):
        try:
            (name or b"").decode()
        except UnicodeDecodeError:
            raise _Fault(f"a name that is not UTF-8, {name[:40]!r}") from None


def _within(index, of, what):
    if not 0 <= index < len(of):
        raise _Fault(f"{what}: {index}, of {len(of)}")


def _shape(tensor):
    return [] if tensor.shape is None else [int(n) for n in tensor.shape]


def _is_constant(model, tensor):
    data = model.buffers[tensor.buffer].data
    return bool(data is not None and len(data)) or 0 in _shape(tensor)


def _check_tensor(model, tensor, what):
    if tensor.type not in TYPES:
        kind = TYPE_NAMES.get(tensor.type, f"type {tensor.type}")
        raise _Fault(f"{what} of {kind}, which is not supported")
    if tensor.sparsity or tensor.variantTensors or tensor.isVariable:
        raise _Fault(f"{what} is sparse or a variable, which is not supported")
    shape = _shape(tensor)
    least = 0 if len(shape) == 1 else 1  # a list of axes may be empty
    if len(shape) > MAX_RANK or min(shape, default=1) < least:
        raise _Fault(f"{what} of shape {_short(shape)}")
    size_bytes = math.prod(shape) * TYPES[tensor.type].itemsize
    if size_bytes > MAX_BYTES:
        raise _Fault(f"{what} of {size_bytes} bytes")
    signature = tensor.shapeSignature
    if signature is not None and len(signature):
        pairs = zip(signature, shape, strict=False)
        if len(signature) != len(shape) or any(s not in (-1, n) for s, n in pairs):
            raise _Fault(f"{what} of shape {_short(shape)} or {_short(signature)}")
    _within(tensor.buffer, model.buffers, f"buffer of {what}")
    buffer = model.buffers[tensor.buffer]
    if buffer.offset > 1 or buffer.size > 1 or tensor.externalBuffer:
        raise _Fault(f"{what} has its values beyond the graph")
    if buffer.data is not None and len(buffer.data) not in (0, size_bytes):
        raise _Fault(f"{what} of {size_bytes} bytes in {len(buffer.data)}")
    _check_quantization(tensor, shape, what)


def _check_quantization(tensor, shape, what):
    scales, zero_points = _scales(tensor)
    if not len(scales) and not len(zero_points):
        return
    quantization = tensor.quantization
    if quantization.detailsType:
        raise _Fault(f"{what} has a quantization of its own kind")
    if len(scales) > 1:
        _within(quantization.quantizedDimension, shape, f"channels of {what}")
        allowed = shape[quantization.quantizedDimension]
    else:
        allowed = 1
    if len(scales) != allowed or len(zero_points) not in (0, len(scales)):
        raise _Fault(
            f"{what} of shape {_short(shape)} has {len(scales)} scales and "
            f"{len(zero_points)} zero points"
        )
    if not (np.isfinite(scales) & (scales > 0)).all():
        raise _Fault(f"{what} has a scale that is not a positive number")
    dtype = TYPES[tensor.type]
    if np.issubdtype(dtype, np.integer):
        bounds = np.iinfo(dtype)
        if not ((zero_points >= bounds.min) & (zero_points <= bounds.max)).all():
            raise _Fault(f"{what} has a zero point beyond its type")


def _scales(tensor):
    """Returns scales and zero points of a tensor; empty if it has none."""
    found = tensor.quantization
    lists = (None, None) if found is None else (found.scale, found.zeroPoint)
    scales, zero_points = (np.array([] if v is None else v) for v in lists)
    return scales, zero_points


def _check_operator(model, operator, n, known):
    """Checks operator `n`; adds its outputs to `known`, tensors that have values."""
    (graph,) = model.subgraphs
    _within(operator.opcodeIndex, model.operatorCodes, f"code of operator {n}")
    name = kind_of(model, operator)
    if name == "CUSTOM":
        custom = model.operatorCodes[operator.opcodeIndex].customCode or b""
        raise _Fault(f"custom operator {custom.decode(errors='replace')[:40]!r}")
    if name not in OPERATORS:
        raise _Fault(f"{name}, an operator that image networks do not have")
    rule, what = OPERATORS[name], f"{name} (operator {n})"
    if operator.builtinOptions2Type or operator.largeCustomOptionsSize:
        raise _Fault(f"{what} has options of another operator")
    inputs, outputs = (
        [] if ends is None else [int(i) for i in ends]
        for ends in (operator.inputs, operator.outputs)
    )
    if not rule.inputs[0] <= len(inputs) <= rule.inputs[1] or not outputs:
        raise _Fault(f"{what} has {len(inputs)} inputs and {len(outputs)} outputs")
    for position, i in enumerate(inputs):
        if i == -1 and position in rule.optional:
            continue
        _within(i, graph.tensors, f"input of {what}")
        if i not in known:
            raise _Fault(f"{what} reads tensor {i}, which nothing has computed")
        _check_scales(graph.tensors[i], dict(rule.by_channel).get(position), name, what)
    for i in outputs:
        _within(i, graph.tensors, f"output of {what}")
        if i in known:
            raise _Fault(f"{what} writes tensor {i}, which has values already")
        _check_scales(graph.tensors[i], None, name, what)
        known.add(i)
    _check_options(rule, operator.builtinOptions, what)
    _check_parameter(model, name, inputs, what)


def _check_scales(tensor, channel, name, what):
    """Checks that a tensor has the scales that an operator looks for."""
    scales, _ = _scales(tensor)
    if len(scales) > 1 and channel not in (-1, tensor.quantization.quantizedDimension):
        raise _Fault(f"{what} takes no scale by channel here")
    small = TYPES[tensor.type] in SMALL_INTEGERS
    if small and not len(scales) and name not in PLAIN_INTEGERS:
        raise _Fault(f"{what} has integers without a scale")


def _check_options(rule, options, what):
    if rule.options and type(options) is not rule.options:
        raise _Fault(f"{what} has no options, or those of another operator")
    for key, value in vars(options).items() if options else ():
        if key in OPTION_BOUNDS:
            low, high = OPTION_BOUNDS[key]
            if not low <= value <= high:
                raise _Fault(f"{what} has {key} {value}, which is not {low} to {high}")


# By operator, the input that says what it does, and what its numbers must be.
PARAMETERS = {
    "BROADCAST_TO": (1, "sides"),
    "EXPAND_DIMS": (1, "axes"),
    "FILL": (0, "sides"),
    "MIRROR_PAD": (1, "counts"),
    "PAD": (1, "counts"),
    "PADV2": (1, "counts"),
    "RESIZE_BILINEAR": (1, "sides"),
    "RESIZE_NEAREST_NEIGHBOR": (1, "sides"),
    "REVERSE_V2": (1, "axes"),
    "SPLIT": (0, "axes"),
    "SPLIT_V": (2, "axes"),
    "TILE": (1, "counts"),
    "TRANSPOSE": (1, "order"),
    "TRANSPOSE_CONV": (0, "sides"),
    **dict.fromkeys(REDUCTIONS, (1, "axes")),
}
BOUNDS = {"sides": (1, LONGEST), "counts": (0, WIDEST)}


def _check_parameter(model, name, inputs, what):
    """Checks the constant that says what an operator does, if it reads one."""
    if name not in PARAMETERS:
        return
    (graph,), (position, kind) = model.subgraphs, PARAMETERS[name]
    tensor = graph.tensors[inputs[position]]
    if TYPES[tensor.type] not in (np.int32, np.int64):
        raise _Fault(f"{name} has sizes of {TYPE_NAMES[tensor.type]}")
    values = constant(model, tensor, TYPES[tensor.type])
    if values is None:
        return
    maps = inputs[:position] + inputs[position + 1 :]
    rank = len(_shape(graph.tensors[maps[0]])) if maps else 0
    if kind == "axes":
        rank += name == "EXPAND_DIMS"
        sound = ((values >= -rank) & (values < rank)).all() and len(values) <= MAX_RANK
    elif kind == "order":
        sound = sorted(values % max(rank, 1)) == list(range(rank))
    else:
        low, high = BOUNDS[kind]
        sound = ((values >= low) & (values <= high)).all()
    if not sound:
        raise _Fault(f"{what} has {kind} {_short(values)}")


def _short(numbers):
    text = "x".join(str(int(n)) for n in numbers[:MAX_RANK])
    return f"{text}..." if len(numbers) > MAX_RANK else text or "none"
