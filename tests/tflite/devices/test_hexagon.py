"""Qualcomm's compiler and emulator, where their user has installed them."""

from pathlib import Path

import pytest

from networks import small
from tfsr.children import ChildError
from tfsr.errors import InputError
from tfsr.tflite import metadata
from tfsr.tflite.devices import delegates, hexagon
from tfsr.tflite.devices.delegates import advice, coverage
from tfsr.tflite.lowering import rules

NPU = "qualcomm:SM8650"


@pytest.fixture(scope="module")
def keras_file(tmp_path_factory):
    file = tmp_path_factory.mktemp("ms3") / "ms3.keras"
    small("ms3_carn", 2).save(file)
    return file


@pytest.fixture
def convert(here, report, keras_file, tmp_path, photographs):
    """Converts a small MS3-Conv network to int8; returns the report."""
    here(NPU)

    def run(*more):
        out = tmp_path / "m.tflite"
        images = ("--calibrate", photographs, "--verify", photographs)
        command = ("convert", keras_file, "--format", "int8", "--size", "24x28")
        return report(*command, *images, "-o", out, *more)

    return run


@pytest.mark.parametrize("mended", [True, False])
def test_the_pooling_of_few_channels(
    convert, report, run, keras_file, photographs, monkeypatch, mended
):
    """As a depthwise convolution it is -128 everywhere, as up to commit bf24593."""
    if not mended:
        kept = [r for r in rules.INT8_RULES if r != rules.pool_as_dense_convolution]
        monkeypatch.setattr(rules, "INT8_RULES", tuple(kept))
    file = convert()["file"]
    assert coverage(file, delegates.Delegate(NPU))["taken"] == "whole"
    command = ("verify", file, "--against", keras_file, "--images", photographs)
    code, out, err = run(*command, "--delegate", NPU, "--max-loss", "0.1")
    warned = [line for line in advice(file) if "computes wrongly" in line]
    assert (code == 0, warned == []) == (mended, mended), out + err


def test_the_compiled_file_beside_the_plain_one(convert, tmp_path):
    made = convert("--compile", NPU)
    assert made["compiled"] == str(tmp_path / "m_SM8650.tflite")
    compiled = Path(made["compiled"]).read_bytes()
    assert compiled.find(b"qnn_partition_0") > 0
    assert metadata.read(made["compiled"])["compiled"] == NPU


def test_a_processor_that_is_none(convert):
    file = convert()["file"]
    answer = coverage(file, delegates.Delegate("qualcomm:SM1"))
    assert (answer["taken"], answer["reason"]) == (
        "refused",
        "Unexpected SoC model: SM1",
    )
    with pytest.raises(InputError, match=r"does not compile it: Unexpected SoC model"):
        delegates.compile(file, delegates.Delegate("qualcomm:SM1"))


def test_a_file_taken_in_parts_is_not_run(monkeypatch, tmp_path):
    def compile(file, soc, out, seconds):
        out.write_bytes(b"")

    monkeypatch.setattr(hexagon, "compile", compile)
    for outside, reason in (
        ({}, "takes it in 2 parts; only what"),
        ({"GELU": 1, "EXP": 1}, "takes it in 2 parts, without EXP, GELU; only what"),
    ):
        monkeypatch.setattr(hexagon, "_operators", lambda _, left=outside: (left, 2))
        with pytest.raises(ChildError, match=reason):
            hexagon.run("m.tflite", "SM8650", tmp_path, tmp_path, 1)
