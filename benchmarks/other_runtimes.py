"""Compares int8 latency with OpenVINO's and ONNX Runtime's, in turns on one thread.

python benchmarks/other_runtimes.py MODEL --scale 4 --calibrate FOLDER [--size 180x320]

It takes up to 7 GB of memory. The network is written as ONNX as it is. NNCF quantizes
it for OpenVINO, and ONNX Runtime's static quantization for ONNX Runtime; all calibrate
on the same patches. The least CPU time counts, because other work on the machine hardly
changes it. "To float" is how near the output comes to that of the float network.
"""

import argparse
import importlib.util
import tempfile
import time
from pathlib import Path

import keras
import numpy as np

import tfsr
from tfsr.cli.arguments import size
from tfsr.data import BenchmarkFolder
from tfsr.graph import operations as op
from tfsr.graph.graph import run_node
from tfsr.graph.operators import CONCATENATIONS, SUMS, is_relu
from tfsr.layers import ChannelShift, GroupedConv2D
from tfsr.models import single_scale
from tfsr.tflite.conversion import convert
from tfsr.tflite.lowering.engine import lower, weights_of
from tfsr.tflite.quantization.calibration import calibration_patches
from tfsr.tflite.runtime import TFLiteUpscaler

RUNS = 15
OTHERS = ("onnx", "onnxruntime", "openvino", "nncf")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--scale", type=int, default=4, help="default: %(default)s")
    parser.add_argument("--calibrate", required=True, metavar="FOLDER")
    parser.add_argument("--size", type=size, default=(180, 320), metavar="HxW")
    options = parser.parse_args()
    if not all(map(importlib.util.find_spec, OTHERS)):
        parser.error(f"this needs other runtimes: pip install {' '.join(OTHERS)}")
    model = single_scale(tfsr.load_model(options.model), options.scale)
    graph = lower(model, ())
    calibration = BenchmarkFolder(options.calibrate, options.scale)
    patches = calibration_patches(calibration)
    image = _of_size(patches[0], options.size)
    with tempfile.TemporaryDirectory() as scratch:
        ours, onnx_file = Path(scratch, "ours.tflite"), Path(scratch, "float.onnx")
        write_onnx(graph, onnx_file)
        convert(model, options.scale, "int8", [options.size], ours, calibration)
        ready = {
            "tfsr, LiteRT": litert(ours, image),
            "OpenVINO": openvino(onnx_file, patches, image),
            "ONNX Runtime": onnxruntime(onnx_file, patches, image),
        }
    (in_float,) = graph.run([keras.ops.convert_to_tensor(image[None])], run_node)
    in_float = np.clip(keras.ops.convert_to_numpy(in_float)[0], 0, 1)
    times = {name: [] for name in ready}
    for _ in range(RUNS):
        for name, run in ready.items():
            started = time.process_time()
            run()
            times[name].append(1e3 * (time.process_time() - started))
    print("| runtime | ms | of ours | to float, dB |")
    print("| --- | --- | --- | --- |")
    ours_ms = min(times["tfsr, LiteRT"])
    for name, run in ready.items():
        error = np.mean((np.clip(run(), 0, 1) - in_float) ** 2)
        least = min(times[name])
        print(
            f"| {name} | {least:.0f} | {least / ours_ms:.2f} | "
            f"{-10 * np.log10(error):.1f} |"
        )


def litert(file, image):
    """Returns a function that runs LiteRT once: of `(H, W, 3)` SR, in [0, 1]."""
    upscaler = TFLiteUpscaler(file, 1)
    return lambda: upscaler(image)


def openvino(file, patches, image):
    """Returns such a function for OpenVINO, with NNCF's quantization."""
    import nncf
    import openvino

    model = openvino.Core().read_model(file)
    model = nncf.quantize(model, nncf.Dataset([*map(_as_nchw, patches)]))
    model.reshape(_as_nchw(image).shape)
    compiled = openvino.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1})
    return lambda: _as_image(compiled(_as_nchw(image))[0])


def onnxruntime(file, patches, image):
    """Returns such a function for ONNX Runtime, with its static quantization (QDQ)."""
    from onnxruntime import InferenceSession, SessionOptions, quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self):
            self.rest = iter(patches)

        def get_next(self):
            patch = next(self.rest, None)
            return None if patch is None else {"lr": _as_nchw(patch)}

    quantized = file.with_suffix(".int8.onnx")
    quantization.quantize_static(file, quantized, Reader(), per_channel=True)
    options = SessionOptions()
    options.intra_op_num_threads = 1
    session = InferenceSession(quantized, options, providers=["CPUExecutionProvider"])
    return lambda: _as_image(session.run(None, {"lr": _as_nchw(image)})[0])


def _of_size(patch, size):
    """Returns a patch repeated to a size."""
    rows, columns = map(np.arange, size)
    return patch.take(rows, 0, mode="wrap").take(columns, 1, mode="wrap")


def _as_nchw(image):
    return np.ascontiguousarray(image.transpose(2, 0, 1)[None])


def _as_image(batch):
    return batch[0].transpose(1, 2, 0)


def write_onnx(graph, file):
    """Writes a graph of convolutions, sums, ReLUs and pixel shuffles as ONNX."""
    import onnx
    from onnx import helper, numpy_helper

    nodes, constants = [], []

    def constant(values):
        name = f"constant_{len(constants)}"
        constants.append(numpy_helper.from_array(values, name))
        return name

    def add(kind, inputs, outputs=1, **attributes):
        names = [f"{kind}_{len(nodes)}_{i}" for i in range(outputs)]
        nodes.append(helper.make_node(kind, inputs, names, **attributes))
        return names

    def call(node, *args, **kwargs):
        operation, outputs = node.operation, len(node.outputs)
        if isinstance(operation, GroupedConv2D):
            kernel, bias = (np.float32(values) for values in weights_of(operation))
            inputs = [args[0], constant(kernel.transpose(3, 2, 0, 1)), constant(bias)]
            pads = [(operation.kernel_size - 1) // 2] * 4
            return add("Conv", inputs, group=operation.groups, pads=pads)
        if isinstance(operation, ChannelShift):
            shift = np.float32(operation.offset).reshape(1, -1, 1, 1)
            return add("Add", [args[0], constant(shift)])
        if isinstance(operation, op.DepthToSpace):
            return add("DepthToSpace", [args[0]], blocksize=operation.block_size)
        if isinstance(operation, op.Split):
            return add("Split", [args[0]], outputs, axis=1, num_outputs=outputs)
        if isinstance(operation, CONCATENATIONS):
            return add("Concat", list(args[0]), axis=1)
        if is_relu(operation):
            return add("Relu", [args[0]])
        if isinstance(operation, SUMS):
            return add("Add", keras.tree.flatten(args))
        raise ValueError(
            "a network must have convolutions of stride 1, sums, ReLUs and pixel "
            f"shuffles alone. Received: {type(operation).__name__}."
        )

    names = graph.run(["lr"], call)
    shapes = [["n", 3, "h", "w"], ["n", 3, "H", "W"]]
    ends = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in zip(["lr", *names], shapes, strict=True)
    ]
    network = helper.make_graph(nodes, "network", ends[:1], ends[1:], constants)
    opsets = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(network, opset_imports=opsets, ir_version=9), file)


if __name__ == "__main__":
    main()
