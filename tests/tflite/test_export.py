import numpy as np
import pytest
from tfsr.tflite import export, quantize
from tfsr.tflite.runtime import TFLiteUpscaler, partitions

from tfsr.inference import KerasUpscaler
from tfsr.models import carn_m, single_scale

FLOATS = ("FLOAT32", "FLOAT16", "DEQUANTIZE")


@pytest.fixture(scope="module")
def model():
    return carn_m(scale=2, filters=16, blocks=1)


@pytest.fixture(scope="module")
def ranges(model):
    rng = np.random.default_rng(0)
    patches = [rng.random((24, 20, 3), np.float32) for _ in range(4)]
    return quantize.observe(model, patches)


def load(tmp_path, content, **options):
    file = tmp_path / "model.tflite"
    file.write_bytes(content)
    return TFLiteUpscaler(file, **options)


@pytest.mark.parametrize("size", [(24, 20), None])
@pytest.mark.parametrize(
    ("export_format", "tolerance"), [(export.float32, 1e-5), (export.float16, 2e-3)]
)
def test_float_formats_equal_keras(tmp_path, model, export_format, tolerance, size):
    lr = np.random.default_rng(1).random((24, 20, 3), np.float32)
    expected = np.clip(KerasUpscaler(model, 2)(lr), 0, 1)
    sr = load(tmp_path, export_format(model, size))(lr)
    np.testing.assert_allclose(sr, expected, atol=tolerance)


@pytest.mark.parametrize("size", [(24, 20), None])
def test_int8_takes_and_gives_pixels(tmp_path, model, ranges, size):
    upscaler = load(tmp_path, export.int8(model, size, ranges))
    for details in (upscaler._input, upscaler._output):
        assert details["dtype"] == np.uint8
        assert details["quantization"] == (pytest.approx(1 / 255), 0)
    rng = np.random.default_rng(2)
    lr = rng.integers(0, 256, (24, 20, 3)).astype(np.float32) / 255
    expected = np.clip(KerasUpscaler(model, 2)(lr), 0, 1)
    assert np.abs(upscaler(lr) - expected).mean() < 2 / 255


def test_int8_is_one_partition_without_float_operators(tmp_path, model, ranges):
    interpreter = load(tmp_path, export.int8(model, (24, 20), ranges)).interpreter
    assert partitions(interpreter) == 1
    assert not [
        t["name"] for t in interpreter.get_tensor_details() if t["dtype"] == np.float32
    ]
    operators = [op["op_name"] for op in interpreter._get_ops_details()]
    assert "DEQUANTIZE" not in operators
    assert operators.count("QUANTIZE") == 2  # uint8 to int8 and back


def test_grouped_convolutions_stay_whole(tmp_path, model, ranges):
    interpreter = load(tmp_path, export.int8(model, (24, 20), ranges)).interpreter
    operators = [op["op_name"] for op in interpreter._get_ops_details()]
    # head, three recursions of (3 convolutions and a fusion), fusion, upsampler, tail
    assert operators.count("CONV_2D") == 1 + 3 * 4 + 1 + 1 + 1


def test_ranges_are_the_observed_extremes():
    model = single_scale(carn_m(scale=(2, 4), filters=8, blocks=1), 2)
    rng = np.random.default_rng(3)
    patches = [rng.random((9, 7, 3), np.float32), 3 * rng.random((5, 8, 3), np.float32)]
    ranges = quantize.observe(model, patches)
    shifted = [patch + model.get_layer("sub_mean").offset for patch in patches]
    low = min(0, min(x.min() for x in shifted))
    assert ranges[0] == pytest.approx((low, max(x.max() for x in shifted)), rel=1e-6)


def test_concatenated_tensors_share_a_range(model, ranges):
    from tfsr.graph import inline

    graph = inline(model)
    producer = {id(x): i for i, n in enumerate(graph.nodes) for x in n.outputs}
    shared = 0
    for node in graph.nodes:
        if type(node.operation).__name__ == "Concatenate":
            sources = {producer[id(x)] for x in node.input_tensors} & set(ranges)
            assert len({ranges[i] for i in sources}) <= 1
            shared += len(sources) > 1
    assert shared
