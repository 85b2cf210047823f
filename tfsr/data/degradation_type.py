"""The type of all degradations, which turn an HR image into a network's input.

A degradation is the task of a network. The kinds are in `degradations.py`.

A `Chain` applies several in turn; only one of its steps may shrink, by the scale. Steps
may be listed twice, each with a `probability`, for the second-order degradation of Wang
et al., "Real-ESRGAN", 2021, https://arxiv.org/abs/2107.10833.
"""

from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass, fields
from typing import Annotated, Any, ClassVar

import numpy as np

from tfsr.data.parameters import (
    Share,
    check,
    ends,
    happens,
    in_part,
)
from tfsr.data.resize import imresize
from tfsr.errors import InputError

SLACK = 5  # in quality or 8-bit units: an invisible difference


@dataclass(frozen=True)
class Option:
    """An option of the command line that asks for a degradation.

    Attributes:
        flag: Such as `--jpeg`.
        parameter: The parameter that it sets; the others keep their defaults.
        metavar: Placeholder of the value in the help.
        help: What it degrades by, in words.
        parse: Function from text to value; raises a `ValueError` on wrong text.
    """

    flag: str
    parameter: str
    metavar: str
    help: str
    parse: Callable[[str], Any]


@dataclass(frozen=True)
class Degradation:
    """Makes a degraded image: called with an image, a scale and a random generator.

    Images are `(H, W, C)` in 0 to 255: uint8, or float32 after a step that leaves
    fractions. The result has the size of the image, or `1 / scale` of it.

    Attributes:
        name: What configs and reports call it.
        shrinks: Whether the result has `1 / scale` of the image's size.
        block: Side of the pixel grid that the degradation works on; patches must start
            on the grid.
        radius: A pixel of the result depends on pixels at most this far from its own,
            counted in pixels of the result, and on the rest of their blocks.
        fractional: Whether the result can have fractions and values outside 0 to 255,
            unless the degradation is `rounded`.
        of_luma: Whether a one-channel network restores the luma of colour images, not
            each of R, G and B.
        metrics: Keys of `tfsr.metrics.METRICS` that papers add to PSNR and SSIM.
        option: Its option of the command line, if it has one.
    """

    name: ClassVar[str]
    shrinks: ClassVar[bool] = False
    block: ClassVar[int] = 1
    radius: ClassVar[int] = 0
    fractional: ClassVar[bool] = False
    of_luma: ClassVar[bool] = False
    metrics: ClassVar[tuple[str, ...]] = ()
    option: ClassVar[Option | None] = None

    def __post_init__(self) -> None:
        check(self)

    def __call__(
        self, hr: np.ndarray, scale: int, rng: np.random.Generator
    ) -> np.ndarray:
        raise NotImplementedError

    @property
    def steps(self) -> tuple["Degradation", ...]:
        """The degradations to apply in turn: itself, or the parts of a chain."""
        return (self,)

    @property
    def in_short(self) -> str:
        """The degradation in words, without details in brackets."""
        return str(self).partition(" (")[0]

    @property
    def levels(self) -> tuple[float, float] | None:
        """The range of levels that a network trained on this restores well.

        A level is a value of the parameter that `option` sets; None without an option.
        Outside the range the network blurs or leaves artifacts.
        """
        if self.option is None:
            return None
        low, high = ends(getattr(self, self.option.parameter))
        return low - SLACK, high + SLACK

    def suits(self, level: float) -> bool:
        """Returns whether a network trained on this restores images of a level well."""
        return self.levels is not None and self.levels[0] <= level <= self.levels[1]

    def rounded(self) -> "Degradation":
        """Returns the same degradation with results clipped and rounded to 8 bits."""
        return self

    def published(self, scale: int) -> str:
        """Returns the name of the task in `published.toml`."""
        return str(self)


@dataclass(frozen=True)
class Bicubic(Degradation):
    """Shrinks by MATLAB's bicubic `imresize`: the task of super-resolution."""

    name: ClassVar = "bicubic"
    shrinks: ClassVar = True
    radius: ClassVar = 2

    def __call__(self, hr, scale, rng):
        return imresize(hr, 1 / scale)

    def published(self, scale):
        return f"x{scale}"

    def __str__(self):
        return "bicubic"


@dataclass(frozen=True)
class SameSize(Degradation):
    """A degradation that keeps the size, and may leave an image as it is.

    Args:
        probability: Share of the images that are degraded.
    """

    _: KW_ONLY
    probability: Annotated[float, Share()] = 1.0

    def __call__(self, hr, scale, rng):
        return self._degraded(hr, rng) if happens(self.probability, rng) else hr

    def _degraded(self, hr, rng):
        raise NotImplementedError

    def _said(self, words, *details):
        """Returns `words`, followed by unusual parameters in brackets."""
        sometimes = in_part("", self.probability) if self.probability < 1 else []
        return said(words, [*details, *sometimes])


@dataclass(frozen=True)
class Chain(Degradation):
    """Applies degradations in turn.

    Args:
        parts: The degradations; at most one may shrink.
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

    def rounded(self):
        return Chain(tuple(step.rounded() for step in self.steps))

    def __str__(self):
        return ", ".join(map(str, self.steps))


BICUBIC = Bicubic()


def chain(steps: Iterable[Degradation]) -> Degradation:
    """Returns the chain of `steps`, or the step itself if there is only one."""
    steps = tuple(steps)
    return steps[0] if len(steps) == 1 else Chain(steps)


def to_table(degradation: Degradation) -> dict | list[dict]:
    """Returns a table of `name` and parameters; for a chain, a list of tables.

    Configs, reports and `.tflite` files hold such tables. Keyword-only parameters are
    left out where they have their defaults.
    """
    tables = [
        {
            "name": step.name,
            **{
                field.name: getattr(step, field.name)
                for field in fields(step)
                if not (field.kw_only and getattr(step, field.name) == field.default)
            },
        }
        for step in degradation.steps
    ]
    return tables if isinstance(degradation, Chain) else tables[0]


def check_kind(degradation: Degradation) -> None:
    """Raises an `InputError` unless `degradation` is one."""
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


def after_bicubic(degradation: Degradation) -> Chain | None:
    """Returns the steps after bicubic; None if bicubic is not the first step."""
    first, *rest = degradation.steps
    return Chain(tuple(rest)) if first == BICUBIC else None


def said(words: str, details: Iterable[str]) -> str:
    """Returns `words`, followed by any details in brackets."""
    told = "; ".join(filter(None, details))
    return f"{words} ({told})" if told else words
