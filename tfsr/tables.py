"""Tables and their cells as text."""

from collections.abc import Iterable


def mult_adds(count: int) -> str:
    """Returns a number of mult-adds in billions, "1.25 G", or in millions, "3.26 M"."""
    return f"{count / 1e9:.2f} G" if count >= 1e8 else f"{count / 1e6:.2f} M"


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Returns a Markdown table.

    Args:
        head: The titles of the columns.
        rows: The cells of each row, as many as titles.
    """
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
