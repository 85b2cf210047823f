"""How far a pixel of a feature map sees: which LR pixels it depends on."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction


@dataclass(frozen=True)
class Reach:
    """Where the LR pixels lie that a pixel of a feature map depends on.

    At most `radius` outside the cell that holds the pixel, of a grid that begins at the
    corner of the image. All lengths are in LR pixels.

    Attributes:
        radius: Infinite where it is unknown, or where a pixel sees the whole image.
        cell: Side of the grid's cells, a multiple of `pixel`.
        pixel: Side of the map's own pixels. None of what is no map: a vector of the
            whole image.
    """

    radius: Fraction | float
    cell: Fraction
    pixel: Fraction | None

    def on(self, cell: Fraction) -> "Reach":
        """Returns the reach by a grid of other cells, also multiples of `pixel`."""
        if self.pixel is None:
            return self
        nested = cell % self.cell == 0
        radius = self.radius if nested else self.radius + self.cell - self.pixel
        return Reach(radius, cell, self.pixel)

    def with_neighbours(self, pixels: int) -> "Reach":
        """Returns the reach of a pixel and so many on each side of it."""
        if pixels == 0 or self.pixel is None:
            return self
        own = self.on(self.pixel)
        return Reach(own.radius + pixels * self.pixel, self.pixel, self.pixel)

    def interpolated(self, factor: Fraction) -> "Reach":
        """Returns the reach of a map enlarged by `factor`, bilinear, half-pixel."""
        if self.pixel is None:
            return self
        own = self.on(self.pixel)
        beyond = Fraction(0)  # how far the pixels it reads lie outside of a new pixel
        for i in range(factor.numerator):  # then it repeats
            position = (i + Fraction(1, 2)) / factor - Fraction(1, 2)
            first, last = math.floor(position), math.ceil(position)
            beyond = max(beyond, i / factor - first, last + 1 - (i + 1) / factor)
        pixel = self.pixel / factor
        return Reach(own.radius + beyond * self.pixel, pixel, pixel)

    def resized(self, factor: Fraction | int) -> "Reach":
        """Returns the reach of a map enlarged by `factor`, each pixel by itself."""
        if self.pixel is None:
            return self
        pixel = self.pixel / factor
        cell = self.cell if self.cell % pixel == 0 else pixel
        return Reach(self.on(cell).radius, cell, pixel)

    def unbounded(self) -> "Reach":
        """Returns the reach of a map whose pixels may see the whole image."""
        return replace(self, radius=math.inf)


LR = Reach(Fraction(0), Fraction(1), Fraction(1))
NO_MAP = Reach(math.inf, Fraction(1), None)


def joined(reaches: Iterable[Reach]) -> Reach:
    """Returns the reach of what is computed from several maps, pixel by pixel.

    What is no map, such as the mean of an image, takes the pixels of the others.
    """
    reaches = list(reaches)
    maps = [reach for reach in reaches if reach.pixel is not None]
    if not maps:
        return NO_MAP
    cell = max(reach.cell for reach in maps)
    radius = max(reach.on(cell).radius for reach in maps)
    pixel = min(reach.pixel for reach in maps if reach.pixel is not None)
    return Reach(radius if len(maps) == len(reaches) else math.inf, cell, pixel)
