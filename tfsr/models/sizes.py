"""Checks of the arguments that networks are built with."""


def check_positive(**sizes: int) -> None:
    """Raises `ValueError` unless each of `sizes` is a positive integer."""
    for name, value in sizes.items():
        if type(value) is not int or value < 1:
            raise ValueError(
                f"`{name}` must be a positive integer. Received: {name}={value}."
            )


def check_channels(channels: int) -> None:
    """Raises `ValueError` unless `channels` are those of gray or RGB images."""
    if channels not in (1, 3):
        raise ValueError(f"`channels` must be 1 or 3. Received: channels={channels}.")
