"""Text that is safe to print: names and values of strangers move no cursor."""

import unicodedata

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
