"""The photographs that come with scikit-image, which need no download."""

from importlib import resources
from pathlib import Path

TRAINING = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "ihc.png",
    "motorcycle_left.png",
    "page.png",
    "rocket.jpg",
)
HELD_OUT = ("chelsea.png", "coffee.png")


def photographs(names: tuple[str, ...]) -> list[Path]:
    """Returns the files of the named photographs of `skimage.data`."""
    return [Path(str(resources.files("skimage.data") / name)) for name in names]
