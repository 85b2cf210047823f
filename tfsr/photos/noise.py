"""Blind estimation of the noise in a photograph."""

import numpy as np

MOST = 1024  # largest side of the center crop that is used, in pixels
BLOCK = 8
CLIPPED = 48  # levels near black and white, where strong noise is clipped


def noise_sigma(color: np.ndarray) -> float:
    """Returns the standard deviation of the noise in 8-bit units.

    The estimate is the median of the finest diagonal Haar coefficients (Donoho and
    Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 1994), to
    which edges add little. Only blocks that are neither dark nor bright count, if there
    are any. For the 32 photographs of crops512 it is 1.5 to 9.6 without noise, since
    texture counts as noise, 10.4 to 15.6 at sigma 10, 24.5 to 28.2 at 25 and 43.7 to
    48.9 at 50.

    Args:
        color: `(H, W, C)`, uint8 or uint16.
    """
    height, width = (min(n, MOST) // BLOCK * BLOCK for n in color.shape[:2])
    if not (height and width):
        return 0.0
    top, left = (color.shape[0] - height) // 2, (color.shape[1] - width) // 2
    pixels = color[top : top + height, left : left + width].astype(np.float32)
    pixels /= np.iinfo(color.dtype).max / 255
    blocks = pixels.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK, -1)
    mean = blocks.mean(axis=(1, 3))
    rows = blocks[:, ::2] - blocks[:, 1::2]
    diagonal = np.abs(rows[:, :, :, ::2] - rows[:, :, :, 1::2]) / 2
    inside = (mean > CLIPPED) & (mean < 255 - CLIPPED)
    if inside.any():
        diagonal = diagonal.transpose(0, 2, 4, 1, 3)[inside]
    return float(np.median(diagonal) / 0.6745)
