import numpy as np
import pytest


@pytest.fixture(scope="session")
def enlarger():
    """A function that returns a graph of another program: it repeats pixels, x2.

    A convolution from 3 to 12 channels and a pixel shuffle, in float32 or, with
    `white`, int8 whose largest value means that.
    """
    from ai_edge_litert import schema_py_generated as schema

    from tfsr.tflite.flatbuffer import add_buffer

    def build(white=None, height=8, width=10, open=False):
        model, graph = schema.ModelT(), schema.SubGraphT()
        model.version, model.buffers = 3, [schema.BufferT()]
        model.subgraphs, model.operatorCodes = [graph], []
        graph.tensors, graph.operators = [], []

        def tensor(name, shape, scales, values=None, point=0, integer=np.int8):
            added = schema.TensorT()
            dtype = np.float32 if white is None else integer
            added.name, added.shape = name, np.array(shape, np.int32)
            added.type = getattr(schema.TensorType, np.dtype(dtype).name.upper())
            if open and values is None:
                added.shapeSignature = np.array([1, -1, -1, shape[3]], np.int32)
            if white is not None:
                added.quantization = schema.QuantizationParametersT()
                added.quantization.scale = np.array(scales, np.float32)
                added.quantization.zeroPoint = np.full(len(scales), point, np.int64)
            if values is not None:
                added.buffer = add_buffer(model, values.astype(dtype))
            graph.tensors.append(added)
            return len(graph.tensors) - 1

        def operator(name, inputs, output, options):
            code, added = schema.OperatorCodeT(), schema.OperatorT()
            code.builtinCode = getattr(schema.BuiltinOperator, name)
            code.deprecatedBuiltinCode, code.version = code.builtinCode, 1
            added.opcodeIndex = len(model.operatorCodes)
            added.inputs, added.outputs = inputs, [output]
            kind = type(options).__name__.removesuffix("T")
            added.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
            added.builtinOptions = options
            model.operatorCodes.append(code)
            graph.operators.append(added)

        one = 1 if white is None else 127  # in a kernel
        kernel = np.zeros((12, 3, 3, 3))
        kernel[:, 1, 1] = one * np.tile(np.eye(3), (4, 1))
        of_pixel = [(white or 0) / 255]
        lr = tensor(b"lr", (1, height, width, 3), of_pixel, point=-128)
        weights = tensor(b"kernel", kernel.shape, [1 / one] * 12, kernel)
        scales = [of_pixel[0] / one] * 12
        bias = tensor(b"bias", (12,), scales, np.zeros(12), integer=np.int32)
        maps = tensor(b"maps", (1, height, width, 12), of_pixel, point=-128)
        sr = tensor(b"sr", (1, 2 * height, 2 * width, 3), of_pixel, point=-128)
        conv, shuffle = schema.Conv2DOptionsT(), schema.DepthToSpaceOptionsT()
        conv.strideH = conv.strideW = 1
        shuffle.blockSize = 2
        operator("CONV_2D", [lr, weights, bias], maps, conv)
        operator("DEPTH_TO_SPACE", [maps], sr, shuffle)
        graph.inputs, graph.outputs = [lr], [sr]
        return model

    return build
