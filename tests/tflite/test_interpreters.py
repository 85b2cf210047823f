"""Files of other programs run, in a process of their own."""

import time

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from PIL import Image

from tfsr import children
from tfsr.errors import InputError
from tfsr.tflite import interpreters, metadata
from tfsr.tflite.benchmark.profiling import profile
from tfsr.tflite.flatbuffer import pack
from tfsr.tflite.runtime import TFLiteFile, TFLiteUpscaler, inspect
from tfsr.upscaling.jobs import upscale
from tfsr.upscaling.planning import Job


def write(folder, model):
    file = folder / "m.tflite"
    file.write_bytes(model if isinstance(model, bytes) else pack(model))
    return file


@pytest.fixture
def here(monkeypatch):
    """Files run in this process, which is faster."""
    monkeypatch.setattr(children, "is_child", True)


def repeated(lr):
    return lr.repeat(2, 0).repeat(2, 1)


@pytest.mark.parametrize("white", [None, 1, 255])
def test_scale_and_range_are_told_by_the_graph(here, tmp_path, enlarger, white):
    upscaler = TFLiteUpscaler(write(tmp_path, enlarger(white)))
    assert (upscaler.scale, upscaler.channels, upscaler.size) == (2, 3, (8, 10))
    assert upscaler.depth == (8 if white else 24)
    lr = np.random.default_rng(0).integers(256, size=(21, 13, 3)) / np.float32(255)
    np.testing.assert_allclose(upscaler(lr), repeated(lr), atol=1e-6)


def test_floats_up_to_255_are_told_by_a_run(here, tmp_path, enlarger):
    model = enlarger(height=16, width=16)
    bias = model.subgraphs[0].tensors[2]
    # Two levels of 255: little for white of 255, far too much for white of 1.
    model.buffers[bias.buffer].data = np.full(12, 2, np.float32).view(np.uint8)
    upscaler = TFLiteUpscaler(write(tmp_path, model))
    assert upscaler.peaks == (255, 255)
    lr = np.random.default_rng(0).random((16, 16, 3), np.float32)
    np.testing.assert_allclose(upscaler(lr), repeated(lr) + 2 / 255, atol=1e-6)
    sound = TFLiteUpscaler(write(tmp_path, enlarger(height=16, width=16)))
    assert sound.peaks == (1, 1)


def test_a_file_of_any_size(tmp_path, enlarger):
    upscaler = TFLiteUpscaler(write(tmp_path, enlarger(open=True)))
    assert isinstance(upscaler.interpreter, interpreters.GuardedInterpreter)
    assert upscaler.tiles is None
    assert upscaler.metadata["size"] is None
    lr = np.random.default_rng(0).random((21, 13, 3), np.float32)
    np.testing.assert_array_equal(upscaler(lr), repeated(lr))


def test_tiles_that_overlap_by_a_guess_are_said(here, tmp_path, enlarger):
    photo, out = tmp_path / "a.png", tmp_path / "b.png"
    pixels = np.random.default_rng(0).integers(256, size=(30, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(photo)
    model = write(tmp_path, enlarger(white=1))
    notes = upscale(TFLiteUpscaler(model), Job(photo, out))
    (note,) = notes
    assert note.startswith("tiles of 8x10, all that the model takes, may show: ")
    np.testing.assert_array_equal(np.asarray(Image.open(out)), repeated(pixels))


def two_outputs(model):
    model.subgraphs[0].outputs = [3, 4]


def features(model):
    model.subgraphs[0].outputs = [3]


def beyond(model):
    for tensor in model.subgraphs[0].tensors:
        tensor.quantization.scale = tensor.quantization.scale * 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (two_outputs, "has 1 inputs and 2 outputs"),
        (features, "takes 1x8x10x3 and gives 1x8x10x12, not 1xHxWxC"),
        (beyond, "its pixels are neither floats nor integers from 0 to about 1 or 255"),
    ],
)
def test_what_is_not_from_image_to_image_is_inspected_alone(
    here, tmp_path, enlarger, change, message
):
    model = enlarger(white=1)
    change(model)
    file = write(tmp_path, model)
    with pytest.raises(InputError, match=rf"m\.tflite: {message}.*inspect"):
        TFLiteUpscaler(file)
    report = inspect(file)
    assert report["operators"] == {"CONV_2D": 1, "DEPTH_TO_SPACE": 1}
    assert report["metadata"]["reason"].startswith(message)


def test_a_profile_is_taken_in_the_child(tmp_path, enlarger):
    report = profile(write(tmp_path, enlarger()), threads=1, runs=1)
    kinds = [row["kind"] for row in report["operators"]]
    assert sorted(kinds) == ["CONV_2D", "DEPTH_TO_SPACE"]
    assert (report["format"], report["size"]) == ("float32", "8x10")


def test_the_way_to_the_child_is_not_timed(tmp_path, enlarger, monkeypatch):
    opened = TFLiteFile(write(tmp_path, enlarger()), threads=1)
    call = children.Child.call

    def slowly(*question):
        time.sleep(0.1)
        return call(*question)

    monkeypatch.setattr(children.Child, "call", slowly)
    assert 0 < min(opened.interpreter.invoke_ms() for _ in range(3)) < 100


def test_a_checksum_is_not_trusted(tmp_path, enlarger):
    """Anybody can compute it: what comes from elsewhere runs in a child."""
    facts = {"scale": 3, "format": "float32"}
    content = metadata.with_metadata(pack(enlarger()), facts)
    assert metadata.is_trusted(content)
    forged = metadata.with_checksum(content.replace(b'"scale": 3', b'"scale": 4'))
    assert not metadata.is_trusted(forged)
    upscaler = TFLiteUpscaler(write(tmp_path, forged))
    assert isinstance(upscaler.interpreter, interpreters.GuardedInterpreter)
    with pytest.raises(InputError, match=r"m\.tflite: gives \(1, 16, 20, 3\) for x4"):
        upscaler(np.zeros((8, 10, 3), np.float32))


def test_what_is_made_of_a_file_is_trusted_as_that_is(enlarger):
    stranger, facts = pack(enlarger()), {"scale": 2, "format": "float32"}
    assert not metadata.is_trusted(metadata.with_metadata(stranger, facts, stranger))
    ours = metadata.with_metadata(stranger, facts)
    assert metadata.is_trusted(
        metadata.with_metadata(stranger, {**facts, "a": 1}, ours)
    )


def test_what_the_check_lets_pass_ends_the_child_alone(tmp_path, enlarger, monkeypatch):
    """A map of 4 GB for 80 pixels, which each of many repetitions makes."""
    monkeypatch.setattr(interpreters, "BYTES", 2**28)
    model = enlarger()
    graph = model.subgraphs[0]
    tile = schema.OperatorCodeT()
    tile.builtinCode = tile.deprecatedBuiltinCode = schema.BuiltinOperator.TILE
    model.operatorCodes[1] = tile
    counts, buffer = graph.tensors[2], model.buffers[graph.tensors[2].buffer]
    counts.shape, counts.type = [4], schema.TensorType.INT32
    buffer.data = np.array([1, 1024, 1024, 1], np.int32).view(np.uint8)
    graph.operators[0].inputs = [0, 1, -1]
    graph.operators[1].inputs = [3, 2]
    graph.operators[1].builtinOptions = schema.TileOptionsT()
    graph.operators[1].builtinOptionsType = schema.BuiltinOptions.TileOptions
    with pytest.raises(InputError, match=r"m\.tflite: (LiteRT|its proc|no answer)"):
        TFLiteUpscaler(write(tmp_path, model))
