"""Finds where the results of several models differ most."""

from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from tfsr.data import BenchmarkFolder, Pair
from tfsr.pictures import most_different
from tfsr.upscaling.upscalers import Upscaler, from_uint8, upscaled

HR = "HR"


@dataclass(frozen=True)
class Place:
    """A square crop of HR and of the models' results, uint8 `(side, side, C)`."""

    test: str
    image: str
    index: int  # position of the image in its folder
    difference: float  # mean variance among the compared images
    hr: np.ndarray
    results: dict[str, np.ndarray]


def most_different_places(
    upscalers: dict[str, Upscaler],
    tests: dict[str, BenchmarkFolder],
    compared: list[str],
    count: int,
    side: int,
) -> list[Place]:
    """Returns where results differ most: one place per image, largest difference first.

    Args:
        upscalers: Upscalers by name.
        tests: Benchmark folders by name.
        compared: Names of two or more upscalers, or of one upscaler and `HR`.
        count: The largest number of places.
        side: Side of the squares in HR pixels.
    """
    places = []
    for name, test in tests.items():
        pairs = tqdm(test, desc=f"crops of {test.folder}", disable=None)
        for index, pair in enumerate(pairs):
            places.append(_place(name, index, pair, upscalers, compared, side))
    places.sort(key=lambda place: place.difference, reverse=True)
    return places[:count]


def shown(upscaler: Upscaler, pair: Pair) -> np.ndarray:
    """Returns an upscaler's result as a picture, uint8 `(H, W, C)`."""
    return upscaled(upscaler, from_uint8(pair.lr))


def _place(test, index, pair, upscalers, compared, side):
    results = {name: shown(upscaler, pair) for name, upscaler in upscalers.items()}
    images = {HR: pair.hr, **results}
    where = most_different([images[name] for name in compared], side)
    crops = {name: image[where] for name, image in images.items()}
    difference = np.var(np.stack([crops[name] for name in compared]), axis=0).mean()
    return Place(test, pair.name, index, difference, crops.pop(HR), crops)
