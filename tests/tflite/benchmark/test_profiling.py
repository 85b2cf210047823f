import numpy as np
import pytest

from tfsr.data import BenchmarkFolder
from tfsr.graph import complexity
from tfsr.models import carn_m, single_scale, srresnet
from tfsr.tflite.benchmark.profiling import IsolatedOperators, profile, summarize
from tfsr.tflite.conversion import convert
from tfsr.tflite.runtime import TFLiteUpscaler

SIZE = (10, 12)


@pytest.fixture(scope="module")
def model():
    return carn_m(scale=2, filters=8, blocks=1)


@pytest.fixture(scope="module")
def converted(tmp_path_factory, model, photographs):
    folder = tmp_path_factory.mktemp("converted")

    def convert_to(name, format, size, lowering=True):
        images = BenchmarkFolder(photographs, 2).first(1)
        target = folder / f"{name}.tflite"
        return convert(model, 2, format, [size], target, images, lowering)[0]

    return {
        "float32": convert_to("float32", "float32", SIZE),
        "dynamic": convert_to("dynamic", "float32", None),
        "float16": convert_to("float16", "float16", SIZE),
        "int8": convert_to("int8", "int8", SIZE),
        "stock": convert_to("stock", "int8", SIZE, lowering=False),
        "plain": convert_to("plain", "float32", SIZE, lowering=False),
    }


@pytest.mark.parametrize("name", ["float32", "dynamic", "float16", "int8", "stock"])
def test_isolated_operators_in_a_chain_are_the_model(converted, name):
    upscaler = TFLiteUpscaler(converted[name], 1, SIZE)
    upscaler.fill(np.random.default_rng(0))
    (lr,) = upscaler.interpreter.get_input_details()
    inputs = {lr["index"]: upscaler.interpreter.get_tensor(lr["index"])}
    upscaler.interpreter.invoke()
    (sr,) = upscaler.interpreter.get_output_details()
    expected = upscaler.interpreter.get_tensor(sr["index"])
    assert expected.std() > 0

    graph = IsolatedOperators(converted[name].read_bytes(), inputs)
    *_, last = graph.run(inputs, threads=1)
    (details,) = last.interpreter.get_output_details()
    ours = last.interpreter.get_tensor(details["index"])
    np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["dynamic", "float16", "stock"])
def test_every_operator_is_counted_once(converted, name):
    report = profile(converted[name], threads=1, size=SIZE, runs=2)
    upscaler = TFLiteUpscaler(converted[name], 1, SIZE)
    operators = [
        op["op_name"]
        for op in upscaler.interpreter._get_ops_details()
        if op["op_name"] != "DELEGATE"
    ]
    counts = {kind["kind"]: kind["count"] for kind in report["kinds"]}
    assert counts == {kind: operators.count(kind) for kind in set(operators)}
    assert sum(row["count"] for row in report["operators"]) == len(operators)
    assert sum(row["share"] for row in report["operators"]) == pytest.approx(1)
    assert report["operators_ms"] == pytest.approx(
        sum(row["count"] * row["ms"] for row in report["operators"])
    )
    assert report["whole_ms"] > 0
    assert report["size"] == "10x12"


def test_operators_alike_are_one_row(converted):
    report = profile(converted["float32"], threads=1, runs=1)
    counts = {row["detail"]: row["count"] for row in report["operators"]}
    # three recursions of a residual-E block with two grouped convolutions each
    assert counts["10x12x8 to 10x12x8, 3x3, 4 groups, RELU"] == 6


def test_mult_adds_are_those_of_the_keras_model(converted, model):
    report = profile(converted["plain"], threads=1, runs=1)
    counted = sum((r["mult_adds"] or 0) * r["count"] for r in report["operators"])
    assert counted == complexity.mult_adds(single_scale(model, 2), *SIZE)
    for row in report["operators"]:
        assert (row["gmac_per_s"] is None) == (row["kind"] != "CONV_2D")


def test_sums_and_rates():
    row = {"name": "", "detail": ""}
    report = summarize(
        [
            {**row, "kind": "ADD", "count": 1, "ms": 2.0, "mult_adds": None},
            {**row, "kind": "CONV_2D", "count": 3, "ms": 2.0, "mult_adds": 10**7},
        ]
    )
    assert report["operators_ms"] == 8
    convolutions, add = report["kinds"]
    assert convolutions == {
        "kind": "CONV_2D",
        "count": 3,
        "total_ms": 6.0,
        "share": 0.75,
        "gmac_per_s": 5.0,  # 3e7 in 6 ms
    }
    assert add["gmac_per_s"] is None
    assert report["operators"][0]["gmac_per_s"] == 5.0


@pytest.mark.parametrize("format", ["float32", "int8"])
def test_shapes_that_the_model_computes(tmp_path, photographs, format):
    network = srresnet(scale=2, conv="ms3", levels=2, filters=8, blocks=1)
    images = BenchmarkFolder(photographs, 2).first(1)
    (file,) = convert(network, 2, format, [None], tmp_path / "m.tflite", images)
    report = profile(file, threads=1, size=(17, 31), runs=1)
    rows = [row for row in report["operators"] if row["kind"] == "STRIDED_SLICE"]
    assert "36x64x3 to 34x62x3" in {row["detail"] for row in rows}
