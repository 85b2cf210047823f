"""Compares ten steps of CARN-M in JAX, without TensorFlow, with TensorFlow's.

    python benchmarks/jax_equality.py [--python JAX_ENVIRONMENT/bin/python]

Both start from the same weights and see the same batches. The weights that JAX ends
with are loaded into TensorFlow. The exit code is 1 if a loss differs by more than 1e-4.
Without --python, JAX runs in this environment with the import of TensorFlow blocked.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

STEPS, BATCH, PATCH, SCALE = 10, 2, 16, 2
CONFIG = f"""
[model]
name = "carn_m"
scale = {SCALE}

[data]
train = ["none"]
val = "none"

[train]
epochs = 1
steps_per_epoch = {STEPS}
batch = {BATCH}
patch = {PATCH}
learning_rate = 1e-3
clip_norm = 1.0
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--python", default=sys.executable, help="of a JAX environment")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        sys.modules["tensorflow"] = None  # to import it is now an error
        train(options.worker, "jax")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return compare(Path(folder), options.python)


def compare(folder, python):
    import keras

    from tfsr.models import carn_m

    (folder / "carn_m.toml").write_text(CONFIG)
    keras.utils.set_random_seed(0)
    carn_m(SCALE).save_weights(folder / "start.weights.h5")
    rng = np.random.default_rng(0)
    lr = rng.random((STEPS, BATCH, PATCH, PATCH, 3), "float32")
    hr = lr.repeat(SCALE, axis=2).repeat(SCALE, axis=3)
    np.savez(folder / "batches.npz", lr=lr, hr=hr)

    model = train(folder, "tensorflow")
    command = [python, __file__, "--worker", folder]
    subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "jax"}, check=True)
    jax_model = carn_m(SCALE)
    jax_model.load_weights(folder / "jax.weights.h5")

    expected = np.load(folder / "tensorflow.npy")
    difference = np.abs(np.load(folder / "jax.npy") / expected - 1).max()
    weights, jax_weights = (
        np.concatenate([w.ravel() for w in m.get_weights()]) for m in (model, jax_model)
    )
    distance = np.linalg.norm(jax_weights - weights) / np.linalg.norm(weights)
    print(f"loss {expected[0]:.6f} to {expected[-1]:.6f} in {STEPS} steps")
    print(f"largest relative difference of a loss: {difference:.1e}")
    print(f"relative distance of the weights at the end: {distance:.1e}")
    return int(difference > 1e-4)


def train(folder, backend):
    """Trains on the batches in `folder`; leaves the losses and the weights there."""
    import keras

    from tfsr.training import build_model, read_config
    from tfsr.training.compiling import build_trainee, copy_trained_weights

    assert keras.backend.backend() == backend
    config = read_config(folder / "carn_m.toml")
    model = build_model(config.model, config.source)
    model.load_weights(folder / "start.weights.h5")
    trainee = build_trainee(model, config)
    batches = np.load(folder / "batches.npz")
    losses = [
        trainee.train_on_batch(lr, hr, return_dict=True)["loss"]
        for lr, hr in zip(batches["lr"], batches["hr"], strict=True)
    ]
    np.save(folder / f"{backend}.npy", np.array(losses, np.float64))
    copy_trained_weights(trainee, model)
    model.save_weights(folder / f"{backend}.weights.h5")
    return model


if __name__ == "__main__":
    sys.exit(main())
