"""Calibration data: random patches of images, and saturated colours.

Ranges are observed on both. Means, such as that of the output, are those of the images.
"""

import numpy as np

from tfsr.data import BenchmarkFolder
from tfsr.tflite.quantization.saturation import saturated_patches
from tfsr.upscaling.upscalers import from_uint8

CALIBRATION_PATCHES = 32
CALIBRATION_SIZE = 72  # LR pixels


def calibration_patches(folder: BenchmarkFolder, seed: int = 0) -> list[np.ndarray]:
    """Returns LR patches to calibrate on, float32 `(h, w, C)` in [0, 1].

    They are `CALIBRATION_PATCHES` random ones. The images take turns. If there are
    more images than patches, evenly spaced ones are used. h and w are
    `CALIBRATION_SIZE`, or an image's side if that is smaller.

    Args:
        folder: The images.
        seed: Seed of the patches' positions.
    """
    rng = np.random.default_rng(seed)
    count = min(len(folder), CALIBRATION_PATCHES)
    chosen = np.linspace(0, len(folder) - 1, count).astype(int)
    images = [folder[i].lr for i in chosen]
    patches = []
    for i in range(CALIBRATION_PATCHES):
        lr = images[i % count]
        y, x = (rng.integers(max(1, n - CALIBRATION_SIZE + 1)) for n in lr.shape[:2])
        patch = lr[y : y + CALIBRATION_SIZE, x : x + CALIBRATION_SIZE]
        patches.append(from_uint8(patch))
    return patches


def with_saturated(patches: list[np.ndarray]) -> list[np.ndarray]:
    """Returns LR patches and `saturated_patches` behind them, to observe ranges on."""
    return patches + saturated_patches(patches[0].shape[-1], CALIBRATION_SIZE)
