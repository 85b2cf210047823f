"""Times single int8 convolutions on one thread, in mult-adds per second.

python benchmarks/single_convolutions.py

The maps have 180x320 pixels. Each convolution is cut out of a file and timed alone, so
its input is in the cache where it fits. The least CPU time counts.
"""

import time

import keras
import numpy as np

from tfsr.tflite import export
from tfsr.tflite.benchmark.profiling import IsolatedOperators
from tfsr.tflite.lowering.engine import lower

SIZE = (180, 320)
RUNS = 12
CASES = (  # channels, filters, side of the kernel, groups
    (16, 16, 3, 1),
    (32, 32, 3, 1),
    (64, 64, 3, 1),
    (64, 64, 3, 4),
    (64, 256, 3, 4),
    (64, 64, 1, 1),
    (256, 64, 1, 1),
    (256, 12, 2, 1),
    (256, 16, 2, 1),
)


def main():
    print("| channels | filters | kernel | groups | ms | G mult-adds a second |")
    print("| --- | --- | --- | --- | --- | --- |")
    for channels, filters, side, groups in CASES:
        least = least_ms(channels, filters, side, groups)
        mult_adds = SIZE[0] * SIZE[1] * side**2 * channels * filters / groups
        print(
            f"| {channels} | {filters} | {side}x{side} | {groups} | {least:.2f} "
            f"| {mult_adds / least / 1e6:.0f} |",
            flush=True,
        )


def least_ms(channels, filters, side, groups):
    """Returns the least time of the processor for one run, in ms."""
    x = keras.Input((*SIZE, channels))
    y = keras.layers.Conv2D(filters, side, padding="same", groups=groups)(x)
    values = np.random.default_rng(0).random((*SIZE, channels), np.float32)
    content = export.stock_int8(lower(keras.Model(x, y), ()), [values])
    pixels = np.uint8(255 * values)[None]
    operators = IsolatedOperators(content, {0: pixels}).run({0: pixels}, 1)
    (conv,) = (o for o in operators if o.describe()["kind"] == "CONV_2D")
    times = []
    for _ in range(RUNS):
        started = time.process_time()
        conv.interpreter.invoke()
        times.append(1e3 * (time.process_time() - started))
    return min(times)


if __name__ == "__main__":
    main()
