import functools

import keras
import numpy as np
import pytest

from tfsr.graph.footprint import alignment, receptive_radius
from tfsr.graph.graph import inline, run_node
from tfsr.layers import CONVS, GroupedConv2D
from tfsr.models import (
    carn_m,
    cmsc,
    scn,
    scn_pspnet,
    scn_unet,
    single_scale,
    srresnet,
)
from tfsr.tflite import export, metadata
from tfsr.tflite.lowering.engine import lower
from tfsr.tflite.lowering.rules import FLOAT_RULES, INT8_RULES
from tfsr.tflite.quantization.observers import min_max, observe
from tfsr.tflite.quantization.range_choice import choose_ranges
from tfsr.tflite.runtime import TFLiteUpscaler, partitions
from tfsr.upscaling.upscalers import KerasUpscaler


@pytest.fixture(scope="module")
def model():
    return carn_m(scale=2, filters=16, blocks=1)


@pytest.fixture(scope="module")
def ranges(model):
    rng = np.random.default_rng(0)
    patches = [rng.random((24, 20, 3), np.float32) for _ in range(4)]
    graph = lower(model, INT8_RULES)
    return choose_ranges(graph, observe(graph, patches))


def load(tmp_path, content, format="float32", scale=2, **facts):
    file = tmp_path / "model.tflite"
    facts = {"scale": scale, "format": format, **facts}
    file.write_bytes(metadata.with_metadata(content, facts))
    return TFLiteUpscaler(file)


@pytest.mark.parametrize("format", ["int8", "int16x8", "stock_int8", "float16"])
def test_every_file_has_a_signature(tmp_path, model, ranges, format):
    graph = lower(model, INT8_RULES, 8, 12)
    patches = [np.zeros((8, 12, 3), np.float32)]
    given = {"int8": [ranges], "int16x8": [ranges], "stock_int8": [patches]}
    content = getattr(export, format)(graph, *given.get(format, []))
    interpreter = load(tmp_path, content, "float32").interpreter
    assert interpreter.get_signature_list() == {
        "serving_default": {"inputs": ["lr"], "outputs": ["sr"]}
    }
    run = interpreter.get_signature_runner("serving_default")
    pixels = "int8" in format and format != "int16x8"
    lr = np.full((1, 8, 12, 3), 1, np.uint8 if pixels else np.float32)
    sr = run(lr=lr)["sr"]
    assert sr.shape == (1, 16, 24, 3)
    assert sr.dtype == lr.dtype
    (output,) = interpreter.get_output_details()
    np.testing.assert_array_equal(sr, interpreter.get_tensor(output["index"]))


@pytest.mark.parametrize("size", [(24, 20), None])
@pytest.mark.parametrize(
    ("export_format", "tolerance"),
    [(export.float32, 1e-5), (export.float16, 2e-3), (export.dynamic_int8, 0.05)],
)
def test_float_formats_equal_keras(tmp_path, model, export_format, tolerance, size):
    lr = np.random.default_rng(1).random((24, 20, 3), np.float32)
    expected = np.clip(KerasUpscaler(model, 2)(lr), 0, 1)
    graph = lower(model, FLOAT_RULES, *(size or (None, None)))
    sr = load(tmp_path, export_format(graph))(lr)
    np.testing.assert_allclose(sr, expected, atol=tolerance)


LEVELS = [("ms3", 3), ("multigrid", 3), ("unet", 2), ("pool_w_d2_d2u2", None)]


# The files of 8 bits below are of every convolution at an odd size, in float too.
@pytest.mark.parametrize(
    ("conv", "levels", "size"),
    [
        ("ms3", 3, (23, 21)),
        *((*of, size) for of in LEVELS for size in ((24, 20), None)),
    ],
)
def test_levels_equal_keras(tmp_path, conv, levels, size):
    model = srresnet(2, conv, levels, filters=8, blocks=1)
    upscaler = load(tmp_path, export.float32(inline(model, *(size or (None, None)))))
    for shape in [size] if size else [(23, 21), (9, 12)]:
        lr = np.random.default_rng(1).random((*shape, 3), np.float32)
        expected = np.clip(KerasUpscaler(model, 2)(lr), 0, 1)
        np.testing.assert_allclose(upscaler(lr), expected, atol=1e-5)


