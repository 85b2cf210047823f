"""The reach of a feature map's pixels: which LR pixels they depend on."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction


@dataclass(frozen=True)
class Reach:
    """The LR pixels that a pixel of a feature map depends on.

    A grid of cells begins at the image's corner. A pixel depends on LR pixels in the
    cell that holds it and at most `radius` outside. All lengths are in LR pixels.

    Attributes:
        radius: Infinite if it is unknown or if a pixel sees the whole image.
        cell: Side of the grid's cells, a multiple of `pixel`.
        pixel: Side of the map's own pixels. None if the tensor is no map but, for
            example, a vector of the whole image.
    """

    radius: Fraction | float
    cell: Fraction
    pixel: Fraction | None

    def on(self, cell: Fraction) -> "Reach":
        """Returns the same reach on a grid of other cells, multiples of `pixel` too."""
        if self.pixel is None:
            return self
        nested = cell % self.cell == 0
        radius = self.radius if nested else self.radius + self.cell - self.pixel
        return Reach(radius, cell, self.pixel)

    def with_neighbours(self, pixels: int) -> "Reach":
        """Returns the reach of an operation that reads `pixels` more on each side."""
        if pixels == 0 or self.pixel is None:
            return self
        own = self.on(self.pixel)
        return Reach(own.radius + pixels * self.pixel, self.pixel, self.pixel)

    def interpolated(self, factor: Fraction) -> "Reach":
        """Returns the reach after bilinear resizing by `factor`, half-pixel centers."""
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
        """Returns the reach after a resizing by `factor` that reads no neighbours.

        This may be a pixel shuffle, its inverse, or the repetition of pixels.
        """
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
    """Returns the reach of a pixelwise operation on several tensors.

    If one of them is no map, such as the mean of an image, the radius is infinite.
    """
    reaches = list(reaches)
    maps = [reach for reach in reaches if reach.pixel is not None]
    if not maps:
        return NO_MAP
    cell = max(reach.cell for reach in maps)
    radius = max(reach.on(cell).radius for reach in maps)
    pixel = min(reach.pixel for reach in maps if reach.pixel is not None)
    return Reach(radius if len(maps) == len(reaches) else math.inf, cell, pixel)
