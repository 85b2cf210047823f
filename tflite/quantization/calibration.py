"""What ranges are observed on: random patches of images."""

import numpy as np

from tfsr.data import BenchmarkFolder
from tfsr.upscaling.upscalers import from_uint8

CALIBRATION_PATCHES = 32
CALIBRATION_SIZE = 72  # LR pixels


def calibration_patches(folder: BenchmarkFolder, seed: int = 0) -> list[np.ndarray]:
    """Returns `CALIBRATION_PATCHES` random LR patches, float32 in [0, 1].

    In turns from the images, or from as many of them, evenly chosen, if there are
    more; an image smaller than a patch is taken whole.
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
