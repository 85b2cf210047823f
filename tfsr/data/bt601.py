"""Luma of ITU-R BT.601 in video range, as in MATLAB's `rgb2ycbcr`."""

import numpy as np

LUMA_WEIGHTS = (65.481, 128.553, 24.966)  # of R, G and B in [0, 1]
LUMA_BLACK = 16  # of 255


def luma(image: np.ndarray) -> np.ndarray:
    """Returns Y of BT.601 as MATLAB's `rgb2ycbcr` defines it, in [16, 235].

    Args:
        image: RGB `(H, W, 3)`, uint8 or float on the scale of 8 bits.

    Returns:
        float64 `(H, W, 1)`, not rounded.
    """
    real = image.dtype == np.uint8 or np.issubdtype(image.dtype, np.floating)
    if image.ndim != 3 or image.shape[-1] != 3 or not real:
        raise ValueError(
            "`image` must be uint8 or float (H, W, 3). "
            f"Received: shape={image.shape}, dtype={image.dtype}."
        )
    weights = np.array(LUMA_WEIGHTS)[:, None] / 255
    return LUMA_BLACK + image.astype(np.float64) @ weights
