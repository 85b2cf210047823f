"""Writes TOML, overrides its values and checks their types."""

import dataclasses
import itertools
import json
import re
import tomllib
import types
import typing
from pathlib import Path
from typing import Any

from tfsr.errors import InputError


def to_toml(tables: dict[str, dict]) -> str:
    """Returns `tables`, tables of values by name, as TOML."""
    parts = (
        "\n".join([f"[{name}]", *_items(table), ""]) for name, table in tables.items()
    )
    return "\n".join(parts)


def _items(table):
    return [
        f"{key if _is_bare(key) else _text(key)} = {_value(value)}"
        for key, value in table.items()
    ]


def _is_bare(key):
    return re.fullmatch(r"[\w-]+", key, re.ASCII)


def _value(value):
    match value:
        case dict():
            return f"{{ {', '.join(_items(value))} }}"
        case list():
            return f"[{', '.join(map(_value, value))}]"
        case str():
            return _text(value)
        case bool():
            return str(value).lower()
    return str(value)  # numbers and dates


def _text(text):
    # JSON does not escape the last control character of ASCII.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def set_value(tables: dict[str, dict], override: str) -> None:
    """Sets one value in `tables` by an override, `section.key=value`.

    The value is TOML; other text becomes a string.

    Raises:
        InputError: If `override` has another form or its section is not a table.
    """
    target, separator, value = override.partition("=")
    section, dot, key = target.strip().partition(".")
    if not (separator and dot and section and key):
        raise InputError(
            f"override {override}: must be section.key=value, such as train.epochs=3."
        )
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        parsed = value.strip()
    table = tables.setdefault(section, {})
    if not isinstance(table, dict):
        raise InputError(f"override {override}: [{section}] is not a table.")
    table[key] = parsed


def header(text: str) -> str:
    """Returns the comments at the beginning of a TOML file."""
    lines = text.splitlines(keepends=True)
    return "".join(itertools.takewhile(lambda line: line.startswith("#"), lines))


def read_section(kind: Any, section: str, table: dict, file: str | Path) -> Any:
    """Returns a table of a TOML file as an instance of the dataclass `kind`.

    Args:
        kind: A dataclass; its type hints say what each value must be.
        section: The name of the table.
        table: Its values by key.
        file: The file, for messages.

    Raises:
        InputError: If a key is unknown or missing, or a value is not allowed.
    """
    fields = {f.name: f for f in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    for key, value in table.items():
        if key not in fields:
            raise InputError(
                f"{file}: [{section}] has no key {key!r}; allowed: {', '.join(fields)}."
            )
        if not fits(value, hints[key]):
            raise InputError(
                f"{file}: [{section}] {key} must be {in_words(hints[key])}, "
                f"not {value!r}."
            )
    for key, f in fields.items():
        required = f.default is f.default_factory is dataclasses.MISSING
        if required and key not in table:
            raise InputError(f"{file}: [{section}] needs the key {key!r}.")
    try:
        return kind(**table)
    except ValueError as error:
        raise InputError(f"{file}: [{section}] {error}") from None


def fits(value: Any, hint: Any) -> bool:
    """Returns whether a value read from TOML has the type of a hint."""
    if isinstance(hint, types.UnionType):
        return any(fits(value, part) for part in typing.get_args(hint))
    if typing.get_origin(hint) is list:
        (item,) = typing.get_args(hint)
        return isinstance(value, list) and all(fits(v, item) for v in value)
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def in_words(hint: Any) -> str:
    """Returns the type of a hint in words, such as "a list of numbers"."""
    names = {
        bool: "true or false",
        int: "an integer",
        float: "a number",
        str: "a text",
        dict: "a table",
    }
    if isinstance(hint, types.UnionType):
        return " or ".join(
            in_words(p) for p in typing.get_args(hint) if p is not type(None)
        )
    if typing.get_origin(hint) is list:
        _, _, noun = in_words(*typing.get_args(hint)).partition(" ")
        example = ' such as ["a", "b"]' if noun == "text" else ""
        return f"a list of {noun}s{example}"
    return names[hint]