SCNS = {
    "baseline": (scn, {"levels": 1}),
    "shared": (scn, {}),
    "unshared": (scn, {"shared": False}),
    "restoration": (scn, {"scale": 1}),
    "average": (scn, {"resampling": "average"}),
    # Of the fair start a sum has parts too far apart for the delegate, before training.
    "conv": (
        scn,
        {"resampling": "conv", "level_kernel_size": 5, "gains": "authors"},
    ),
    "thirds": (scn, {"ratio": "2/3"}),
    "quarters": (scn, {"ratio": "3/4", "levels": 2}),
    "unet": (scn_unet, {}),
    "pspnet": (scn_pspnet, {}),
}


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *((name, (23, 21)) for name in SCNS),
        *((name, None) for name in ("shared", "thirds", "conv")),
    ],
)
def test_every_scn_equals_keras_and_is_one_partition(tmp_path, name, size):
    builder, arguments = SCNS[name]
    keras.utils.set_random_seed(0)
    model = builder(filters=8, blocks=4 if builder is scn_unet else 2, **arguments)
    scale = arguments.get("scale", 2)
    rng = np.random.default_rng(1)
    lr = rng.integers(0, 256, (*(size or (17, 22)), 3)).astype(np.float32) / 255
    expected = np.clip(KerasUpscaler(model, scale)(lr), 0, 1)

    graph = lower(model, FLOAT_RULES, *(size or (None, None)))
    upscaler = load(tmp_path, export.float32(graph), scale=scale)
    np.testing.assert_allclose(upscaler(lr), expected, atol=1e-4)
    assert size is None or partitions(upscaler.interpreter) == 1

    graph = lower(model, INT8_RULES)
    chosen = choose_ranges(graph, observe(graph, [lr]), min_max)
    content = export.int8(lower(model, INT8_RULES, *(size or (None, None))), chosen)
    upscaler = load(tmp_path, content, "int8", scale)
    assert np.abs(upscaler(lr) - expected).mean() < 8 / 255  # an untrained network
    details = upscaler.interpreter.get_tensor_details()
    assert not [t["name"] for t in details if t["dtype"] == np.float32]
    assert size is None or partitions(upscaler.interpreter) == 1


@pytest.mark.parametrize("conv", CONVS)
def test_every_multi_scale_convolution_in_8_bits(tmp_path, conv):
    model = srresnet(4, conv, filters=8, blocks=1)
    lr = np.rint(np.random.default_rng(0).random((21, 22, 3), np.float32) * 255) / 255
    expected = np.clip(KerasUpscaler(model, 4)(lr), 0, 1)
    size = lr.shape[:2]
    exact = load(tmp_path, export.float32(lower(model, FLOAT_RULES, *size)), scale=4)(
        lr
    )
    np.testing.assert_allclose(exact, expected, atol=1e-5)

    graph = lower(model, INT8_RULES)
    bounds = choose_ranges(graph, observe(graph, [lr]))
    content = export.int8(lower(model, INT8_RULES, *size), bounds)
    upscaler = load(tmp_path, content, "int8", scale=4)
    assert np.abs(upscaler(lr) - expected).mean() < 1 / 255
    details = upscaler.interpreter.get_tensor_details()
    assert not any(tensor["dtype"] == np.float32 for tensor in details)
    if conv not in ("w_d2_d2u2", "pool_w_d2_d2u2"):  # with nearest downsampling
        assert partitions(upscaler.interpreter) <= 2


@functools.cache
def of_fixed_size(size, resampling):
    model = scn(2, filters=8, blocks=1, resampling=resampling)
    return model, export.float32(lower(model, FLOAT_RULES, *size))


@pytest.mark.parametrize("size", [(97, 130), (64, 64), (63, 61), (40, 60), (20, 100)])
@pytest.mark.parametrize(
    ("of_file", "resampling"),
    [((64, 64), "bilinear"), ((63, 61), "bilinear"), ((63, 61), "average")],
)
def test_a_fixed_size_takes_other_images_in_tiles(tmp_path, of_file, resampling, size):
    model, content = of_fixed_size(of_file, resampling)
    y, x = np.mgrid[: size[0], : size[1]]
    waves = np.stack([np.sin(y / 9), np.cos(x / 7), np.sin((x + y) / 8)], axis=-1)
    lr = np.float32(waves / 4 + 0.5)
    expected = np.clip(KerasUpscaler(model, 2)(lr), 0, 1)
    facts = {"receptive_radius": receptive_radius(model), "alignment": alignment(model)}
    upscaler = load(tmp_path, content, **facts)
    sr = upscaler(lr)
    assert sr.shape == expected.shape
    assert upscaler.tiles.is_exact(*size) == np.allclose(sr, expected, atol=1e-4)
    # At the right and at the bottom the image is padded otherwise.
    border = 0 if size == of_file else 12
    inside = tuple(slice(2 * (side - border)) for side in size)
    np.testing.assert_allclose(sr[inside], expected[inside], atol=1e-4)


def test_levels_that_share_their_weights_store_them_once(tmp_path):
    def size(**arguments):
        return len(
            export.float32(lower(scn(filters=32, blocks=2, **arguments), FLOAT_RULES))
        )

    kernels = 2 * 2 * 9 * 32 * 128 * 4  # bytes, of one level
    assert size(levels=3) - size(levels=1) < kernels / 4
    assert size(levels=3, shared=False) - size(levels=3) > kernels


