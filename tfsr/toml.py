"""Writes TOML, as the standard library only reads it."""

import json
import re


def to_toml(tables: dict[str, dict]) -> str:
    """Returns TOML that reads as `tables`, tables of values by name."""
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
    return str(value)  # as TOML has numbers and dates


def _text(text):
    # JSON leaves the last control character of ASCII as it is.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
