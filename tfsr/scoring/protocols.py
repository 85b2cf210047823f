"""The evaluation protocols by name: the images of each, and what is shaved of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """What an upscaler is scored on.

    Attributes:
        channels: Those of the images: 3, 1, or "y" for luma without rounding.
        enlarges: Whether it is for super-resolution; else for restoration.
        border: Pixels shaved from each side beyond the usual, which is the scale in
            super-resolution and none in restoration.
    """

    channels: int | str
    enlarges: bool
    border: int = 0

    def suits(self, scale: int, channels: int | str) -> bool:
        """Returns whether images of this scale and these channels are scored so."""
        return self.channels == channels and self.enlarges == (scale > 1)


PROTOCOLS = {
    "sr_y": Protocol(3, True),
    "sr_rgb": Protocol(3, True, border=6),  # DIV2K's
    "sr_gray": Protocol(1, True),
    "luma": Protocol("y", True),
    "color": Protocol(3, False),
    "gray": Protocol(1, False),
}


def usual(scale: int, channels: int | str) -> str:
    """Returns the name of the protocol that images are scored by if none is asked for.

    Args:
        scale: The upscaling factor; 1 in restoration.
        channels: Those of the images: 1, 3 or "y".
    """
    suited = (name for name, p in PROTOCOLS.items() if p.suits(scale, channels))
    return next(suited)
