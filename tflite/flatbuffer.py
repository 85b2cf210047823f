"""TFLite files as objects, and back."""

from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

KINDS = {n: name for name, n in vars(schema.BuiltinOperator).items()}


def unpack(content: bytes) -> schema.ModelT:
    """Returns the model that the bytes of a `.tflite` file hold."""
    return schema.ModelT.InitFromPackedBuf(content, 0)


def pack(model: schema.ModelT) -> bytes:
    """Returns the bytes of a `.tflite` file that holds `model`."""
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def kind_of(model: schema.ModelT, operator: schema.OperatorT) -> str:
    """Returns an operator's kind, such as `CONV_2D`, or its number if unknown."""
    code = model.operatorCodes[operator.opcodeIndex]
    number = max(code.builtinCode, code.deprecatedBuiltinCode)
    return KINDS.get(number, str(number))


def add_buffer(model: schema.ModelT, values: np.ndarray) -> int:
    """Adds a buffer with `values` to `model` and returns its number."""
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(values.tobytes(), np.uint8)
    model.buffers.append(buffer)
    return len(model.buffers) - 1


def constant(
    model: schema.ModelT, tensor: schema.TensorT, dtype: Any
) -> np.ndarray | None:
    """Returns the values of a tensor that is stored in the file, else None."""
    data = model.buffers[tensor.buffer].data
    if data is None or not len(data):
        return None
    return np.frombuffer(bytes(data), dtype)


def add_signature(content: bytes) -> bytes:
    """Returns a `.tflite` file with a signature, which names its input and output.

    The signature is `serving_default`, the input `lr` and the output `sr`.

    Args:
        content: Content of a `.tflite` file of one input and one output.
    """
    model = unpack(content)
    (graph,) = model.subgraphs
    signature = schema.SignatureDefT()
    signature.signatureKey = b"serving_default"
    signature.inputs = [_end(b"lr", *graph.inputs)]
    signature.outputs = [_end(b"sr", *graph.outputs)]
    model.signatureDefs = [signature]
    return pack(model)


def _end(name, tensor):
    end = schema.TensorMapT()
    end.name, end.tensorIndex = name, tensor
    return end
