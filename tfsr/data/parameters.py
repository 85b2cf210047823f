"""Parameters of degradations: their allowed values, and how images draw from them.

A degradation is a dataclass whose parameters have types such as `Annotated[float,
Share()]`: the Python type and the allowed values.
"""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Numbers:
    """A finite number, or a range `[low, high]` from which each image draws a number.

    Attributes:
        low: The lowest.
        high: The highest.
        above: Whether a number, or the upper end of a range, must exceed `low`.
        whole: Whether numbers must be whole.
    """

    low: float
    high: float = math.inf
    above: bool = False
    whole: bool = False

    def __contains__(self, value: Any) -> bool:
        kind = Integral if self.whole else Real
        bounds = ends(value)
        if len(bounds) != 2 or not all(isinstance(b, kind) for b in bounds):
            return False
        low, high = bounds
        known = self.low <= low <= high <= self.high and high < math.inf
        return known and (high > self.low or not self.above)

    def __str__(self):
        bounds = [f"{'above' if self.above else 'from'} {self.low:g}"]
        if self.high < math.inf:
            bounds.append(f"{'and at most' if self.above else 'to'} {self.high:g}")
        return f"{' '.join(bounds)}, or [low, high]"

    def draws(self, value: Any) -> bool:
        """Returns whether each image draws from this value at random."""
        return isinstance(value, list | tuple)


@dataclass(frozen=True)
class Share:
    """A share of the images, from 0 to 1."""

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, Real) and 0 <= float(value) <= 1

    def __str__(self):
        return "from 0 to 1"

    def draws(self, value: float) -> bool:
        """Returns whether each image draws from this value at random."""
        return 0 < value < 1


@dataclass(frozen=True)
class Choice:
    """One of several names, or a list of them from which each image draws one."""

    names: tuple[str, ...]

    def __contains__(self, value: Any) -> bool:
        names = value if self.draws(value) else [value]
        return bool(names) and all(name in self.names for name in names)

    def __str__(self):
        return f"one of {', '.join(self.names)}"

    def draws(self, value: Any) -> bool:
        """Returns whether each image draws from this value at random."""
        return isinstance(value, list | tuple)


def check(owner: Any) -> None:
    """Raises a `ValueError` if a parameter of a dataclass has a value not allowed."""
    for name, value, values in _parameters(owner):
        if value not in values:
            raise ValueError(f"`{name}` must be {values}. Received: {name}={value}.")


def fixed(owner: Any) -> dict[str, Any]:
    """Returns the parameters of a dataclass that are equal for every image."""
    return {
        name: value
        for name, value, values in _parameters(owner)
        if not values.draws(value)
    }


def _parameters(owner):
    """Yields the name, the value and the allowed values of each parameter."""
    for field in dataclasses.fields(owner):
        for values in getattr(field.type, "__metadata__", ()):
            yield field.name, getattr(owner, field.name), values


def ends(value: Any) -> Sequence:
    """Returns the bounds of a range; of a number, the number twice."""
    return value if isinstance(value, list | tuple) else (value, value)


def happens(share: float, rng: np.random.Generator) -> bool:
    """Returns True with probability `share`; draws nothing if that is 0 or 1."""
    return share == 1 or (share > 0 and rng.random() < share)


def chosen(names: str | list[str], rng: np.random.Generator) -> str:
    """Returns a random one of several names, or the only one."""
    return names if isinstance(names, str) else names[rng.integers(len(names))]


def span(value: Any) -> str:
    """Returns a number or a range in words, such as "5 to 30"."""
    return " to ".join(f"{v:g}" for v in dict.fromkeys(ends(value)))


def either(names: str | list[str]) -> str:
    """Returns a name or several in words, such as "4:2:0 or 4:4:4"."""
    return names if isinstance(names, str) else " or ".join(names)


def in_part(word: str, share: float) -> list[str]:
    """Returns a word with its share of the images, such as "gray in 0.4"."""
    if share in (0, 1):
        return [word] * int(share)
    return [f"{word} in {share:g}".lstrip()]