@pytest.mark.parametrize(("height", "width"), [(24, 20), (23, 21)])
def test_levels_are_one_partition_of_operations_for_images(tmp_path, height, width):
    model = srresnet(2, "ms3", filters=8, blocks=1)
    content = export.float32(inline(model, height, width))
    interpreter = load(tmp_path, content).interpreter
    assert partitions(interpreter) == 1
    operators = {op["op_name"] for op in interpreter._get_ops_details()}
    assert not operators & {"TILE", "RESHAPE", "BROADCAST_TO", "GATHER", "TRANSPOSE"}


@pytest.mark.parametrize("size", [(24, 20), None])
def test_int8_takes_and_gives_pixels(tmp_path, model, ranges, size):
    graph = lower(model, INT8_RULES, *(size or (None, None)))
    upscaler = load(tmp_path, export.int8(graph, ranges), format="int8")
    for details in (upscaler._input, upscaler._output):
        assert details["dtype"] == np.uint8
        assert details["quantization"] == (pytest.approx(1 / 255), 0)
    rng = np.random.default_rng(2)
    lr = rng.integers(0, 256, (24, 20, 3)).astype(np.float32) / 255
    expected = np.clip(KerasUpscaler(model, 2)(lr), 0, 1)
    assert np.abs(upscaler(lr) - expected).mean() < 2 / 255


def test_int8_is_one_partition_without_float_operators(tmp_path, model, ranges):
    content = export.int8(lower(model, INT8_RULES, 24, 20), ranges)
    interpreter = load(tmp_path, content, format="int8").interpreter
    assert partitions(interpreter) == 1
    assert not [
        t["name"] for t in interpreter.get_tensor_details() if t["dtype"] == np.float32
    ]
    operators = [op["op_name"] for op in interpreter._get_ops_details()]
    assert "DEQUANTIZE" not in operators
    assert operators.count("QUANTIZE") == 2  # uint8 to int8 and back


def test_the_whole_cascade_has_no_float_operators(tmp_path):
    model = single_scale(cmsc(2, filters=4), 2)
    patch = np.random.default_rng(0).random((8, 8, 3), np.float32)
    graph = lower(model, INT8_RULES)
    ranges = choose_ranges(graph, observe(graph, [patch]))
    content = export.int8(lower(model, INT8_RULES, 8, 8), ranges)
    interpreter = load(tmp_path, content, format="int8").interpreter
    assert not [
        t["name"] for t in interpreter.get_tensor_details() if t["dtype"] == np.float32
    ]
    operators = [op["op_name"] for op in interpreter._get_ops_details()]
    # enlargement, luma, head, three stages of 1 + 5 * 4, a tail each
    assert operators.count("CONV_2D") == 1 + 1 + 1 + 3 * 21 + 3


def test_grouped_convolutions_stay_whole(tmp_path, model, ranges):
    content = export.int8(lower(model, INT8_RULES, 24, 20), ranges)
    interpreter = load(tmp_path, content, format="int8").interpreter
    operators = [op["op_name"] for op in interpreter._get_ops_details()]
    # head, three recursions of (3 convolutions and a fusion), fusion, upsampler as one
    # for each place, tail with its first row and column
    assert operators.count("CONV_2D") == 1 + 3 * 4 + 1 + 1 + 3
    assert operators.count("SPLIT") == 0


def test_equal_biases_mean_the_same_in_every_filter(tmp_path):
    rng = np.random.default_rng(0)
    inputs = keras.Input((None, None, 3))
    conv = GroupedConv2D(3, 3)
    outputs = conv(inputs)
    kernel = rng.uniform(-1, 1, (3, 3, 3, 3)) * [0.001, 0.01, 0.05]
    conv.set_weights([kernel, np.full(3, 0.3)])
    graph = inline(keras.Model(inputs, outputs))
    lr = np.rint(rng.random((9, 8, 3), np.float32) * 255) / 255
    bounds = choose_ranges(graph, observe(graph, [lr]))
    (expected,) = graph.run([lr[None]], run_node)
    sr = load(tmp_path, export.int8(graph, bounds), "int8", scale=1)(lr)
    np.testing.assert_allclose(sr, np.asarray(expected)[0], atol=1 / 255)


@pytest.mark.parametrize("size", [(2, 2), (3, 2)])
def test_bilinear_upsampling_of_open_size_equals_keras(tmp_path, size):
    """As of Keras itself, which asks TensorFlow for known sizes."""
    lr = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(lr)
    x = keras.layers.UpSampling2D(size, interpolation="bilinear")(x)
    x = keras.layers.UpSampling2D(size[::-1])(x)
    model = keras.Model(lr, keras.layers.Conv2D(3, 3, padding="same")(x))
    content = export.float32(lower(model, FLOAT_RULES))
    upscaler = load(tmp_path, content, scale=size[0] * size[1])
    for shape in ((6, 9, 3), (12, 7, 3)):
        image = np.random.default_rng(0).random(shape, np.float32)
        expected = np.clip(model(image[None])[0], 0, 1)
        np.testing.assert_allclose(upscaler(image), expected, atol=1e-5)
