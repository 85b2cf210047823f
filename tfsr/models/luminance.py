"""Networks that see the bicubic enlargement of the luma, whatever the scale."""

import keras

PREFIX = "luma"


def luminance_input(scale: int | tuple[int, ...]):
    """Returns the input of a luminance network, `(B, H, W, 1)` in [0, 1].

    Its name says for which scales the network is, as in `luma_x2_x3_x4`.

    Raises:
        ValueError: If a scale is not 2, 3 or 4, or comes twice.
    """
    scales = sorted(scale) if isinstance(scale, (tuple, list)) else [scale]
    if not scales or len(set(scales)) < len(scales) or not set(scales) <= {2, 3, 4}:
        raise ValueError(
            f"`scale` must be 2, 3 or 4, or several of them. Received: scale={scale}."
        )
    name = "_".join([PREFIX, *(f"x{s}" for s in scales)])
    return keras.Input((None, None, 1), name=name)


def luminance_scales(model: keras.Model) -> tuple[int, ...]:
    """Returns the scales of a luminance network, none of any other model."""
    prefix, *scales = model.inputs[0].name.split("_")
    if prefix != PREFIX:
        return ()
    return tuple(int(s.removeprefix("x")) for s in scales)


def check_channels(channels: int) -> None:
    """Raises `ValueError` where a luminance network is not asked for one channel."""
    if channels != 1:
        raise ValueError(
            f"`channels` must be 1, the luma. Received: channels={channels}."
        )
