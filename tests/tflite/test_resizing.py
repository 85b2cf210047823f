import keras
import numpy as np
import pytest

from tfsr.models import scn, sesr
from tfsr.tflite import export, metadata
from tfsr.tflite.lowering.engine import lower
from tfsr.tflite.lowering.rules import EXACT
from tfsr.tflite.resizing import at_size
from tfsr.tflite.runtime import TFLiteUpscaler, inspect


@pytest.mark.parametrize(
    "build",
    [
        lambda: sesr(2, filters=4, blocks=1, expanded=8),
        lambda: scn(2, filters=4, blocks=1),  # it resizes, to sizes that it computes
    ],
)
def test_the_same_network_of_one_size(tmp_path, build):
    keras.utils.set_random_seed(0)
    content = export.float32(lower(build(), EXACT))
    files = {size: tmp_path / f"{size}.tflite" for size in (None, (16, 20))}
    for size, file in files.items():
        of_size = content if size is None else at_size(content, *size)
        facts = {"scale": 2, "format": "float32", "size": size and list(size)}
        file.write_bytes(metadata.attach(of_size, facts))
    of_open_size, fixed = map(TFLiteUpscaler, files.values())
    lr = np.random.default_rng(0).random((16, 20, 3), np.float32)
    np.testing.assert_allclose(fixed(lr), of_open_size(lr), atol=1e-6)
    assert fixed.size == (16, 20)
    assert fixed._own_size == (16, 20)
    operators = inspect(files[16, 20])["operators"]
    assert not operators.keys() & {"SHAPE", "PACK"}
