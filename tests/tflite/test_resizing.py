import keras
import numpy as np
import pytest

from tfsr.models import ffdnet, scn, sesr
from tfsr.tflite import export, metadata
from tfsr.tflite.devices.delegates import operator_uses
from tfsr.tflite.lowering.engine import lower
from tfsr.tflite.lowering.rules import FLOAT_RULES
from tfsr.tflite.resizing import at_size
from tfsr.tflite.runtime import TFLiteUpscaler, inspect


@pytest.mark.parametrize(
    "build",
    [
        lambda: sesr(2, filters=4, blocks=1, expanded=8),
        lambda: scn(2, filters=4, blocks=1),  # it resizes, to sizes that it computes
        # It repeats a row and a column, and cuts off what is beyond a computed size.
        lambda: ffdnet(filters=4, blocks=1, colors=4, color_blocks=1, expanded=8),
    ],
)
@pytest.mark.parametrize("size", [(16, 20), (15, 21)])
def test_the_same_network_of_one_size(tmp_path, build, size):
    keras.utils.set_random_seed(0)
    network = build()
    facts = {"scale": 1 if network.name == "ffdnet" else 2, "format": "float32"}
    content = export.float32(lower(network, FLOAT_RULES))
    files = {None: tmp_path / "open.tflite", size: tmp_path / "fixed.tflite"}
    for side, file in files.items():
        of_size = content if side is None else at_size(content, *side)
        file.write_bytes(metadata.with_metadata(of_size, {**facts, "size": side}))
    of_open_size, fixed = map(TFLiteUpscaler, files.values())
    lr = np.random.default_rng(0).random((*size, 3), np.float32)
    np.testing.assert_allclose(fixed(lr), of_open_size(lr), atol=1e-6)
    assert fixed.size == size
    assert fixed._own_size == size
    operators = inspect(files[size])["operators"]
    assert not operators.keys() & {"SHAPE", "PACK"}
    slices = [
        f for f in operator_uses(files[size].read_bytes()) if f.name == "STRIDED_SLICE"
    ]
    assert bool(slices) == (network.name != "sesr" and size == (15, 21))
    assert all(form.shapes[1] == (4,) for form in slices)
