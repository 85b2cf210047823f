"""How noisy a photograph is, told without the clean one."""

import numpy as np

MOST = 1024  # pixels of a side that are looked at, in the middle


def noise_sigma(color: np.ndarray) -> float:
    """Returns the standard deviation of the noise in 8-bit units.

    By the median of the finest diagonal Haar coefficients (Donoho and Johnstone, "Ideal
    spatial adaptation by wavelet shrinkage", Biometrika 1994), to which edges add
    little. Fine texture counts as noise, for some units; noise that a camera or a
    JPEG smoothed counts as less than it is.

    Args:
        color: `(H, W, C)`, uint8 or uint16.
    """
    height, width = (min(n, MOST) // 2 * 2 for n in color.shape[:2])
    if not (height and width):
        return 0.0
    top, left = (color.shape[0] - height) // 2, (color.shape[1] - width) // 2
    pixels = color[top : top + height, left : left + width].astype(np.float32)
    rows = pixels[::2] - pixels[1::2]
    diagonal = (rows[:, ::2] - rows[:, 1::2]) / 2
    levels = np.iinfo(color.dtype).max / 255
    return float(np.median(np.abs(diagonal)) / 0.6745 / levels)
