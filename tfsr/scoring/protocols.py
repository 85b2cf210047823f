"""The evaluation protocols by name."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Protocol:
    """An evaluation protocol.

    Attributes:
        channels: Channels of the images: 3, 1, or "y" for luma without rounding.
        enlarges: Whether it is for super-resolution; otherwise for restoration.
        border: Pixels shaved from each side in addition to the usual border, which is
            the scale in super-resolution and none in restoration.
    """

    channels: int | str
    enlarges: bool
    border: int = 0

    def suits(self, scale: int, channels: int | str) -> bool:
        """Returns whether the protocol is for this scale and these channels."""
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
    """Returns the name of the default protocol.

    Args:
        scale: The upscaling factor; 1 in restoration.
        channels: Channels of the images: 1, 3 or "y".
    """
    suited = (name for name, p in PROTOCOLS.items() if p.suits(scale, channels))
    return next(suited)
