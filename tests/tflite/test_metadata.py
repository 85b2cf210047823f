import numpy as np
import pytest

from tfsr.cli import main
from tfsr.data.degradation_type import BICUBIC
from tfsr.errors import InputError
from tfsr.graph.graph import inline
from tfsr.models import carn_m
from tfsr.tflite import export, metadata
from tfsr.tflite.runtime import TFLiteUpscaler, inspect


@pytest.fixture(scope="module")
def content():
    model = carn_m(scale=2, filters=8, blocks=1)
    facts = {"scale": 2, "format": "float32", "name": 'a "quoted" é'}
    return metadata.with_metadata(export.float32(inline(model)), facts)


def test_facts_come_back(tmp_path, content):
    file = tmp_path / "m.tflite"
    file.write_bytes(content)
    assert metadata.read(file) == {
        "scale": 2,
        "format": "float32",
        "name": 'a "quoted" é',
    }
    assert TFLiteUpscaler(file)(np.zeros((5, 6, 3), np.float32)).shape == (10, 12, 3)


def test_every_changed_byte_is_found(tmp_path, content):
    file = tmp_path / "m.tflite"
    rng = np.random.default_rng(0)
    for position in rng.integers(len(content), size=200):
        damaged = bytearray(content)
        damaged[position] ^= 1 + rng.integers(255)
        file.write_bytes(damaged)
        with pytest.raises(InputError, match=r"m\.tflite: .*damaged"):
            metadata.read(file)


def test_other_files_are_refused(tmp_path):
    file = tmp_path / "m.tflite"
    for other in (b"", b"text", b"\0" * 100, b'{"tfsr": "file_sha256": "'):
        file.write_bytes(other)
        with pytest.raises(InputError, match=r"m\.tflite: not a TFLite model, or dam"):
            TFLiteUpscaler(file)
    with pytest.raises(InputError, match="no such file"):
        TFLiteUpscaler(tmp_path / "missing.tflite")


def test_inspect_counts_operators(tmp_path, content):
    file = tmp_path / "m.tflite"
    file.write_bytes(content)
    report = inspect(file)
    total = sum(report["operators"].values())
    # all but the operators that turn uint8 into int8 and back
    outside = report["operators"].get("QUANTIZE", 0)
    assert (report["delegated"], report["partitions"]) == (total - outside, 1)
    assert report["metadata"]["scale"] == 2
    # head, three recursions of (3 convolutions and a fusion), fusion, upsampler, tail
    assert report["operators"]["CONV_2D"] == 1 + 3 * 4 + 1 + 1 + 1
    assert report["float_operators"] == sum(report["operators"].values())
    assert report["partitions"] == 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("scale", None, "scale must be|no scale"),
        ("scale", 0, "scale must be int of 1 to 64, not 0"),
        ("scale", "2", "scale must be int of 1 to 64, not '2'"),
        ("format", 5, "format must be str, not 5"),
        ("alignment", 0, "alignment must be int of 1 to 4096, not 0"),
        ("alignment", 10**9, "alignment must be int of 1 to 4096, not 1000000000"),
        ("alignment", True, "alignment must be int"),
        ("alignment", None, "alignment must be int of 1 to 4096, not None"),
        ("receptive_radius", None, "receptive_radius must be int"),
        ("receptive_radius", -1, "receptive_radius must be int of 0 to 65536"),
        ("working_bytes", [], "working_bytes must be"),
        ("degradation", "x", "degradation must be dict or list"),
    ],
)
def test_facts_of_the_wrong_type_are_refused(tmp_path, content, key, value, message):
    file = tmp_path / "m.tflite"
    facts = {"scale": 2, "format": "float32", key: value}
    file.write_bytes(metadata.with_metadata(plain(content), facts))
    with pytest.raises(InputError, match=rf"m\.tflite: .*\({message}"):
        metadata.read(file)


def test_a_degradation_that_is_null_is_unknown(tmp_path, content):
    file = tmp_path / "m.tflite"
    facts = {"scale": 2, "format": "float32", "size": None, "degradation": None}
    file.write_bytes(metadata.with_metadata(plain(content), facts))
    assert TFLiteUpscaler(file).task == BICUBIC
    assert main(["inspect", str(file)]) == 0


@pytest.mark.parametrize("facts", [[], "x", 5, None, {}])
def test_metadata_that_is_no_table_is_refused(tmp_path, content, facts):
    file = tmp_path / "m.tflite"
    file.write_bytes(metadata.with_metadata(plain(content), facts))
    with pytest.raises(InputError, match=r"m\.tflite: its metadata is damaged"):
        metadata.read(file)


def test_metadata_that_is_no_json_is_refused(tmp_path, content):
    content = content.replace(b'"scale": 2', b'"scale":: ')
    file = tmp_path / "m.tflite"
    file.write_bytes(metadata.with_checksum(content))
    with pytest.raises(InputError, match=r"m\.tflite: its metadata is damaged"):
        metadata.read(file)


def plain(content):
    """A file without the metadata, which is found first."""
    return content.replace(metadata.BEGIN, b'{"text": ')
