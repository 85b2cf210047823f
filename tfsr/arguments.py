"""Checks of the arguments of public functions; a mistake is named in one line."""

from collections.abc import Iterable, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

from tfsr.errors import InputError


def whole(name: str, value: Any, least: int = 1) -> int:
    """Returns an argument that must be a whole number of `least` or more.

    Raises:
        InputError: If it is not; names the argument by `name`, as all here do.
    """
    number = isinstance(value, Integral) and not isinstance(value, bool)
    if not number or value < least:
        raise InputError(
            f"`{name}` must be a whole number, {least} or more. "
            f"Received: {name}={value!r}."
        )
    return int(value)


def wholes(name: str, values: Any, least: int = 1) -> list[int]:
    """Returns an argument that must be one or more whole numbers in a list or tuple."""
    if isinstance(values, str) or not isinstance(values, Iterable) or not [*values]:
        raise InputError(
            f"`{name}` must be a list of whole numbers. Received: {name}={values!r}."
        )
    return [whole(name, value, least) for value in values]


def size(name: str, value: Any, otherwise: str = "") -> tuple[int, int]:
    """Returns an argument that must be a height and a width in pixels.

    Args:
        name: The argument.
        value: Its value.
        otherwise: What else the argument may be, for the message.
    """
    sides = [*value] if isinstance(value, Sequence) else []
    if isinstance(value, str) or len(sides) != 2:
        raise InputError(
            f"`{name}` must be height and width, such as (180, 320){otherwise}. "
            f"Received: {name}={value!r}."
        )
    height, width = (whole(name, side) for side in sides)
    return height, width


def path(name: str, value: Any) -> Path:
    """Returns an argument that must be a path."""
    if not isinstance(value, str | Path) or value == "":
        raise InputError(f"`{name}` must be a path. Received: {name}={value!r}.")
    return Path(value)


def paths(name: str, values: Any) -> list[Path]:
    """Returns an argument that must be a path, or one or more in a list or tuple."""
    listed = isinstance(values, Sequence) and not isinstance(values, str)
    values = values if listed else [values]
    if not values:
        raise InputError(f"`{name}` must name one or more. Received: {name}=[].")
    return [path(name, value) for value in values]


def texts(name: str, values: Any) -> list[str]:
    """Returns an argument that must be texts in a list or tuple, and not one text."""
    listed = isinstance(values, Sequence) and not isinstance(values, str)
    if not listed or not all(isinstance(value, str) for value in values):
        raise InputError(
            f"`{name}` must be a list of texts. Received: {name}={values!r}."
        )
    return [*values]
