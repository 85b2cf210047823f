import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest

from networks import SIZES
from tfsr.models import MODELS, scales, single_scale

pytest.importorskip("jax", reason="Keras' NumPy backend needs jax")

FORWARD = """
import json
import sys
import numpy as np
import keras
from tfsr.models import MODELS, single_scale
from tfsr.models import scales

backend, jobs = sys.argv[1:]
assert keras.backend.backend() == backend
for name, arguments, folder in json.loads(jobs):
    model = MODELS[name](**arguments)
    model.load_weights(f"{folder}/model.weights.h5")
    lr = np.load(f"{folder}/lr.npy")
    for s in scales(model):
        np.save(f"{folder}/sr_x{s}.npy", single_scale(model, s).predict_on_batch(lr))
assert "tensorflow" not in sys.modules
"""


LEVELS = [
    ("srresnet", {**SIZES["srresnet"], "conv": "ms3", "levels": 3}),
    ("scn", {**SIZES["scn"], "levels": 3, "ratio": "2/3", "blocks": 2, "scale": 1}),
    ("scn", {**SIZES["scn"], "levels": 3, "resampling": "conv", "blocks": 2}),
]


@pytest.mark.parametrize(
    ("backend", "networks"),
    [
        ("numpy", [*((name, SIZES[name]) for name in MODELS), *LEVELS]),
        ("jax", LEVELS),
    ],
    ids=["numpy", "jax"],
)
def test_backends_agree_with_tensorflow(tmp_path, quick_to_compile, backend, networks):
    keras.utils.set_random_seed(0)
    lr = np.random.default_rng(0).random((1, 5, 7, 3), dtype="float32")
    expected, jobs = {}, []
    for i, (name, arguments) in enumerate(networks):
        folder = tmp_path / str(i)
        folder.mkdir()
        model = MODELS[name](**arguments)
        model.save_weights(folder / "model.weights.h5")
        np.save(folder / "lr.npy", lr)
        jobs.append((name, arguments, str(folder)))
        for s in scales(model):
            expected[folder / f"sr_x{s}.npy"] = single_scale(model, s)(lr)

    subprocess.run(
        [sys.executable, "-c", FORWARD, backend, json.dumps(jobs)],
        env={**os.environ, "KERAS_BACKEND": backend, "XLA_FLAGS": quick_to_compile},
        check=True,
        timeout=600,
    )
    for file, sr in expected.items():
        largest = max(1, np.abs(sr).max())
        np.testing.assert_allclose(np.load(file), sr, atol=1e-4 * largest)
