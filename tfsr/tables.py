"""Tables as text."""

from collections.abc import Iterable


def markdown(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Returns a Markdown table.

    Args:
        head: The titles of the columns.
        rows: The cells of each row, as many as titles.
    """
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
