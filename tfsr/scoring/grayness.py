"""How much colour a model gives to what has none."""

import numpy as np

from tfsr.upscaling.upscalers import Upscaler, from_uint8, to_uint8

SIDE = 48  # pixels


def _grays():
    y, x = np.mgrid[:SIDE, :SIDE]
    checks = (y + x) % 2
    noise = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE))
    return {
        "ramp": y * 255 // (SIDE - 1),
        "checkerboard": 255 * checks,
        "faint checkerboard": 112 + 32 * checks,
        "stripes": 255 * (x // 2 % 2),
        "disc": 255 * ((y - SIDE // 2) ** 2 + (x - SIDE // 2) ** 2 < (SIDE // 3) ** 2),
        "noise": noise,
    }


GRAYS = _grays()  # by name, levels of 8 bits, `(SIDE, SIDE)`


def gray_spread(upscaler: Upscaler) -> dict[str, int]:
    """Returns how far the channels of an output differ where those of the input do not.

    Args:
        upscaler: One of three channels; of others there is nothing to tell.

    Returns:
        For each image of `GRAYS`, by its name, the largest difference between R, G and
        B of a pixel of the output, in 8-bit levels.
    """
    if upscaler.channels != 3:
        return {}
    spread = {}
    for name, levels in GRAYS.items():
        image = np.repeat(levels[..., None], 3, axis=-1).astype(np.uint8)
        spread[name] = int(np.ptp(to_uint8(upscaler(from_uint8(image))), axis=-1).max())
    return spread
