"""Every operator in 8 bits: what of it runs in float, and what is simulated exactly.

`benchmarks/operators.py` has the networks; docs/your_model.md has the result.
"""

import runpy
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from tfsr.errors import InputError
from tfsr.tflite import export
from tfsr.tflite.lowering.engine import lower
from tfsr.tflite.lowering.rules import INT8_RULES
from tfsr.tflite.quantization.integers import run_integers
from tfsr.tflite.quantization.observers import observe
from tfsr.tflite.quantization.range_choice import choose_ranges
from tfsr.tflite.runtime import TFLiteUpscaler, in_float, left_in_float
from tfsr.upscaling.upscalers import to_uint8

ROOT = Path(__file__).parents[3]
script = runpy.run_path(str(ROOT / "benchmarks" / "operators.py"))
CONSTRUCTS, network, SIDE = (script[key] for key in ("CONSTRUCTS", "network", "SIDE"))
published = runpy.run_path(str(ROOT / "benchmarks" / "published_networks.py"))


def fsrcnn(size):
    """Returns FSRCNN with weights of which pixels come that are not black."""
    model = published["fsrcnn"](size=size)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([1000 * kernel, bias + 0.5])
    return model


AS_PUBLISHED = "XLSR", "ABPN", "PlainUSR-T", "PlainUSR-S"
PUBLISHED = {  # some with fewer channels and blocks
    **{name: published["NETWORKS"][name] for name in AS_PUBLISHED},
    "FSRCNN": fsrcnn,
    "QuickSRNet": partial(published["quicksrnet"], 2, 8),
    "ECBSR": partial(published["ecbsr"], 1, 8),
    "IMDN": partial(published["imdn"], 16, 1),
    "RFDN": partial(published["rfdn"], 8, 1),
    "SPAN": partial(published["span"], 8, 1),
    "SAFMN": partial(published["safmn"], 8, 1),
}
IN_FLOAT = {
    "ELU",
    "softplus",
    "mish",
    "sign",
    "divide by little",
    "softmax of the map",
    "multi-head attention of a map",
    "causal attention",
    "masked attention",
    "attention masked by hand",
    "moments",
    "layer normalization",
    "a user's layer normalization",
    "response normalization",
    "group normalization",
    "instance normalization",
}


def compared(model):
    """Returns whether the file computes in float, and how far simulation is from it."""
    images = script["patches"]()
    graph = lower(model, INT8_RULES)
    ranges = choose_ranges(graph, observe(graph, images))
    content = export.int8(lower(model, INT8_RULES, SIDE, SIDE), ranges)
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    pixels = to_uint8(images[0])[None]
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
    interpreter.invoke()
    file = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    assert len(np.unique(file)) > 10
    apart, _ = script["differences"](run_integers(graph, ranges, pixels), file)
    return bool(in_float(interpreter)), apart


@pytest.mark.parametrize("name", CONSTRUCTS)
def test_each_operator_is_what_the_table_says(name):
    floats, apart = compared(network([CONSTRUCTS[name]]))
    assert floats == (name in IN_FLOAT)
    assert apart == 0


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_are_simulated(name):
    keras.utils.set_random_seed(0)
    _, apart = compared(PUBLISHED[name](size=(None, None)))
    assert apart == 0


@pytest.mark.parametrize(("factor", "shift"), [(0.3, 0), (3, 0), (30, -90)])
def test_hard_swish_of_any_range_is_simulated(factor, shift):
    model = network([lambda x: keras.ops.hard_silu(x * factor + shift)])
    assert compared(model) == (False, 0)


@pytest.mark.parametrize(
    "name", ["transposed, wide", "LeakyReLU", "PReLU", "tanh", "abs", "pooling 3x3"]
)
def test_a_relu_of_anything_needs_no_float(name):
    def construct(x):
        return keras.layers.Conv2D(4, 1)(keras.ops.relu(CONSTRUCTS[name](x)))

    assert compared(network([construct])) == (False, 0)


def test_what_tflite_lacks_is_told_in_a_line():
    up = keras.layers.UpSampling2D(2, interpolation="lanczos3")
    model = network([lambda x: keras.layers.AveragePooling2D(2)(up(x))])
    with pytest.raises(InputError, match=r"^TFLite has no \w+, which the network"):
        compared(model)


@pytest.mark.parametrize("last", [keras.ops.sigmoid, keras.ops.tanh])
@pytest.mark.parametrize("filters", [3, 12])
def test_ranges_that_tflite_gives_are_those_of_the_image_too(last, filters):
    keras.utils.set_random_seed(0)
    lr = keras.Input((None, None, 3))
    sr = last(keras.layers.Conv2D(filters, 3, padding="same")(lr) * 3.0)
    sr = keras.ops.depth_to_space(sr, 2) if filters == 12 else sr
    assert compared(keras.Model(lr, sr)) == (False, 0)


def test_halves_of_a_bias_are_rounded_as_the_converter_does():
    keras.utils.set_random_seed(0)
    lr = keras.Input((None, None, 3))
    sr = keras.layers.Conv2D(3, 3, padding="same")(lr) + 4 * (lr - 0.5)
    assert compared(keras.Model(lr, sr)) == (False, 0)


def test_operators_in_one_network_are_converted_measured_and_trained(tmp_path):
    several = ("PReLU", "transposed, wide", "gate of channels", "ELU", "stack")
    names = ("a user's convolution", *several)
    found = script["outcome"](network([CONSTRUCTS[name] for name in names]), tmp_path)
    assert {"TRANSPOSE_CONV", "LOGISTIC", "ELU"} <= found.operators.keys()
    assert found.apart == 0
    (note,) = left_in_float(TFLiteUpscaler(tmp_path / "int8.tflite"))
    assert "ELU" in note
    assert "QUANTIZE" not in note
    assert "CONV_2D" not in note
