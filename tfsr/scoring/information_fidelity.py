"""The information fidelity criterion: the information that SR shares with HR.

Sheikh, Bovik and de Veciana, "An Information Fidelity Criterion for Image Quality
Assessment Using Natural Scene Statistics", IEEE Trans. on Image Processing 2005.

HR's subbands are modelled as Gaussian scale mixtures of 3x3 blocks, SR's as HR's times
a local gain plus noise. Subbands, windows and margins are those of `ifcvec`, which the
authors released and whose values papers report: a steerable pyramid of six orientations
and four levels, two orientations of each level, and windows that grow with the
resolution.
"""

import numpy as np
from scipy.ndimage import uniform_filter

LEVELS = 4
ORIENTATIONS = (0, 3)  # of six: two at a right angle
BLOCK = 3
TINY = 1e-15  # a smaller variance counts as zero


def ifc(sr: np.ndarray, hr: np.ndarray) -> float:
    """Returns the information in bits per pixel that `sr` shares with `hr`.

    Args:
        sr: Luma or gray in 0 to 255, `(H, W)`.
        hr: The same.
    """
    from pyrtools.pyramids import SteerablePyramidSpace

    pyramids = [
        SteerablePyramidSpace(image.astype(float), LEVELS, order=5).pyr_coeffs
        for image in (hr, sr)
    ]
    bits = 0.0
    for level in range(LEVELS):
        for orientation in ORIENTATIONS:
            ours, theirs = (whole_blocks(p[level, orientation]) for p in pyramids)
            bits += information(ours, theirs, window=2 ** (LEVELS - level) + 1)
    return bits / hr.size


def information(hr: np.ndarray, sr: np.ndarray, window: int) -> float:
    """Returns the bits that a subband of SR shares with that of HR.

    Args:
        hr: Subband of whole blocks.
        sr: The same.
        window: Side of the window in which gain and noise are estimated.
    """
    gain, noise = distortion(hr, sr, window)
    field, variances = scale_mixture(hr)
    margin = -(-(window // 2) // BLOCK)  # blocks whose window leaves the subband
    inside = (slice(margin, -margin),) * 2
    signal = gain[inside] ** 2 * field[inside]
    ratios = np.multiply.outer(variances, signal / (noise[inside] + 1e-10))
    return float(np.log2(1 + ratios).sum())


def distortion(
    hr: np.ndarray, sr: np.ndarray, window: int
) -> tuple[np.ndarray, np.ndarray]:
    """Returns gain and noise variance of SR = gain * HR + noise, for each block."""

    def mean(values):
        centers = slice(BLOCK // 2, None, BLOCK)
        return uniform_filter(values, window, mode="mirror")[centers, centers]

    covariance = mean(hr * sr) - mean(hr) * mean(sr)
    var_hr = np.maximum(mean(hr**2) - mean(hr) ** 2, 0)
    var_sr = np.maximum(mean(sr**2) - mean(sr) ** 2, 0)
    gain = covariance / (var_hr + TINY)
    noise = var_sr - gain * covariance
    lost = (var_hr < TINY) | (gain < 0)
    gain[lost], noise[lost] = 0, var_sr[lost]
    gain[var_sr < TINY] = 0
    return gain, np.maximum(noise, TINY)


def scale_mixture(band: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the local scale of each block and the variances of principal axes."""
    overlapping = np.lib.stride_tricks.sliding_window_view(band, (BLOCK, BLOCK))
    covariance = np.cov(overlapping.reshape(-1, BLOCK**2), rowvar=False, bias=True)
    blocks = overlapping[::BLOCK, ::BLOCK].reshape(-1, BLOCK**2)
    field = (blocks @ np.linalg.inv(covariance) * blocks).mean(axis=1)
    height, width = (side // BLOCK for side in band.shape)
    return field.reshape(height, width), np.linalg.eigvalsh(covariance)


def whole_blocks(band: np.ndarray) -> np.ndarray:
    """Returns the top left part of a subband that consists of whole blocks."""
    height, width = (side // BLOCK * BLOCK for side in band.shape)
    return band[:height, :width]
