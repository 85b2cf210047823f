"""Fixes the size of a `.tflite` file of open size, for engines that require that."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tfsr.quiet import quiet_stderr
from tfsr.tflite.flatbuffer import add_buffer, constant, kind_of, pack, unpack


def at_size(content: bytes, height: int, width: int) -> bytes:
    """Returns the file for one size of input.

    Operators that only compute sizes become constants, and padding is left out where
    there is nothing to pad. Slices name every axis, as GPU engines and NPUs require.

    Args:
        content: A `.tflite` file of one input `(1, H, W, C)`.
        height: Height of the input.
        width: Width of the input.
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
            if names[i] == "STRIDED_SLICE":
                parts = [interpreter.get_tensor(part) for part in operator.inputs[1:]]
                _name_all_axes(model, operator, shapes[operator.inputs[0]], parts)
            continue
        for output in operator.outputs:
            values = np.ascontiguousarray(interpreter.get_tensor(output))
            graph.tensors[output].buffer = add_buffer(model, values)
    graph.operators = kept
    _leave_out_whole_slices(model)
    return pack(model)


def constants(content: bytes) -> list[bytes | None]:
    """Returns the constants that the operators of a file read, in order.

    An entry is None if what is read is not constant. If the files of two sizes from
    `at_size` have the same constants, one file serves every size once its shapes are
    overwritten.
    """
    model = unpack(content)
    graph = model.subgraphs[0]
    read = [graph.tensors[i] for op in graph.operators for i in op.inputs if i >= 0]
    values = (constant(model, tensor, np.uint8) for tensor in read)
    return [None if array is None else array.tobytes() for array in values]


def _leave_out_whole_slices(model):
    """Removes slices that keep everything, and operators that nothing reads then.

    Padding concatenates rows to an image and slices off the excess, so with nothing to
    pad the slice keeps the whole image.
    """
    graph = model.subgraphs[0]
    same, made_by = {}, {}  # both by the tensor that an operator makes
    for operator in graph.operators:
        operator.inputs = [same.get(tensor, tensor) for tensor in operator.inputs]
        made_by.update(dict.fromkeys(operator.outputs, operator))
        if kind_of(model, operator) == "STRIDED_SLICE":
            (output,), (source, begin, _, step) = operator.outputs, operator.inputs
            begins, steps = (
                constant(model, graph.tensors[i], np.int32) for i in (begin, step)
            )
            if not _alike(graph, source, output) and source in made_by:
                join = made_by[source]
                if kind_of(model, join) == "CONCATENATION":
                    source = join.inputs[0]
            from_the_first = not begins.any() and (steps == 1).all()
            if from_the_first and _alike(graph, source, output):
                same[output] = source
    graph.outputs = [same.get(tensor, tensor) for tensor in graph.outputs]
    for signature in model.signatureDefs or ():
        for end in signature.outputs:
            end.tensorIndex = same.get(end.tensorIndex, end.tensorIndex)
    read, kept = {*graph.outputs}, []
    for operator in reversed(graph.operators):
        if read & {*operator.outputs}:
            read |= {*operator.inputs}
            kept.insert(0, operator)
    graph.operators = kept


def _alike(graph, one, other):
    """Returns whether two tensors have the same shape and quantization."""
    a, b = graph.tensors[one], graph.tensors[other]
    return list(a.shape) == list(b.shape) and _scales(a) == _scales(b)


def _scales(tensor):
    kept = tensor.quantization
    return kept and [
        None if values is None else list(values)
        for values in (kept.scale, kept.zeroPoint)
    ]


def _name_all_axes(model, operator, shape, parts):
    """Makes a slice that keeps all axes give its bounds on each of them.

    Args:
        model: The file, which gets the tensors with the bounds.
        operator: The slice.
        shape: Shape of what it reads.
        parts: Where it begins and ends, and its steps, on the first axes.
    """
    options, graph = operator.builtinOptions, model.subgraphs[0]
    others = (options.ellipsisMask, options.newAxisMask, options.shrinkAxisMask)
    if any(others) or min(parts[2]) < 1:
        return
    axes = [slice(None).indices(side) for side in shape]
    named = zip(*map(np.ndarray.tolist, parts), strict=True)
    for axis, (begin, end, step) in enumerate(named):
        begin = None if options.beginMask >> axis & 1 else begin
        end = None if options.endMask >> axis & 1 else end
        axes[axis] = slice(begin, end, step).indices(shape[axis])
    options.beginMask = options.endMask = 0
    inputs = [operator.inputs[0]]
    for values in np.array(axes, np.int32).T:
        tensor = schema.TensorT()
        tensor.name, tensor.type = b"slice", schema.TensorType.INT32
        tensor.shape = [len(shape)]
        tensor.buffer = add_buffer(model, np.ascontiguousarray(values))
        inputs.append(len(graph.tensors))
        graph.tensors.append(tensor)
    operator.inputs = inputs
