import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from tfsr.models import MODELS, scales, single_scale

pytest.importorskip("jax", reason="Keras' NumPy backend needs jax")

FORWARD = """
import sys
import numpy as np
import keras
from tfsr.models import MODELS, scales, single_scale

name, folder = sys.argv[1:]
assert keras.backend.backend() == "numpy"
model = MODELS[name]()
model.load_weights(f"{folder}/model.weights.h5")
lr = np.load(f"{folder}/lr.npy")
for s in scales(model):
    np.save(f"{folder}/sr_x{s}.npy", single_scale(model, s).predict_on_batch(lr))
assert "tensorflow" not in sys.modules
"""


@pytest.mark.parametrize("name", MODELS)
def test_numpy_backend_agrees_with_tensorflow(tmp_path, name):
    keras.utils.set_random_seed(0)
    model = MODELS[name]()
    model.save_weights(tmp_path / "model.weights.h5")
    lr = np.random.default_rng(0).random((1, 5, 7, 3), dtype="float32")
    np.save(tmp_path / "lr.npy", lr)

    subprocess.run(
        [sys.executable, "-c", FORWARD, name, tmp_path],
        env={**os.environ, "KERAS_BACKEND": "numpy"},
        check=True,
        timeout=120,
    )
    for s in scales(model):
        expected = single_scale(model, s)(lr)
        sr = np.load(tmp_path / f"sr_x{s}.npy")
        np.testing.assert_allclose(sr, expected, atol=1e-4)
