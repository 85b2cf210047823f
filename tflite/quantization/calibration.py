"""Calibration data: random patches of images, and saturated colours.

Ranges are observed on both; means, such as that of the output, on the images alone.
"""

import keras
import numpy as np

from tfsr.data import BenchmarkFolder
from tfsr.graph.footprint import alignment
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


def with_saturated(patches: list[np.ndarray], model: keras.Model) -> list[np.ndarray]:
    """Returns `patches` and then `saturated_patches`, in sizes that `model` takes.

    Args:
        patches: LR images, float32 `(h, w, C)`.
        model: A model of one or several scales.
    """
    saturated = saturated_patches(patches[0].shape[-1], CALIBRATION_SIZE)
    sides = model.inputs[0].shape[1:3]
    return fitted(patches + [_shrunk(patch, sides) for patch in saturated], model)


def _shrunk(patch, sides):
    """Returns a patch no larger than `sides`, from evenly spaced rows and columns."""
    for axis, side in enumerate(sides):
        length = patch.shape[axis]
        if side and side < length:
            kept = np.linspace(0, length - 1, side).round().astype(int)
            patch = np.take(patch, kept, axis)
    return patch


def fitted(patches: list[np.ndarray], model: keras.Model) -> list[np.ndarray]:
    """Returns LR patches in sizes that `model` takes.

    If the model has one fixed size, the patches get it. Otherwise they are cut to
    multiples of its `alignment`. A patch that is too small is repeated.

    Args:
        patches: LR images, float32 `(h, w, C)`.
        model: A model of one or several scales.
    """
    own, multiple = model.inputs[0].shape[1:3], alignment(model)
    found = []
    for patch in patches:
        for axis, side in enumerate(own):
            length = patch.shape[axis]
            wanted = side or max(multiple, length - length % multiple)
            patch = np.take(patch, np.arange(wanted), axis, mode="wrap")
        found.append(patch)
    return found
