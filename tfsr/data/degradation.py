"""What makes the degraded image of a good one: the task that a network learns.

`DEGRADATIONS` has every kind; a new one is a class and its place in that table. Applied
one after another they are a `Chain`.
"""

import io
import math
from collections.abc import Callable, Iterable
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from tfsr.data.resize import imresize, to_integers
from tfsr.errors import InputError

NOISES = ("float", "uint8")


@dataclass(frozen=True)
class Option:
    """An option of the command line that asks for a degradation.

    Attributes:
        flag: Such as `--jpeg`.
        parameter: The parameter that it sets; others keep their defaults.
        metavar: Its value in the help.
        help: One line.
        parse: Returns the value of a text; raises a `ValueError` if it is none.
    """

    flag: str
    parameter: str
    metavar: str
    help: str
    parse: Callable[[str], Any]


@dataclass(frozen=True)
class Degradation:
    """Makes a degraded image: called with an image, a scale and a random generator.

    Images are `(H, W, C)` on the scale of 8 bits, uint8 or, where something before left
    fractions, float32. The result has the size of the image, or `1 / scale` of it.

    Attributes:
        name: What configs and reports call it.
        shrinks: Whether the result has `1 / scale` of the image's size.
        block: The result depends on where a grid of squares of so many pixels begins.
        reach: A pixel of the result depends on no pixel further than this from its own,
            in pixels of the result.
        fractional: Whether the result can have fractions, and values beyond 8 bits;
            `in_8_bits` then returns what has none.
        of_luma: Whether a network of one channel restores the luma of colours, not R, G
            and B in turn.
        metrics: What papers score beside PSNR and SSIM, keys of `tfsr.metrics.METRICS`.
        option: What asks for it on the command line.
    """

    name: ClassVar[str]
    shrinks: ClassVar[bool] = False
    block: ClassVar[int] = 1
    reach: ClassVar[int] = 0
    fractional: ClassVar[bool] = False
    of_luma: ClassVar[bool] = False
    metrics: ClassVar[tuple[str, ...]] = ()
    option: ClassVar[Option | None] = None

    def __call__(
        self, hr: np.ndarray, scale: int, rng: np.random.Generator
    ) -> np.ndarray:
        raise NotImplementedError

    @property
    def steps(self) -> tuple["Degradation", ...]:
        """What is done one after another: itself, or the parts of a chain."""
        return (self,)

    def in_8_bits(self) -> "Degradation":
        """Returns the same with its images clipped and rounded to 8 bits."""
        return self

    def published(self, scale: int) -> str:
        """Returns the name of the task in `published.toml`."""
        return str(self)


@dataclass(frozen=True)
class Bicubic(Degradation):
    """Shrinks by MATLAB's bicubic `imresize`: super-resolution."""

    name: ClassVar = "bicubic"
    shrinks: ClassVar = True
    reach: ClassVar = 2

    def __call__(self, hr, scale, rng):
        return imresize(hr, 1 / scale)

    def published(self, scale):
        return f"x{scale}"

    def __str__(self):
        return "bicubic"


def _sigma(text):
    try:
        value = float(text)
    except ValueError:
        value = 0
    if not 0 < value < math.inf:
        raise ValueError(f"{text!r} is not above 0")
    return value


@dataclass(frozen=True)
class GaussianNoise(Degradation):
    """Adds independent Gaussian noise to every sample: denoising.

    Args:
        sigma: Standard deviation in 8-bit units; for blind denoising `[low, high]`,
            from which each image draws its own.
        noise: "float" leaves the sums as they are, the papers' convention; "uint8"
            clips and rounds them, which is what a camera or a phone gives.
    """

    name: ClassVar = "noise"
    fractional: ClassVar = True
    option: ClassVar = Option(
        "--noise", "sigma", "SIGMA", "Gaussian noise, in 8-bit units", _sigma
    )
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

    def in_8_bits(self):
        return replace(self, noise="uint8")

    def published(self, scale):
        return f"noise {self.sigma}".removesuffix(".0")

    def __str__(self):
        return f"noise of sigma {_span(self.sigma)} ({self.noise})"


def _quality(text):
    if not (text.isdigit() and 1 <= int(text) <= 100):
        raise ValueError(f"{text!r} is not from 1 to 100")
    return int(text)


