"""A `.tflite` file of open size as one of fixed size, for engines that want that."""

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tfsr.quiet import quiet_stderr
from tfsr.tflite.flatbuffer import add_buffer, pack, unpack


def at_size(content: bytes, height: int, width: int) -> bytes:
    """Returns a file of the same operators for one size.

    What computes sizes alone is left out; its results are constants then.

    Args:
        content: A `.tflite` file of one input `(1, H, W, C)`.
        height: Of the input.
        width: Of the input.
    """
    interpreter = Interpreter(
        model_content=content,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    (given,) = interpreter.get_input_details()
    interpreter.resize_tensor_input(
        given["index"], (1, height, width, given["shape"][-1])
    )
    with quiet_stderr():
        interpreter.allocate_tensors()
        interpreter.invoke()
    shapes = {t["index"]: t["shape"] for t in interpreter.get_tensor_details()}
    model = unpack(content)
    graph = model.subgraphs[0]
    for i, tensor in enumerate(graph.tensors):
        tensor.shape, tensor.shapeSignature = shapes[i], None
    varying, kept = {*graph.inputs}, []
    names = {op["index"]: op["op_name"] for op in interpreter._get_ops_details()}
    for i, operator in enumerate(graph.operators):
        if names[i] != "SHAPE" and varying & {*operator.inputs}:
            varying |= {*operator.outputs}
            kept.append(operator)
            continue
        for output in operator.outputs:
            values = np.ascontiguousarray(interpreter.get_tensor(output))
            graph.tensors[output].buffer = add_buffer(model, values)
    graph.operators = kept
    return pack(model)
