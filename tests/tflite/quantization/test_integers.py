from functools import partial

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from networks import small
from tfsr.layers import FakeQuantize, GroupedConv2D
from tfsr.models import scales, single_scale
from tfsr.tflite import export
from tfsr.tflite.lowering.engine import lower
from tfsr.tflite.lowering.rules import INT8_RULES
from tfsr.tflite.quantization import equalization
from tfsr.tflite.quantization.aware import quantization_aware, strip_fake_quantization
from tfsr.tflite.quantization.integers import run_integers
from tfsr.tflite.quantization.mixed_precision import drop_ranges, requantize_sums
from tfsr.tflite.quantization.observers import observe
from tfsr.tflite.quantization.range_choice import choose_ranges

SIDE = 24


def clipped():
    """Clips of every kind within, and one at the end."""
    lr = keras.Input((None, None, 3))
    x = keras.layers.ReLU(max_value=0.5)(keras.layers.Conv2D(8, 3, padding="same")(lr))
    y = keras.ops.clip(keras.layers.Conv2D(8, 3, padding="same")(x), -0.25, 0.5)
    z = keras.ops.relu6(keras.layers.Conv2D(8, 3, padding="same")(y))
    x = keras.layers.Conv2D(12, 3, padding="same")(z)
    return keras.Model(lr, keras.ops.clip(keras.ops.depth_to_space(x, 2), 0, 1))


NETWORKS = {
    "clipped": clipped,
    "carn_m": partial(small, "carn_m", scale=2, units=2),
    "ms2": partial(small, "srresnet", conv="ms2", filters=16),
    "ms3": partial(small, "ms3_carn", filters=16),
    "scn": partial(small, "scn", blocks=2),
    "scn_restoration": partial(small, "scn", scale=1, channels=1),
    "scn_average": partial(small, "scn", resampling="average"),
    "scn_conv": partial(small, "scn", resampling="conv"),
    "scn_thirds": partial(small, "scn", ratio="2/3"),
    "cmsc": partial(small, "cmsc", scale=2, filters=8),
    "vdsr": partial(small, "vdsr", scale=3, layers=4, filters=8),
    "sesr": partial(small, "sesr"),
    "ffdnet": partial(small, "ffdnet"),
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


def both(model, in_float=(), fine_sums=False):
    """Returns what the integers and the file give for an image."""
    images = smooth_images(model.input.shape[-1])

    def lowered(*size):
        graph = requantize_sums(lower(model, INT8_RULES, *size), in_float)
        return finely(graph) if fine_sums else graph

    def finely(graph):
        return equalization.rescaled(equalization.as_convolutions(graph), factors)

    if fine_sums:
        plain = equalization.as_convolutions(lower(model, INT8_RULES))
        factors = equalization.channel_scales(plain, images)

    graph = lowered()
    ranges = choose_ranges(graph, observe(graph, images))
    ranges = drop_ranges(graph, ranges, in_float)
    content = export.int8(lowered(SIDE, SIDE), ranges)
    pixels = np.rint(images[0] * 255).astype(np.uint8)[None]
    return run_integers(graph, ranges, pixels), run_file(content, pixels)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {}) for name in NETWORKS),
        ("scn", {"in_float": ["*.add*"]}),
        ("scn", {"in_float": ["*.add:3"]}),
        ("scn", {"fine_sums": True}),
    ],
)
def test_every_integer_is_the_runtime_s(name, options):
    model = NETWORKS[name]()
    integers, file = both(single_scale(model, scales(model)[0]), **options)
    assert len(np.unique(file)) > 5
    np.testing.assert_array_equal(integers, file)


def test_ranges_that_grew_in_training_clip_all_the_same():
    keras.utils.set_random_seed(0)
    model = clipped()
    aware = quantization_aware(model, smooth_images(3))
    for layer in aware.layers:
        if isinstance(layer, FakeQuantize) and layer.learned:
            layer.range.assign(2 * layer.range)
    content = export.int8(*strip_fake_quantization(aware, SIDE, SIDE))
    interpreter = Interpreter(model_content=content)
    kinds = [op["op_name"] for op in interpreter._get_ops_details()]
    assert not {"MINIMUM", "MAXIMUM", "DEQUANTIZE"} & {*kinds}
    pixels = np.rint(smooth_images(3)[0] * 255).astype(np.uint8)[None]
    expected = run_integers(*strip_fake_quantization(aware), pixels)
    np.testing.assert_array_equal(run_file(content, pixels), expected)


def test_a_weight_between_two_steps_goes_where_the_converter_has_it():
    largest, weight = between_two_steps()
    lr = keras.Input((None, None, 3))
    tail = GroupedConv2D(3, 3, name="tail")
    model = keras.Model(lr, tail(lr))
    kernel = np.zeros((3, 3, 3, 3), np.float32)
    kernel[1, 1] = largest * np.eye(3)
    kernel[0, 0, [1, 2, 0], [0, 1, 2]] = weight
    tail.set_weights([kernel, np.zeros(3)])
    np.testing.assert_array_equal(*both(model))


def between_two_steps():
    """Returns the largest and another weight of a kernel, the other on one side of the
    middle of two steps by exact steps and on the other by steps in float32."""
    for largest in np.float32(0.6 + np.random.default_rng(0).random(1000) / 9):
        exact = np.float64(largest) / 127
        for middle in np.arange(20.5, 40):
            weight = np.float32(middle * exact)
            if np.rint(weight / exact) != np.rint(
                weight / np.float64(np.float32(exact))
            ):
                return largest, weight
    raise AssertionError("there is none")