@dataclass(frozen=True)
class JPEG(Degradation):
    """Writes and reads a JPEG file, colour in Pillow's 4:2:0: artifact removal.

    Args:
        quality: Pillow's, 1 to 100; for blind restoration `[low, high]`, from which
            each image draws its own.
    """

    name: ClassVar = "jpeg"
    # 8x8 pixels, of chroma at half the resolution; decoders interpolate the chroma
    # between neighbouring blocks.
    block: ClassVar = 16
    reach: ClassVar = 16
    of_luma: ClassVar = True  # the files keep luma and chroma apart
    metrics: ClassVar = ("ssim_uniform",)
    option: ClassVar = Option(
        "--jpeg", "quality", "Q", "JPEG files of this quality", _quality
    )
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
        pixels = hr if hr.dtype == np.uint8 else to_integers(hr, np.uint8)
        image = Image.fromarray(pixels if hr.shape[-1] == 3 else pixels[..., 0])
        image.save(file, "JPEG", quality=int(rng.integers(low, high, endpoint=True)))
        decoded = np.asarray(Image.open(file, formats=("JPEG",)))
        return decoded.reshape(hr.shape)

    def published(self, scale):
        return f"jpeg {self.quality}"

    def suits(self, quality: int) -> bool:
        """Returns whether a network for this restores a file of `quality` well.

        What it has not been trained on it blurs, or leaves blocks in.
        """
        low, high = _bounds("quality", self.quality)
        return low - 5 <= quality <= high + 5

    def __str__(self):
        return f"JPEG of quality {_span(self.quality)}"


@dataclass(frozen=True)
class Enlarged(Degradation):
    """Shrinks by bicubic and enlarges again: what a luminance network refines.

    Args:
        scales: Each image draws one of these.
    """

    name: ClassVar = "enlarged"
    block: ClassVar = 24  # a multiple of every scale, and further than bicubic reaches
    reach: ClassVar = 24
    scales: tuple[int, ...]

    def __call__(self, hr, scale, rng):
        factor = int(rng.choice(self.scales))
        lr = imresize(hr.astype(np.float32), 1 / factor)
        return imresize(lr, factor)[: hr.shape[0], : hr.shape[1]]


@dataclass(frozen=True)
class Chain(Degradation):
    """Applies degradations one after another; those before the shrinking one to HR.

    Args:
        parts: The degradations, of which one at most shrinks.
    """

    parts: tuple[Degradation, ...]

    def __post_init__(self):
        if sum(step.shrinks for step in self.steps) > 1:
            raise ValueError(
                f"only one degradation of a list may shrink. Received: {self}."
            )

    def __call__(self, hr, scale, rng):
        for step in self.steps:
            hr = step(hr, scale, rng)
        return hr

    @property
    def steps(self):
        return tuple(step for part in self.parts for step in part.steps)

    @property
    def name(self):
        return ", ".join(step.name for step in self.steps)

    @property
    def shrinks(self):
        return any(step.shrinks for step in self.steps)

    @property
    def fractional(self):
        return any(step.fractional for step in self.steps)

    @property
    def of_luma(self):
        return self.steps[-1].of_luma

    def in_8_bits(self):
        return Chain(tuple(step.in_8_bits() for step in self.steps))

    def __str__(self):
        return ", ".join(map(str, self.steps))


BICUBIC = Bicubic()
DEGRADATIONS = {kind.name: kind for kind in (Bicubic, GaussianNoise, JPEG)}


def chain(steps: Iterable[Degradation]) -> Degradation:
    """Returns one degradation that does all of `steps`; the only one as it is."""
    steps = tuple(steps)
    return steps[0] if len(steps) == 1 else Chain(steps)


def to_table(degradation: Degradation) -> dict | list[dict]:
    """Returns `name` and parameters, of a chain a list of such tables.

    So configs, reports and `.tflite` files hold them.
    """
    tables = [{"name": step.name, **asdict(step)} for step in degradation.steps]
    return tables if isinstance(degradation, Chain) else tables[0]


def from_table(table: dict | list[dict]) -> Degradation:
    """Returns the degradation of such a table or list of tables.

    Raises:
        ValueError: On an unknown name, a parameter missing, foreign or out of range.
    """
    if isinstance(table, list):
        if not table:
            raise ValueError("degradation must have a table or more, not [].")
        return chain(map(from_table, table))
    name = table.get("name")
    if not isinstance(name, str) or name not in DEGRADATIONS:
        raise ValueError(
            f"degradation must be one of {', '.join(DEGRADATIONS)}, not {name!r}."
        )
    parameters = {key: value for key, value in table.items() if key != "name"}
    known = {f.name: f for f in fields(DEGRADATIONS[name])}
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


