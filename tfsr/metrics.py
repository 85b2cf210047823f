"""Image metrics in the conventions of the super-resolution literature.

`METRICS` has all of them by the names that `--metrics` takes.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from tfsr import extras
from tfsr.arguments import whole
from tfsr.data.bt601 import luma
from tfsr.errors import InputError


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
    return _similarity(sr, hr, _gaussian_means)


def ssim_uniform(sr: np.ndarray, hr: np.ndarray, border: int = 0) -> float:
    """Returns the structural similarity of papers on JPEG artifacts.

    It is `ssim` with a uniform window of 8x8 pixels.

    Args:
        sr: `(H, W, C)` on the scale of 8 bits.
        hr: The ground truth, of the same shape.
        border: Pixels shaved from each side first.
    """
    x, y = _shave(sr, hr, border)
    if min(x.shape[:2]) < 8:
        raise ValueError(
            "SSIM needs 8x8 pixels inside the border. "
            f"Received: shape={sr.shape}, border={border}."
        )
    return _similarity(x, y, lambda values: window_sums(values, 8) / 64)


def _similarity(x, y, means):
    """Returns the mean similarity; `means` returns the means of an image's windows."""
    mean_x, mean_y, mean_xx, mean_yy, mean_xy = map(means, (x, y, x * x, y * y, x * y))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    variances = mean_xx - mean_x**2 + mean_yy - mean_y**2
    covariance = mean_xy - mean_x * mean_y
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (variances + c2)
    return float(np.mean(similarity))


def _gaussian_means(image):
    """Returns the means over all 11x11 windows inside `(H, W, C)`, of sigma 1.5."""
    weights = np.exp(-(np.arange(-5.0, 6) ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    for axis in (0, 1):
        size = image.shape[axis] - 10
        parts = (np.take(image, range(i, i + size), axis) for i in range(11))
        image = sum(w * part for w, part in zip(weights, parts, strict=True))
    return image


def ifc(sr: np.ndarray, hr: np.ndarray, border: int = 0) -> float:
    """Returns the information fidelity criterion in bits per pixel; needs pyrtools.

    Args:
        sr: `(H, W, 1)` on the scale of 8 bits.
        hr: The ground truth, of the same shape.
        border: Pixels shaved from each side first.
    """
    from tfsr.scoring import information_fidelity

    x, y = _shave(sr, hr, border)
    return information_fidelity.ifc(x[..., 0], y[..., 0])


def lpips(sr: np.ndarray, hr: np.ndarray, border: int = 0) -> float:
    """Returns the learned perceptual distance; lower is better, 0 for equal images.

    Version 0.1 on AlexNet (Zhang et al., CVPR 2018), by torchmetrics; needs the extra
    `perceptual`. Gray is repeated to RGB.

    Args:
        sr: `(H, W, C)` on the scale of 8 bits, clipped to it.
        hr: The ground truth, of the same shape.
        border: Pixels shaved from each side first.
    """
    from tfsr.scoring import perceptual

    return perceptual.distance("lpips", *_shave(sr, hr, border))


def dists(sr: np.ndarray, hr: np.ndarray, border: int = 0) -> float:
    """Returns the distance of structure and texture; lower is better, 0 if equal.

    On VGG16, without resizing the images (Ding et al., TPAMI 2020), by torchmetrics;
    needs the extra `perceptual`. Gray is repeated to RGB.

    Args:
        sr: `(H, W, C)` on the scale of 8 bits, clipped to it.
        hr: The ground truth, of the same shape.
        border: Pixels shaved from each side first.
    """
    from tfsr.scoring import perceptual

    return perceptual.distance("dists", *_shave(sr, hr, border))


def window_sums(image: np.ndarray, side: int) -> np.ndarray:
    """Returns the sums over all squares of `side` pixels inside `(H, W, ...)`."""
    pad = ((1, 0), (1, 0), *((0, 0) for _ in image.shape[2:]))
    summed = np.pad(image, pad).cumsum(0).cumsum(1)
    rows = summed[side:] - summed[:-side]
    return rows[:, side:] - rows[:, :-side]


def _shave(sr, hr, border):
    border = whole("border", border, least=0)
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


def _as_it_is(image):
    return image


@dataclass(frozen=True)
class Metric:
    """A metric of image quality.

    Attributes:
        function: Function of SR and HR, `(H, W, C)` in 0 to 255, and the border.
        views: Functions of RGB that return the image to score, by the suffix of the
            metric's key in reports; papers compare by the first. One-channel images
            are scored as they are, by a key without suffix.
        convention: Its convention in the protocol of a report.
        prepare: Called before any work; raises an error if a package is missing.
    """

    function: Callable[[np.ndarray, np.ndarray, int], float]
    views: dict[str, Callable] = field(
        default_factory=lambda: {"_y": luma, "_rgb": _as_it_is}
    )
    convention: str | None = None
    prepare: Callable[[], object] = lambda: None


def _prepare_ifc():
    for module in ("scipy", "pyrtools"):
        extras.check(module)


def _prepare_perceptual(name):
    for module in ("torchmetrics", "torchvision"):  # which install torch
        extras.check(module)
    from tfsr.scoring import perceptual

    perceptual.network(name)


METRICS = {
    "psnr": Metric(psnr),
    "ssim": Metric(ssim, convention="11x11 Gaussian window of sigma 1.5"),
    "ssim_uniform": Metric(ssim_uniform, convention="8x8 uniform window"),
    "ifc": Metric(ifc, views={"": luma}, prepare=_prepare_ifc),
    "lpips": Metric(
        lpips,
        views={"": _as_it_is},
        convention="version 0.1 on AlexNet, RGB, lower is better",
        prepare=lambda: _prepare_perceptual("lpips"),
    ),
    "dists": Metric(
        dists,
        views={"": _as_it_is},
        convention="VGG16, RGB, not made smaller, lower is better",
        prepare=lambda: _prepare_perceptual("dists"),
    ),
}
DEFAULT = ("psnr", "ssim")


def check_names(names: Iterable[str]) -> None:
    """Raises an `InputError` unless all of `names` are metrics."""
    for name in names:
        if name not in METRICS:
            raise InputError(f"{name!r} is not one of {', '.join(METRICS)}")


def key_of(name: str, channels: int | str) -> str:
    """Returns the key by which models are compared, such as `psnr_y`.

    Args:
        name: A key of `METRICS`.
        channels: Channels of the scored images; 1 and "y" are one channel.
    """
    return f"{name}{next(iter(METRICS[name].views))}" if channels == 3 else name


def figures(
    sr: np.ndarray, hr: np.ndarray, border: int, names: tuple[str, ...] = DEFAULT
) -> dict[str, float]:
    """Returns metrics of one image by their keys in reports.

    Args:
        sr: `(H, W, C)` on the scale of 8 bits.
        hr: The ground truth, of the same shape.
        border: Pixels shaved from each side first.
        names: Keys of `METRICS`.
    """
    if hr.shape[-1] == 1:
        return {name: METRICS[name].function(sr, hr, border) for name in names}
    suffixes = dict.fromkeys(key for name in names for key in METRICS[name].views)
    return {
        f"{name}{suffix}": METRICS[name].function(view(sr), view(hr), border)
        for suffix in suffixes
        for name in names
        if (view := METRICS[name].views.get(suffix))
    }


def __getattr__(name: str) -> object:
    if name in ("PSNR", "SSIM"):  # need Keras, while the functions do not
        with extras.explained():
            from tfsr import keras_metrics

        return getattr(keras_metrics, name)
    raise AttributeError(f"module 'tfsr.metrics' has no attribute {name!r}")
