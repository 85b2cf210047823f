"""Times a training step of one grouped convolution: split as here, and as in Keras.

python benchmarks/grouped_conv_step.py
"""

import time

import keras
import numpy as np

from tfsr.layers import GroupedConv2D

CHANNELS, GROUPS, BATCH, PATCH, ROUNDS = 64, 4, 16, 48, 5


def trainee(layer):
    """Returns a compiled model of `layer` alone."""
    x = keras.Input((PATCH, PATCH, CHANNELS))
    model = keras.Model(x, layer(x))
    model.compile("sgd", "mae", jit_compile=False)
    return model


def main():
    """Prints the median time of each and their ratio, measured in turns."""
    models = {
        "split": trainee(GroupedConv2D(CHANNELS, 3, GROUPS)),
        "keras groups": trainee(
            keras.layers.Conv2D(CHANNELS, 3, padding="same", groups=GROUPS)
        ),
    }
    rng = np.random.default_rng(0)
    batch = rng.random((BATCH, PATCH, PATCH, CHANNELS), np.float32)
    times = {name: [] for name in models}
    for round_ in range(ROUNDS + 1):
        for name, model in models.items():
            started = time.perf_counter()
            model.train_on_batch(batch, batch)
            if round_:  # the first traces
                times[name].append((time.perf_counter() - started) * 1e3)
    medians = {name: float(np.median(t)) for name, t in times.items()}
    for name, median in medians.items():
        print(f"{name:14}{median:9.1f} ms a step")
    print(f"ratio         {medians['keras groups'] / medians['split']:9.1f}")


if __name__ == "__main__":
    main()
