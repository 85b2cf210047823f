"""What makes the degraded image of a good one: the task that a network learns.

A degradation is called with an HR image, uint8 `(H, W, C)`, the scale and a random
generator, and returns the LR image on the scale of 8 bits. Beside bicubic shrinking, LR
and HR have one size: the scale is 1.
"""

import io
import math
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import ClassVar

import numpy as np
from PIL import Image

from tfsr.data.images import read_image
from tfsr.data.resize import imresize, to_integers

NOISES = ("float", "uint8")


@dataclass(frozen=True)
class Bicubic:
    """Shrinks by MATLAB's bicubic `imresize`: super-resolution."""

    name: ClassVar = "bicubic"

    def __call__(self, hr, scale, rng):
        return imresize(hr, 1 / scale)

    def __str__(self):
        return "bicubic"


@dataclass(frozen=True)
class GaussianNoise:
    """Adds independent Gaussian noise to every sample: denoising.

    Args:
        sigma: Standard deviation in 8-bit units; for blind denoising `[low, high]`,
            from which each image draws its own.
        noise: "float" leaves the sums as they are, the papers' convention; "uint8"
            clips and rounds them, which is what a camera or a phone gives.
    """

    name: ClassVar = "noise"
    block: ClassVar = 1
    sigma: float | list[float]
    noise: str = "float"

    def __post_init__(self):
        low, high = _bounds("sigma", self.sigma)
        if not (0 <= low <= high < math.inf and high > 0):
            raise ValueError(
                "`sigma` must be above 0, or [low, high]. "
                f"Received: sigma={self.sigma}."
            )
        if self.noise not in NOISES:
            raise ValueError(
                f"`noise` must be one of {', '.join(NOISES)}. "
                f"Received: noise={self.noise}."
            )

    def __call__(self, hr, scale, rng):
        sigma = np.float32(rng.uniform(*_bounds("sigma", self.sigma)))
        noisy = hr + sigma * rng.standard_normal(hr.shape, np.float32)
        return noisy if self.noise == "float" else to_integers(noisy, np.uint8)

    def __str__(self):
        return f"noise of sigma {_span(self.sigma)} ({self.noise})"


@dataclass(frozen=True)
class JPEG:
    """Writes and reads a JPEG file, colour in Pillow's 4:2:0: artifact removal.

    Args:
        quality: Pillow's, 1 to 100; for blind restoration `[low, high]`, from which
            each image draws its own.
    """

    name: ClassVar = "jpeg"
    # 8x8 pixels, of chroma at half the resolution; decoders interpolate the chroma
    # between neighbouring blocks.
    block: ClassVar = 16
    quality: int | list[int]

    def __post_init__(self):
        low, high = _bounds("quality", self.quality)
        if not 1 <= low <= high <= 100:
            raise ValueError(
                "`quality` must be from 1 to 100, or [low, high]. "
                f"Received: quality={self.quality}."
            )

    def __call__(self, hr, scale, rng):
        low, high = _bounds("quality", self.quality)
        file = io.BytesIO()
        image = Image.fromarray(hr if hr.shape[-1] == 3 else hr[..., 0])
        image.save(file, "JPEG", quality=int(rng.integers(low, high, endpoint=True)))
        return read_image(file, hr.shape[-1])

    def __str__(self):
        return f"JPEG of quality {_span(self.quality)}"


@dataclass(frozen=True)
class Enlarged:
    """Shrinks by bicubic and enlarges again: what a luminance network refines.

    Args:
        scales: Each image draws one of these.
    """

    name: ClassVar = "enlarged"
    block: ClassVar = 24  # a multiple of every scale, and further than bicubic reaches
    scales: tuple[int, ...]

    def __call__(self, hr, scale, rng):
        factor = int(rng.choice(self.scales))
        lr = imresize(hr.astype(np.float32), 1 / factor)
        return imresize(lr, factor)[: hr.shape[0], : hr.shape[1]]


Degradation = Bicubic | GaussianNoise | JPEG | Enlarged
BICUBIC = Bicubic()
DEGRADATIONS = {kind.name: kind for kind in (Bicubic, GaussianNoise, JPEG)}


def to_table(degradation: Degradation) -> dict:
    """Returns `name` and parameters, as reports and `.tflite` files hold them."""
    return {"name": degradation.name, **asdict(degradation)}


def from_table(table: dict) -> Degradation:
    """Returns the degradation of such a table.

    Raises:
        ValueError: On an unknown name, a parameter missing, foreign or out of range.
    """
    parameters = {key: value for key, value in table.items() if key != "name"}
    name = table["name"]
    if name not in DEGRADATIONS:
        raise ValueError(
            f"degradation must be one of {', '.join(DEGRADATIONS)}, not {name!r}."
        )
    known = {f.name: f for f in fields(DEGRADATIONS[name])}
    for key in parameters:
        if key not in known:
            raise ValueError(f'{key} is not for degradation = "{name}".')
    for key, field in known.items():
        if field.default is MISSING and key not in parameters:
            raise ValueError(f'degradation = "{name}" needs {key}.')
    return DEGRADATIONS[name](**parameters)


def check_scale(degradation: Degradation, scale: int) -> None:
    """Raises a `ValueError` unless networks of `scale` learn from `degradation`."""
    if (scale == 1) == isinstance(degradation, Bicubic):
        wanted = "noise or jpeg" if scale == 1 else "bicubic"
        raise ValueError(
            f"a network of x{scale} needs the degradation {wanted}, "
            f"not {degradation.name}."
        )


def in_8_bits(degradation: Degradation) -> Degradation:
    """Returns `degradation`, its images clipped and rounded to 8 bits."""
    if isinstance(degradation, GaussianNoise):
        return replace(degradation, noise="uint8")
    return degradation


def degraded_patch(
    degradation: GaussianNoise | JPEG,
    hr: np.ndarray,
    y: int,
    x: int,
    side: int,
    rng: np.random.Generator,
) -> np.ndarray:
    """Returns a square of the degraded `hr` without degrading all of it.

    The blocks under the square are degraded, and one more around them, which makes a
    JPEG's pixels those of the whole image's file.

    Args:
        degradation: What to do.
        hr: uint8 `(H, W, C)`.
        y: First row of the square.
        x: First column.
        side: Its side in pixels.
        rng: Where noise, or one of a range of parameters, comes from.
    """
    block = degradation.block
    top, left = (max(0, (start // block - 1) * block) for start in (y, x))
    bottom, right = ((-(-(end + side) // block) + 1) * block for end in (y, x))
    lr = degradation(hr[top:bottom, left:right], 1, rng)
    return lr[y - top :, x - left :][:side, :side]


def _bounds(name, value):
    bounds = value if isinstance(value, list | tuple) else [value, value]
    if len(bounds) != 2:
        raise ValueError(
            f"`{name}` must be one number or [low, high]. Received: {name}={value}."
        )
    return bounds


def _span(value):
    return " to ".join(f"{v:g}" for v in dict.fromkeys(_bounds("", value)))
