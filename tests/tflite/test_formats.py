import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from tfsr.data import BenchmarkFolder
from tfsr.errors import InputError
from tfsr.models import carn_m
from tfsr.tflite import metadata
from tfsr.tflite.conversion import convert
from tfsr.tflite.formats import FORMATS, format_of, qat_format_for_bits
from tfsr.tflite.runtime import TFLiteUpscaler


@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
def test_what_an_entry_names_is_there(format):
    for field in ("save", "stock", "ranges", "upscaler"):
        if getattr(format, field):
            assert callable(format.load(field))
    assert all(callable(rule) for rule in format.load("rules"))
    assert (format.bits is None) == (format.ranges is None)


def test_what_is_known_of_a_format():
    assert [name for name, f in FORMATS.items() if f.is_float] == ["float32", "float16"]
    depths = {name: f.depth for name, f in FORMATS.items()}
    assert depths.pop("int8") == 8
    assert set(depths.values()) == {24}
    assert [qat_format_for_bits(bits).name for bits in (8, 16)] == ["int8", "int16x8"]


def test_a_file_of_a_format_to_come_is_one_line():
    with pytest.raises(InputError, match=r"m\.tflite: has the format int4; this tfsr"):
        format_of({"format": "int4"}, "m.tflite")


def test_the_table_needs_no_keras():
    code = (
        "import sys; import tfsr.tflite.formats\n"
        "print(sorted({'keras', 'tensorflow', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


def test_a_format_is_one_entry(monkeypatch, run, tmp_path, photographs):
    wide = replace(FORMATS["int16x8"], name="wide", trained=False)
    monkeypatch.setitem(FORMATS, "wide", wide)
    model, file = carn_m(scale=2, filters=8, blocks=1), tmp_path / "m.tflite"
    folder = BenchmarkFolder(photographs, 2)
    convert(model, 2, "wide", [None], file, folder)
    assert metadata.read(file)["format"] == "wide"
    assert TFLiteUpscaler(file).depth == 24
    kinds = {d["dtype"] for d in TFLiteUpscaler(file).interpreter.get_tensor_details()}
    assert np.int16 in kinds
    code, text, _ = run("convert", "--help")
    assert code == 0
    assert "int16x8,wide" in text
