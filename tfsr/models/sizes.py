"""Checks of the sizes that networks are built with."""


def check_positive(**sizes: int) -> None:
    """Raises `ValueError` unless each of `sizes` is a positive integer."""
    for name, value in sizes.items():
        if type(value) is not int or value < 1:
            raise ValueError(
                f"`{name}` must be a positive integer. Received: {name}={value}."
            )
