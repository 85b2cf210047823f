"""Measures how much colour a model adds to gray images."""

import numpy as np

from tfsr.upscaling.upscalers import Upscaler, from_uint8, upscaled

SIDE = 48  # pixels


def grays(height: int, width: int) -> dict[str, np.ndarray]:
    """Returns gray test images by name, `(height, width, 3)` in [0, 1]."""
    y, x = np.mgrid[:height, :width]
    side = min(height, width)
    checks = (y + x) % 2
    far = (y - height // 2) ** 2 + (x - width // 2) ** 2
    levels = {
        "ramp": y * 255 // max(1, height - 1),
        "checkerboard": 255 * checks,
        "faint checkerboard": 112 + 32 * checks,
        "stripes": 255 * (x // 2 % 2),
        "disc": 255 * (far < (side // 3) ** 2),
        "noise": np.random.default_rng(0).integers(0, 256, (height, width)),
    }
    return {
        name: from_uint8(np.repeat(gray[..., None], 3, axis=-1).astype(np.uint8))
        for name, gray in levels.items()
    }


def gray_spread(
    upscaler: Upscaler, height: int = SIDE, width: int = SIDE
) -> dict[str, int]:
    """Returns how far the output's channels differ on gray images.

    Args:
        upscaler: An upscaler; without three channels, the result is empty.
        height: Height of the images.
        width: Width of the images.

    Returns:
        For each image of `grays`, by name, the largest difference between R, G and B of
        an output pixel, in 8-bit levels.
    """
    if upscaler.channels != 3:
        return {}
    return {
        name: int(np.ptp(upscaled(upscaler, image), axis=-1).max())
        for name, image in grays(height, width).items()
    }
