"""How much colour a model gives to what has none."""

import numpy as np

from tfsr.upscaling.upscalers import Upscaler, from_uint8, to_uint8

SIDE = 48  # pixels


def grays(height: int, width: int) -> dict[str, np.ndarray]:
    """Returns gray images by name, levels of 8 bits, `(height, width)`."""
    y, x = np.mgrid[:height, :width]
    checks = (y + x) % 2
    noise = np.random.default_rng(0).integers(0, 256, (height, width))
    from_middle = (y - height // 2) ** 2 + (x - width // 2) ** 2
    return {
        "ramp": y * 255 // max(height - 1, 1),
        "checkerboard": 255 * checks,
        "faint checkerboard": 112 + 32 * checks,
        "stripes": 255 * (x // 2 % 2),
        "disc": 255 * (from_middle < (min(height, width) // 3) ** 2),
        "noise": noise,
    }


def gray_spread(
    upscaler: Upscaler, size: tuple[int, int] = (SIDE, SIDE)
) -> dict[str, int]:
    """Returns how far the channels of an output differ where those of the input do not.

    Args:
        upscaler: One of three channels; of others there is nothing to tell.
        size: Height and width of the images.

    Returns:
        For each image of `grays`, by its name, the largest difference between R, G and
        B of a pixel of the output, in 8-bit levels.
    """
    if upscaler.channels != 3:
        return {}
    spread = {}
    for name, levels in grays(*size).items():
        sr = to_uint8(upscaler(in_color(levels)))
        spread[name] = int(np.ptp(sr, axis=-1).max())
    return spread


def in_color(levels: np.ndarray) -> np.ndarray:
    """Returns levels of 8 bits as RGB, float32 `(H, W, 3)` in [0, 1]."""
    return from_uint8(np.repeat(levels[..., None], 3, axis=-1).astype(np.uint8))
