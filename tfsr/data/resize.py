"""MATLAB's `imresize`, byte for byte.

Bicubic is checked against the LR files of Set5 and Set14 at x2, x3 and x4. Other ports
often miss two things: the result of the first (vertical) pass is rounded and clipped to
integers too, and halves round up, not to even.
"""

import math
from collections.abc import Callable
from numbers import Real
from typing import NamedTuple

import numpy as np


def imresize(
    image: np.ndarray, scale: float, kernel: str = "bicubic", antialias: bool = True
) -> np.ndarray:
    """Returns `image` resized by `scale` as MATLAB's `imresize` does.

    Args:
        image: `(H, W)` or `(H, W, C)`. Integers are rounded and clipped to their type
            after each pass, floats are not.
        scale: Factor of height and width, such as 1/4 or 3.
        kernel: A key of `KERNELS`. "area" averages, MATLAB's "box".
        antialias: Whether the kernel widens when the image shrinks. If not, "area"
            takes the nearest pixel.

    Returns:
        The resized image, `ceil(H * scale)` by `ceil(W * scale)`, of the same type.
    """
    image = np.asarray(image)
    if image.dtype.kind not in "iuf":
        raise ValueError(f"`image` must be numbers. Received: dtype={image.dtype}.")
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(
            f"`image` must be (H, W) or (H, W, C). Received: shape={image.shape}."
        )
    if not (isinstance(scale, Real) and scale > 0):
        raise ValueError(f"`scale` must be positive. Received: scale={scale!r}.")
    how = scale, KERNELS[kernel], antialias
    rows = _resize_first_axis(image, *how)
    return _resize_first_axis(rows.swapaxes(0, 1), *how).swapaxes(0, 1)


def to_integers(values: np.ndarray, dtype: np.typing.DTypeLike) -> np.ndarray:
    """Returns `values` clipped to the integer `dtype` and rounded, halves up."""
    info = np.iinfo(dtype)
    return np.floor(np.clip(values, info.min, info.max) + 0.5).astype(dtype)


def _resize_first_axis(image, scale, kernel, antialias):
    indices, weights = _contributions(image.shape[0], scale, kernel, antialias)
    accumulate = np.result_type(image.dtype, np.float64)
    out = np.zeros((len(indices), *image.shape[1:]), accumulate)
    column = (-1,) + (1,) * (image.ndim - 1)
    for tap in range(indices.shape[1]):
        out += weights[:, tap].reshape(column) * image[indices[:, tap]]
    if np.issubdtype(image.dtype, np.integer):
        return to_integers(out, image.dtype)
    return out.astype(image.dtype)


def _contributions(length, scale, kernel, antialias):
    """Returns source indices and weights, both `(ceil(length * scale), taps)`."""
    stretch = min(scale, 1.0) if antialias else 1.0
    width = kernel.width / stretch
    centers = (np.arange(math.ceil(length * scale)) + 0.5) / scale - 0.5
    first = np.floor(centers - width / 2).astype(int)
    indices = first[:, None] + np.arange(math.ceil(width) + 2)
    weights = stretch * kernel.weight(stretch * (centers[:, None] - indices))
    weights /= weights.sum(axis=1, keepdims=True)
    mirrored = np.concatenate([np.arange(length), np.arange(length)[::-1]])
    used = np.any(weights != 0, axis=0)
    return mirrored[indices[:, used] % (2 * length)], weights[:, used]


def cubic(x: np.ndarray) -> np.ndarray:
    """Returns Keys' cubic convolution kernel, a = -0.5, at distances of any shape."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x <= 2, far, 0.0))


def _triangle(x):
    return np.maximum(0.0, 1 - np.abs(x))


def _box(x):
    return ((x >= -0.5) & (x < 0.5)).astype(float)


class Kernel(NamedTuple):
    """An interpolation kernel: its weight at a distance, and its width in pixels."""

    weight: Callable[[np.ndarray], np.ndarray]
    width: float


KERNELS = {
    "bicubic": Kernel(cubic, 4.0),
    "bilinear": Kernel(_triangle, 2.0),
    "area": Kernel(_box, 1.0),
}
