"""Widens the activations of an 8-bit TFLite model to 16 bits.

TensorFlow's converter cannot convert a model with a pixel shuffle to this format.
Weights stay in 8 bits, symmetric for each output channel. An activation's range [-a, b]
becomes the symmetric [-m, m] with m = max(a, b), in steps of m / 32767. If a is 0, as
in the output, the 8-bit range itself clips at 0, so the converter leaves out a ReLU.
The 16-bit range does not, so this module puts it back.
"""

import copy

import numpy as np
from ai_edge_litert.schema_py_generated import (
    ActivationFunctionType,
    BuiltinOperator,
    BuiltinOptions,
    CastOptionsT,
    ModelT,
    OperatorCodeT,
    OperatorT,
    TensorT,
    TensorType,
)

from tfsr.tflite.flatbuffer import add_buffer, constant, pack, unpack

LARGEST = 32767
CONVOLUTIONS = {  # positions of input, kernel and bias, which may be left out
    BuiltinOperator.CONV_2D: (0, 1, 2),
    BuiltinOperator.DEPTHWISE_CONV_2D: (0, 1, 2),
    BuiltinOperator.TRANSPOSE_CONV: (2, 1, 3),
}
FUSES_RELU = (
    BuiltinOperator.ADD,
    BuiltinOperator.SUB,
    BuiltinOperator.MUL,
    BuiltinOperator.CONV_2D,
    BuiltinOperator.DEPTHWISE_CONV_2D,
)
# Their outputs may be below 0 where their inputs are not.
TURN_NEGATIVE = (BuiltinOperator.SUB, BuiltinOperator.NEG, BuiltinOperator.LOG)
# In 16 bits TFLite compares integers, whatever their steps.
COMPARISONS = (
    BuiltinOperator.EQUAL,
    BuiltinOperator.GREATER,
    BuiltinOperator.GREATER_EQUAL,
    BuiltinOperator.LESS,
    BuiltinOperator.LESS_EQUAL,
    BuiltinOperator.NOT_EQUAL,
)
SHUFFLES = (BuiltinOperator.DEPTH_TO_SPACE, BuiltinOperator.SPACE_TO_DEPTH)
# Their outputs have steps of 1 / 32768 in TFLite, and no others.
FIXED = (BuiltinOperator.LOGISTIC, BuiltinOperator.SOFTMAX, BuiltinOperator.TANH)


def to_int16_activations(content: bytes) -> bytes:
    """Returns the content of a `.tflite` file with its activations in 16 bits.

    Args:
        content: Content of an 8-bit `.tflite` file with float32 input and output, whose
            convolutions have 8-bit weights.
    """
    model = unpack(content)
    (graph,) = model.subgraphs
    kinds = [_kind(model, operator) for operator in graph.operators]
    convolutions = [
        [operator.inputs[i] for i in CONVOLUTIONS[kind] if i < len(operator.inputs)]
        for kind, operator in zip(kinds, graph.operators, strict=True)
        if kind in CONVOLUTIONS and _is_in_8_bits(graph, operator)
    ]
    kernels = {kernel for _, kernel, *_ in convolutions}
    relus = [
        kind not in (*FIXED, BuiltinOperator.RELU)
        and _clips_at_0(graph, kind, operator)
        for kind, operator in zip(kinds, graph.operators, strict=True)
    ]
    for i, tensor in enumerate(graph.tensors):
        if tensor.type == TensorType.INT8 and i not in kernels:
            _widen_tensor(model, tensor)
    for kind, operator in zip(kinds, graph.operators, strict=True):
        output = graph.tensors[operator.outputs[0]]
        if kind in FIXED and output.type == TensorType.INT16:
            output.quantization.scale = np.array([1 / 32768], np.float32)
    for x, kernel, *bias in convolutions:
        for i in bias:
            _widen_bias(model, *(graph.tensors[j] for j in (x, kernel, i)))
    operators = []
    for kind, operator, relu in zip(kinds, graph.operators, relus, strict=True):
        if kind in SHUFFLES:
            operators += _between_casts(model, graph, operator)
        elif kind in COMPARISONS:
            operators += _of_floats(model, graph, operator)
        elif relu and kind not in FUSES_RELU:
            operators += _before_relu(model, graph, operator)
        else:
            if relu:
                fused = ActivationFunctionType.RELU
                operator.builtinOptions.fusedActivationFunction = fused
            operators.append(operator)
    graph.operators = operators
    return pack(model)


def _kind(model, operator):
    return model.operatorCodes[operator.opcodeIndex].builtinCode


