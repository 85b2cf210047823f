from functools import partial

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tfsr.models import (
    carn_m,
    cmsc,
    ms3_carn,
    scales,
    scn,
    single_scale,
    srresnet,
    vdsr,
)
from tfsr.tflite import export, quantize
from tfsr.tflite.integers import run_integers
from tfsr.tflite.lowering import lower
from tfsr.tflite.rules import FOR_INT8

SIDE = 24
NETWORKS = {
    "carn_m": partial(carn_m, scale=2, filters=16, blocks=2, units=2),
    "ms2": partial(srresnet, conv="ms2", filters=16, blocks=1),
    "ms3": partial(ms3_carn, conv="ms3", filters=16, blocks=1, units=1),
    "scn": partial(scn, filters=8, blocks=2),
    "scn_restoration": partial(scn, scale=1, channels=1, filters=8, blocks=2),
    "scn_average": partial(scn, filters=8, blocks=2, resampling="average"),
    "scn_conv": partial(scn, filters=8, blocks=2, resampling="conv"),
    "scn_thirds": partial(scn, filters=8, blocks=2, ratio="2/3"),
    "cmsc": partial(cmsc, scale=2, stages=2, modules=1, filters=8),
    "vdsr": partial(vdsr, scale=3, layers=4, filters=8),
}


def smooth_images(channels):
    steps = np.random.default_rng(0).standard_normal((2, SIDE, SIDE, channels))
    images = steps.cumsum(1).cumsum(2)
    low, high = images.min(), images.max()
    return [((image - low) / (high - low)).astype(np.float32) for image in images]


def run_file(content, pixels):
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


@pytest.mark.parametrize(
    ("name", "in_float"),
    [*((name, []) for name in NETWORKS), ("scn", ["*.add*"]), ("scn", ["*.add:3"])],
)
def test_every_integer_is_the_runtime_s(name, in_float):
    keras.utils.set_random_seed(0)
    model = NETWORKS[name]()
    for weight in model.weights:
        if name == "cmsc" and "tail" in weight.path:
            weight.assign(weight / 50)  # else untrained cascades leave [0, 1] wholly
    model = single_scale(model, scales(model)[0])
    images = smooth_images(model.input.shape[-1])

    def lowered(*size):
        return quantize.read_rounded(lower(model, FOR_INT8, *size), in_float)

    graph = lowered()
    ranges = quantize.ranges(graph, quantize.observe(graph, images))
    ranges = quantize.leave_out(graph, ranges, in_float)
    content = export.int8(lowered(SIDE, SIDE), ranges)
    pixels = np.rint(images[0] * 255).astype(np.uint8)[None]
    expected = run_file(content, pixels)
    assert len(np.unique(expected)) > 10
    np.testing.assert_array_equal(run_integers(graph, ranges, pixels), expected)