def check_scale(degradation: Degradation, scale: int) -> None:
    """Raises a `ValueError` unless networks of `scale` learn from `degradation`."""
    _check_kind(degradation)
    if degradation.shrinks != (scale > 1):
        wanted = " or ".join(
            kind.name for kind in DEGRADATIONS.values() if kind.shrinks == (scale > 1)
        )
        raise ValueError(
            f"a network of x{scale} needs the degradation {wanted}, "
            f"not {degradation.name}."
        )


def _check_kind(degradation):
    if not isinstance(degradation, Degradation):
        raise InputError(
            "`degradation` must be one of tfsr.data, such as JPEG(10). "
            f"Received: degradation={degradation!r}."
        )


def task_name(degradation: Degradation, scale: int) -> str:
    """Returns a task in words, such as "x2" or "from JPEG of quality 10"."""
    if degradation == BICUBIC:
        return f"x{scale}"
    return f"x{scale} from {degradation}" if scale > 1 else f"from {degradation}"


def in_8_bits(degradation: Degradation) -> Degradation:
    """Returns `degradation`, its images clipped and rounded to 8 bits."""
    return degradation.in_8_bits()


def asked_or_own(
    asked: Degradation | None, own: Degradation | None, scale: int
) -> Degradation | None:
    """Returns what images are degraded by, None if nothing tells.

    Args:
        asked: What the user asks for; at a scale above 1 of LR, if it does not shrink.
        own: What the model was made for, without `asked`. What it shares with `asked`
            keeps the parameters that no option of the command line sets.
        scale: The model's.
    """
    if asked is None:
        return own
    _check_kind(asked)
    ours = {type(step): step for step in own.steps} if own else {}
    steps = [_set(step, ours.get(type(step), step)) for step in asked.steps]
    return chain([BICUBIC, *steps] if scale > 1 and not asked.shrinks else steps)


def _set(asked, own):
    """Returns `own` with the parameter of `asked` that has an option."""
    if asked.option is None:
        return asked
    key = asked.option.parameter
    return replace(own, **{key: getattr(asked, key)})


def after_bicubic(degradation: Degradation) -> Chain | None:
    """Returns what is left to do to LR made by bicubic; None if that does not begin."""
    first, *rest = degradation.steps
    return Chain(tuple(rest)) if first == BICUBIC else None


def degraded_patch(
    degradation: Degradation,
    hr: np.ndarray,
    y: int,
    x: int,
    side: int,
    rng: np.random.Generator,
    scale: int = 1,
) -> np.ndarray:
    """Returns a square of the degraded `hr` without degrading all of it.

    Of each step the blocks are made that the next one needs, which makes a JPEG's
    pixels those of the whole image's file.

    Args:
        degradation: What to do.
        hr: `(H, W, C)`, its sides multiples of `scale`.
        y: First row of the square, in the degraded image.
        x: First column.
        side: Its side in pixels.
        rng: Where noise, or one of a range of parameters, comes from.
        scale: The factor of a step that shrinks.
    """
    steps = degradation.steps
    factors = [scale if step.shrinks else 1 for step in steps]
    size = [n // scale if degradation.shrinks else n for n in hr.shape[:2]]
    needed = [[(y, y + side), (x, x + side)]]
    for step, factor in zip(steps[::-1], factors[::-1], strict=True):
        size = [n * factor for n in size]
        spans = zip(needed[0], size, strict=True)
        needed.insert(0, [_source(step, factor, *span, n) for span, n in spans])
    image = _cut(hr, *needed[0])
    for i, (step, factor) in enumerate(zip(steps, factors, strict=True)):
        image = step(image, scale, rng)
        corners = [start // factor for start, _ in needed[i]]
        spans = zip(needed[i + 1], corners, strict=True)
        image = _cut(image, *((a - corner, b - corner) for (a, b), corner in spans))
    return image


def _source(step, factor, start, stop, length):
    """Returns which of `length` pixels a step needs to make those of a span."""
    block = step.block
    start = (start - step.reach) // block * block * factor
    stop = -(-(stop + step.reach) // block) * block * factor
    return max(0, start), min(length, stop)


def _cut(image, rows, columns):
    return image[slice(*rows), slice(*columns)]


def _bounds(name, value):
    bounds = value if isinstance(value, list | tuple) else [value, value]
    if len(bounds) != 2:
        raise ValueError(
            f"`{name}` must be one number or [low, high]. Received: {name}={value}."
        )
    return bounds


def _span(value):
    return " to ".join(f"{v:g}" for v in dict.fromkeys(_bounds("", value)))