def _is_in_8_bits(graph, operator):
    return graph.tensors[operator.outputs[0]].type == TensorType.INT8


def _clips_at_0(graph, kind, operator: OperatorT):
    """Returns whether an operator must clip at 0.

    Its 8-bit range begins there, and its output could be below. Pixels, the network's
    input, are not.
    """

    def begins_at_0(i):
        tensor = graph.tensors[i]
        is_int8 = tensor.type == TensorType.INT8
        return is_int8 and tensor.quantization.zeroPoint[0] == -128

    numbers = (TensorType.INT8, TensorType.FLOAT32)
    inputs = [i for i in operator.inputs if graph.tensors[i].type in numbers]
    positive = all(i in graph.inputs or begins_at_0(i) for i in inputs)
    could_be_below = kind in TURN_NEGATIVE or not positive
    return could_be_below and begins_at_0(operator.outputs[0])


def _widen_tensor(model: ModelT, tensor: TensorT):
    """Turns an 8-bit activation or constant into a 16-bit one."""
    quantization = tensor.quantization
    (scale,), (zero_point,) = quantization.scale, quantization.zeroPoint
    # Of equal ranges the steps stay equal, as MAXIMUM needs them.
    largest = max(127 - zero_point, 128 + zero_point) * np.float64(scale)
    values = constant(model, tensor, np.int8)
    if values is not None:
        values = (values.astype(np.float64) - zero_point) * scale
        values = np.rint(values / largest * LARGEST).astype(np.int16)
        tensor.buffer = add_buffer(model, values)
    tensor.type = TensorType.INT16
    quantization.scale = np.array([largest / LARGEST], np.float32)
    quantization.zeroPoint = np.zeros(1, np.int64)


def _widen_bias(model: ModelT, x: TensorT, kernel: TensorT, bias: TensorT):
    """Turns a bias into 64 bits, in steps of the input's step times the kernel's."""
    values = constant(model, bias, np.int32) * bias.quantization.scale.astype(float)
    scale = (x.quantization.scale * kernel.quantization.scale).astype(np.float32)
    bias.buffer = add_buffer(model, np.rint(values / scale).astype(np.int64))
    bias.type = TensorType.INT64
    bias.quantization.scale = scale


def _between_casts(model, graph, shuffle: OperatorT):
    """Returns a pixel shuffle in 32 bits between two casts.

    TFLite has no pixel shuffle in 16 bits; 32 is the next wider one.
    """
    (x,), (y,) = shuffle.inputs, shuffle.outputs
    wide_x, wide_y = (_retyped(graph, i, TensorType.INT32) for i in (x, y))
    shuffle.inputs, shuffle.outputs = [wide_x], [wide_y]
    return [_cast(model, x, wide_x), shuffle, _cast(model, wide_y, y)]


def _retyped(graph, number, kind):
    """Returns the number of a new tensor, without quantization, like another."""
    tensor = copy.copy(graph.tensors[number])
    tensor.type, tensor.quantization, tensor.buffer = kind, None, 0
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1


def _cast(model, source, target):
    operator = _operator(model, BuiltinOperator.CAST, source, target)
    operator.builtinOptionsType = BuiltinOptions.CastOptions
    operator.builtinOptions = CastOptionsT()
    return operator


def _before_relu(model, graph, operator: OperatorT):
    """Returns an operator and a ReLU of its output."""
    (y,) = operator.outputs
    graph.tensors.append(copy.copy(graph.tensors[y]))
    operator.outputs = [len(graph.tensors) - 1]
    return [operator, _operator(model, BuiltinOperator.RELU, operator.outputs[0], y)]


def _of_floats(model, graph, operator: OperatorT):
    """Returns an operator whose 16-bit inputs are turned into floats before."""
    before, inputs = [], [*operator.inputs]
    for position, i in enumerate(inputs):
        if graph.tensors[i].type == TensorType.INT16:
            inputs[position] = _retyped(graph, i, TensorType.FLOAT32)
            dequantize = BuiltinOperator.DEQUANTIZE
            before.append(_operator(model, dequantize, i, inputs[position]))
    operator.inputs = inputs
    return [*before, operator]


def _operator(model, kind, source, target):
    operator = OperatorT()
    operator.opcodeIndex = _code_of(model, kind)
    operator.inputs, operator.outputs = [source], [target]
    return operator


def _code_of(model, kind):
    for i, code in enumerate(model.operatorCodes):
        if code.builtinCode == kind:
            return i
    code = OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = kind
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
