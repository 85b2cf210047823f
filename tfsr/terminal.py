"""What a terminal shows: text that moves no cursor, whoever wrote it, and progress."""

import sys
import unicodedata
from collections.abc import Iterable

# Control, format (such as reversed writing), lone surrogates, line and paragraph ends.
ESCAPED = ("Cc", "Cf", "Cs", "Zl", "Zp")


def printable(text: str, keep: str = "") -> str:
    """Returns `text` with what a terminal would obey written as `\\x1b`.

    Args:
        text: Any text.
        keep: Characters that stay as they are.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character
        if character in keep or unicodedata.category(character) not in ESCAPED
        else ascii(character)[1:-1]
        for character in text
    )


def say(message: str) -> None:
    """Prints `message` as a line on standard error."""
    print(printable(message, keep="\n"), file=sys.stderr)


def duration(seconds: float) -> str:
    """Returns a duration in words, such as "45 s", "12 min" or "3 h 20 min"."""
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def progress(items: Iterable, what: str, unit: str) -> Iterable:
    """Returns `items`, which show a progress bar as they are taken if tqdm is there.

    It is not where a packed file is trained on with little more than Keras.

    Args:
        items: What is worked on one by one.
        what: The work, such as "decoding".
        unit: One item, such as "image".
    """
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        return items
    return tqdm(items, desc=what, unit=unit, disable=None)
