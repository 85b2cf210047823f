"""PSNR and SSIM by the conventions of the super-resolution literature."""

import numpy as np
from skimage.metrics import structural_similarity


def luma(image: np.ndarray) -> np.ndarray:
    """Returns Y of BT.601 as MATLAB's `rgb2ycbcr` defines it, in [16, 235].

    Args:
        image: uint8 RGB `(H, W, 3)`.

    Returns:
        float64 `(H, W, 1)`, not rounded.
    """
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8:
        raise ValueError(
            "`image` must be uint8 (H, W, 3). "
            f"Received: shape={image.shape}, dtype={image.dtype}."
        )
    weights = np.array([[65.481], [128.553], [24.966]]) / 255
    return 16 + image.astype(np.float64) @ weights


def psnr(sr: np.ndarray, hr: np.ndarray, border: int = 0) -> float:
    """Returns the peak signal-to-noise ratio in dB; infinite for equal images.

    Args:
        sr: `(H, W, C)` on the scale of 8 bits (peak 255).
        hr: The ground truth, of the same shape.
        border: Pixels shaved from each side first.
    """
    sr, hr = _shave(sr, hr, border)
    mean_squared_error = np.mean((sr - hr) ** 2)
    if mean_squared_error == 0:
        return float("inf")
    return float(10 * np.log10(255**2 / mean_squared_error))


def ssim(sr: np.ndarray, hr: np.ndarray, border: int = 0) -> float:
    """Returns the structural similarity, the mean over channels.

    11x11 Gaussian window of sigma 1.5, population covariance, peak 255, windows that
    lie wholly inside the image (Wang et al., TIP 2004).

    Args:
        sr: `(H, W, C)` on the scale of 8 bits.
        hr: The ground truth, of the same shape.
        border: Pixels shaved from each side first.
    """
    sr, hr = _shave(sr, hr, border)
    if min(sr.shape[:2]) < 11:
        raise ValueError(
            "SSIM needs 11x11 pixels inside the border. "
            f"Received: shape={sr.shape}, border={border}."
        )
    return float(
        structural_similarity(
            sr,
            hr,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=255,
            channel_axis=-1,
        )
    )


def _shave(sr, hr, border):
    if sr.shape != hr.shape or sr.ndim != 3:
        raise ValueError(
            "`sr` and `hr` must both be (H, W, C). "
            f"Received: sr.shape={sr.shape}, hr.shape={hr.shape}."
        )
    h, w = sr.shape[:2]
    inside = slice(border, h - border), slice(border, w - border)
    if min(h, w) <= 2 * border:
        raise ValueError(
            f"Nothing is left. Received: shape={sr.shape}, border={border}."
        )
    return sr[inside].astype(np.float64), hr[inside].astype(np.float64)
