"""The kinds of degradations: an entry of `DEGRADATIONS` is all that one needs.

The type of a parameter tells which values it may have (`tfsr.data.parameters`).
"""

import io
import math
from dataclasses import KW_ONLY, MISSING, dataclass, fields, replace
from typing import Annotated, ClassVar

import numpy as np
from PIL import Image

from tfsr.data.degradation_type import (
    Bicubic,
    Degradation,
    Option,
    SameSize,
    chain,
    check_kind,
    said,
)
from tfsr.data.parameters import (
    Choice,
    Numbers,
    Share,
    chosen,
    either,
    ends,
    happens,
    in_part,
    span,
)
from tfsr.data.resize import KERNELS, imresize, to_integers

Sigma = Annotated[float | list[float], Numbers(0, above=True)]


@dataclass(frozen=True)
class Resize(Degradation):
    """Shrinks by `imresize` with one of several kernels.

    Args:
        kernel: A key of `tfsr.data.resize.KERNELS`, or a list of them.
        antialias: Share of the images whose kernel widens by the factor of shrinking.
            The kernel "area", the mean of squares, always does.
    """

    name: ClassVar = "resize"
    shrinks: ClassVar = True
    radius: ClassVar = 2
    kernel: Annotated[str | list[str], Choice(tuple(KERNELS))]
    _: KW_ONLY
    antialias: Annotated[float, Share()] = 1.0

    def __call__(self, hr, scale, rng):
        kernel = chosen(self.kernel, rng)
        antialias = happens(self.antialias, rng) or kernel == "area"
        return imresize(hr, 1 / scale, kernel, antialias)

    def __str__(self):
        smoothed = in_part("antialiased", self.antialias) or ["not antialiased"]
        return said(either(self.kernel), smoothed if self.antialias < 1 else [])


@dataclass(frozen=True)
class Blur(SameSize):
    """Convolves with a Gaussian.

    Args:
        sigma: Standard deviation in pixels, or `[low, high]`.
        ratio: Standard deviation across a random direction, as a fraction of `sigma`,
            which applies along it; 1 for an isotropic blur.
    """

    name: ClassVar = "blur"
    sigma: Annotated[float | list[float], Numbers(0, 20, above=True)]
    _: KW_ONLY
    ratio: Annotated[float | list[float], Numbers(0, 1, above=True)] = 1.0

    @property
    def radius(self):
        return _blur_radius(ends(self.sigma)[1])

    def _degraded(self, hr, rng):
        sigma, ratio, angle = (
            rng.uniform(*ends(value)) for value in (self.sigma, self.ratio, [0, np.pi])
        )
        kernel = _gaussian(sigma, ratio * sigma, angle, _blur_radius(sigma))
        blurred = _convolved(hr, kernel)
        whole = np.issubdtype(hr.dtype, np.integer)
        return to_integers(blurred, hr.dtype) if whole else blurred.astype(hr.dtype)

    def __str__(self):
        ratio = f"{span(self.ratio)} across" if self.ratio != 1 else ""
        return self._said(f"blur of sigma {span(self.sigma)}", ratio)


def _blur_radius(sigma):
    return max(1, math.ceil(3 * sigma))


