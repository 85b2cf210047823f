import struct

import numpy as np
import pytest

from tfsr.errors import InputError
from tfsr.models import carn_m, ffdnet, scn
from tfsr.tflite import metadata
from tfsr.tflite.conversion import convert
from tfsr.tflite.devices import browser
from tfsr.tflite.devices.delegates import operator_uses
from tfsr.tflite.runtime import TFLiteUpscaler


@pytest.fixture(scope="module")
def images(photographs):
    from tfsr.data import BenchmarkFolder

    return BenchmarkFolder(photographs, 2)


@pytest.fixture(scope="module")
def model():
    return carn_m(scale=2, filters=8, blocks=1, units=1, groups=2)


@pytest.mark.parametrize("size", [(24, 32), None])
def test_the_size_in_a_file_can_be_written_anew(model, images, tmp_path, size):
    file = tmp_path / "model.tflite"
    convert(model, 2, "int8", [size], file, images)
    facts = browser.tiling(file)
    content = bytearray(file.read_bytes())
    height, width = 17, 23
    for shape in facts["shapes"]:
        factor = shape["factor"]
        struct.pack_into("<i", content, shape["height"], height * factor)
        struct.pack_into("<i", content, shape["width"], width * factor)
    from ai_edge_litert.interpreter import Interpreter

    resized = Interpreter(model_content=bytes(content))
    resized.allocate_tensors()
    (into,), (out,) = resized.get_input_details(), resized.get_output_details()
    assert into["shape_signature"].tolist() == [1, height, width, 3]
    lr = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    resized.set_tensor(into["index"], lr[None])
    resized.invoke()
    sr = TFLiteUpscaler(file)(lr.astype(np.float32) / 255)
    pixels = resized.get_tensor(out["index"])[0]
    np.testing.assert_array_equal(pixels, np.rint(sr * 255))


def test_tiles_are_larger_than_what_overlaps(model, images, tmp_path):
    convert(model, 2, "int8", [(24, 320)], tmp_path / "model.tflite", images)
    facts = browser.tiling(tmp_path / "model.tflite")
    radius = TFLiteUpscaler(tmp_path / "model.tflite").metadata["receptive_radius"]
    assert facts["resizable"]
    assert facts["size"] == [24, 320]
    assert facts["overlap"] == [radius, radius]
    assert facts["tile"] == [2 * radius + 64, 320]


def test_a_file_that_resizes_inside_keeps_its_size(images, tmp_path):
    network = scn(scale=2, levels=2, filters=4, blocks=1)
    convert(network, 2, "int8", [(24, 32)], tmp_path / "model.tflite", images)
    facts = browser.tiling(tmp_path / "model.tflite")
    assert not facts["resizable"]
    assert facts["channels"] == 3
    assert facts["tile"] == [24, 32]
    assert facts["overlap"] == [6, 8]  # a quarter, less than its radius


@pytest.mark.parametrize("format", ["float32", "int8"])
def test_a_file_that_computes_sizes_is_put_without_that(images, tmp_path, format):
    """As it pads to even sides; no GPU takes it at an open size."""
    network = ffdnet(filters=4, blocks=1, colors=4, color_blocks=1, expanded=8)
    file, out = tmp_path / "model.tflite", tmp_path / "out.tflite"
    convert(network, 1, format, [None], file, images)
    facts = browser.put(file, out)
    assert facts["resizable"]
    assert facts["size"] == facts["tile"] == list(browser.DYNAMIC_TILE)
    found = {use.name for use in operator_uses(out.read_bytes())}
    assert not found & {"SHAPE", "STRIDED_SLICE", "CONCATENATION"}
    for size in ((193, 230), (21, 35), (18, 44)):  # of the last two each is a tile
        lr = np.random.default_rng(0).random((*size, 3), np.float32)
        sr, expected = TFLiteUpscaler(out)(lr), TFLiteUpscaler(file)(lr)
        np.testing.assert_allclose(sr, expected, atol=1e-5)


def test_a_file_that_resizes_to_sizes_it_computes_gets_one(images, tmp_path):
    network = scn(scale=2, levels=2, filters=4, blocks=1)
    file, out = tmp_path / "model.tflite", tmp_path / "out.tflite"
    convert(network, 2, "float32", [None], file, images)
    facts = browser.put(file, out)
    assert not facts["resizable"]
    assert facts["size"] == facts["tile"]


def test_a_restorer_of_unknown_damage(images, tmp_path):
    network = ffdnet(filters=4, blocks=1, colors=4, color_blocks=1, expanded=8)
    file = tmp_path / "model.tflite"
    convert(network, 1, "float32", [(24, 32)], file, images)
    facts = metadata.read(file)
    del facts["degradation"]
    file.write_bytes(metadata.with_metadata(file.read_bytes(), facts))
    assert browser.tiling(file)["title"] == "model, for unknown damage"


def test_the_runtime_is_put_beside_a_page(package, tmp_path):
    node_modules = package / "node_modules"
    for folder in (package, node_modules, node_modules / "@litertjs" / "core"):
        out = tmp_path / "out" / folder.name
        browser.copy_runtime(out, folder)
        text = (out / "core.js").read_text()
        assert text == 'import { createWasmLib } from "./wasm-utils.js";\n'
        assert len(list(out.iterdir())) == 2 + 2 * len(browser.RUNTIMES)


def test_a_runtime_that_is_not_whole(package, tmp_path):
    core = package / "node_modules" / "@litertjs" / "core"
    (core / "wasm" / "litert_wasm_internal.wasm").unlink()
    with pytest.raises(InputError, match=r"internal\.wasm: missing; install"):
        browser.copy_runtime(tmp_path / "out", package)
    (core / "dist" / "index.js").write_text("another version")
    with pytest.raises(InputError, match=r"this version of LiteRT\.js is not known"):
        browser.copy_runtime(tmp_path / "out", package)
    with pytest.raises(InputError, match=r"no LiteRT\.js in it; run npm install"):
        browser.find_package(tmp_path / "out")


@pytest.mark.parametrize(
    ("format", "ends"), [("float32", "float32"), ("float16", "float32")]
)
def test_a_file_in_float_is_told_apart(model, images, tmp_path, format, ends):
    convert(model, 2, format, [(24, 32)], tmp_path / "model.tflite", images)
    facts = browser.tiling(tmp_path / "model.tflite")
    assert (facts["ends"], facts["title"]) == (ends, "model, for clean photos")
