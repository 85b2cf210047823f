"""Safe output on a terminal: text without control characters, and progress bars."""

import sys
import unicodedata
from collections.abc import Iterable

# Control, format (such as right-to-left), surrogate, line and paragraph separator.
ESCAPED = ("Cc", "Cf", "Cs", "Zl", "Zp")


def printable(text: str, keep: str = "") -> str:
    """Returns `text` with control characters escaped, such as `\\x1b`.

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
    """Returns `items` with a progress bar, if tqdm is installed.

    It need not be on machines that only train on a packed file.

    Args:
        items: The items to process one by one.
        what: The work, such as "decoding".
        unit: One item, such as "image".
    """
    try:
        from tqdm import tqdm
    except ModuleNotFoundError:
        return items
    return tqdm(items, desc=what, unit=unit, disable=None)