def _convolved(image, kernel):
    """Returns `(H, W, C)` convolved with a kernel, mirrored beyond its border.

    Inside, channels come first and sides are multiples of 8, which halves the time.
    """
    height, width, _ = image.shape
    radius = len(kernel) // 2
    planes = np.moveaxis(image.astype(np.float64), -1, 0)
    around = np.pad(planes, [(0, 0), (radius, radius), (radius, radius)], "symmetric")
    size = [-(-side // 8) * 8 for side in around.shape[1:]]
    spectrum = np.fft.rfft2(around, size) * np.fft.rfft2(kernel, size)
    planes = np.fft.irfft2(spectrum, size)[:, 2 * radius :, 2 * radius :]
    return np.moveaxis(planes[:, :height, :width], 0, -1)


def _gaussian(along, across, angle, radius):
    """Returns the kernel, `(2 * radius + 1, 2 * radius + 1)`, whose sum is 1."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    # Below this width the kernel is a single pixel.
    along, across = max(along, 0.05), max(across, 0.05)
    kernel = np.exp(-0.5 * ((u / along) ** 2 + (v / across) ** 2))
    return kernel / kernel.sum()


def _sigma(text):
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < math.inf:
        raise ValueError(f"{text!r} is not above 0")
    return value


@dataclass(frozen=True)
class Noise(SameSize):
    """Adds noise to every sample.

    Args:
        sigma: Standard deviation in 8-bit units; for blind denoising a range
            `[low, high]`, from which each image gets a random value.
        noise: "float" leaves noisy values as they are, the papers' convention; "uint8"
            clips and rounds them, as cameras do.
        gray: Share of the images whose channels all get the same noise; in the others
            the noise of each channel is independent.
    """

    fractional: ClassVar = True
    sigma: Sigma
    noise: Annotated[str, Choice(("float", "uint8"))] = "float"
    _: KW_ONLY
    gray: Annotated[float, Share()] = 0.0

    def _degraded(self, hr, rng):
        sigma = np.float32(rng.uniform(*ends(self.sigma)))
        seen = hr
        if happens(self.gray, rng):
            seen = hr.mean(axis=-1, keepdims=True, dtype=np.float32)
        noisy = hr + self._drawn(seen, sigma, rng)
        return noisy if self.noise == "float" else to_integers(noisy, np.uint8)

    def _drawn(self, seen, sigma, rng):
        """Returns float32 noise for an image."""
        raise NotImplementedError

    def rounded(self):
        return replace(self, noise="uint8")

    def _said(self, words, *details):
        return super()._said(
            f"{words} {span(self.sigma)}", self.noise, *in_part("gray", self.gray)
        )


@dataclass(frozen=True)
class GaussianNoise(Noise):
    """Adds Gaussian noise: the task of denoising. Parameters are those of `Noise`."""

    name: ClassVar = "noise"
    option: ClassVar = Option(
        "--noise",
        "sigma",
        "SIGMA",
        "Gaussian noise of this sigma, in 8-bit units",
        _sigma,
    )

    def _drawn(self, seen, sigma, rng):
        return sigma * rng.standard_normal(seen.shape, np.float32)

    def published(self, scale):
        as_usual = self == GaussianNoise(self.sigma, self.noise)
        return f"noise {self.sigma}".removesuffix(".0") if as_usual else str(self)

    def __str__(self):
        return self._said("noise of sigma")


@dataclass(frozen=True)
class PoissonNoise(Noise):
    """Adds Poisson (photon) noise, whose variance is proportional to brightness.

    Its parameters are those of `Noise`; `sigma` is the standard deviation at white.
    """

    name: ClassVar = "poisson"

    def _drawn(self, seen, sigma, rng):
        photons = (255 / max(float(sigma), 1e-3)) ** 2  # photons of a white pixel
        mean = np.clip(seen, 0, 255) * (photons / 255)
        return ((rng.poisson(mean) - mean) * (255 / photons)).astype(np.float32)

    def __str__(self):
        return self._said("Poisson noise of sigma")


def _quality(text):
    if not (text.isdigit() and 1 <= int(text) <= 100):
        raise ValueError(f"{text!r} is not from 1 to 100")
    return int(text)


@dataclass(frozen=True)
class JPEG(SameSize):
    """Compresses as JPEG: the task of artifact removal.

    Args:
        quality: Pillow's quality, 1 to 100; for blind restoration a range
            `[low, high]`, from which each image gets a random value.
        subsampling: Chroma subsampling: "4:2:0" halves its height and width, "4:4:4"
            keeps them; from a list, each image gets a random one.
    """

    name: ClassVar = "jpeg"
    # Blocks of 8x8 chroma samples at half the resolution. Decoders interpolate chroma
    # between neighbours.
    block: ClassVar = 16
    radius: ClassVar = 2
    of_luma: ClassVar = True  # JPEG codes luma and chroma separately
    metrics: ClassVar = ("ssim_uniform",)
    option: ClassVar = Option(
        "--jpeg", "quality", "Q", "JPEG compression of this quality", _quality
    )
    quality: Annotated[int | list[int], Numbers(1, 100, whole=True)]
    _: KW_ONLY
    subsampling: Annotated[str | list[str], Choice(("4:2:0", "4:4:4"))] = "4:2:0"

    def _degraded(self, hr, rng):
        low, high = ends(self.quality)
        options = {"quality": int(rng.integers(low, high, endpoint=True))}
        pixels = hr if hr.dtype == np.uint8 else to_integers(hr, np.uint8)
        if hr.shape[-1] == 3:
            options["subsampling"] = chosen(self.subsampling, rng)
        else:
            pixels = pixels[..., 0]
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG", **options)
        decoded = np.asarray(Image.open(file, formats=("JPEG",)))
        return decoded.reshape(hr.shape)

    def published(self, scale):
        as_usual = self == JPEG(self.quality)
        return f"jpeg {self.quality}" if as_usual else str(self)

    def __str__(self):
        chroma = "" if self.subsampling == "4:2:0" else either(self.subsampling)
        return self._said(f"JPEG of quality {span(self.quality)}", chroma)


@dataclass(frozen=True)
class Enlarged(Degradation):
    """Shrinks and enlarges by bicubic: the input of a luminance network.

    Args:
        scales: Factors; each image gets a random one.
    """

    name: ClassVar = "enlarged"
    block: ClassVar = 24  # a multiple of every scale, beyond the kernel's reach
    radius: ClassVar = 24
    scales: tuple[int, ...]

    def __call__(self, hr, scale, rng):
        factor = int(rng.choice(self.scales))
        lr = imresize(hr.astype(np.float32), 1 / factor)
        return imresize(lr, factor)[: hr.shape[0], : hr.shape[1]]


DEGRADATIONS: dict[str, type[Degradation]] = {
    kind.name: kind
    for kind in (Bicubic, Resize, GaussianNoise, PoissonNoise, JPEG, Blur)
}


def from_table(table: dict | list[dict]) -> Degradation:
    """Returns the degradation of a table, or the chain of a list of tables.

    Raises:
        ValueError: If a name or parameter is unknown, missing or out of range.
    """
    if isinstance(table, list):
        if not table:
            raise ValueError("degradation must have a table or more, not [].")
        return chain(map(from_table, table))
    if not isinstance(table, dict):
        raise ValueError(f"degradation must be a table, not {table!r}.")
    name = table.get("name")
    if not isinstance(name, str) or name not in DEGRADATIONS:
        raise ValueError(
            f"degradation must be one of {', '.join(DEGRADATIONS)}, not {name!r}."
        )
    parameters = {key: value for key, value in table.items() if key != "name"}
    known = {f.name: f for f in sorted(fields(DEGRADATIONS[name]), key=_last)}
    for key in parameters:
        if key not in known:
            raise ValueError(
                f'{key} is not for degradation = "{name}"; '
                f"allowed: {', '.join(known) or 'nothing'}."
            )
    for key, field in known.items():
        if field.default is MISSING and key not in parameters:
            raise ValueError(f'degradation = "{name}" needs {key}.')
    return DEGRADATIONS[name](**parameters)


def _last(field):
    return field.kw_only


def check_scale(degradation: Degradation, scale: int) -> None:
    """Raises a `ValueError` unless `degradation` makes LR for networks of `scale`."""
    check_kind(degradation)
    if degradation.shrinks != (scale > 1):
        wanted = " or ".join(
            kind.name for kind in DEGRADATIONS.values() if kind.shrinks == (scale > 1)
        )
        raise ValueError(
            f"a network of x{scale} needs the degradation {wanted}, "
            f"not {degradation.name}."
        )
