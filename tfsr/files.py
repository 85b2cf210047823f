"""Files that are whole or not there."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(file: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `file`, renamed to it if the block succeeds.

    The temporary name keeps all endings of `file`, since writers choose by them.
    """
    file = Path(file)
    temporary = file.with_name(f"tmp-{os.getpid()}-{file.name}")
    try:
        yield temporary
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(file: str | Path, text: str) -> None:
    """Writes `text` to `file`, or leaves it as it was."""
    with replacing(file) as temporary:
        temporary.write_text(text)


def write_json(file: str | Path, value: dict) -> None:
    """Writes `value` as JSON, infinite numbers as the string "inf"."""
    write_text(file, to_json(value) + "\n")


def to_json(value: dict) -> str:
    """Returns `value` as indented JSON, infinite numbers as the string "inf"."""
    return json.dumps(_finite(value), indent=2)


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return "inf" if value == float("inf") else value
