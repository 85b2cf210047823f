"""The receptive field of a feature map: which LR pixels its pixels depend on."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction


@dataclass(frozen=True)
class ReceptiveField:
    """The LR pixels that a pixel of a feature map depends on.

    A grid of cells begins at the image's corner. A pixel depends on LR pixels in the
    cell that holds it and at most `radius` outside. All lengths are in LR pixels.

    Attributes:
        radius: Infinite if it is unknown or if a pixel sees the whole image.
        cell: Side of the grid's cells, a multiple of `pixel`.
        pixel: Side of the map's own pixels. None if the tensor has no spatial axes,
            such as a vector that describes the whole image.
    """

    radius: Fraction | float
    cell: Fraction
    pixel: Fraction | None

    def on(self, cell: Fraction) -> "ReceptiveField":
        """Returns the same field on another grid, whose cells are whole pixels."""
        if self.pixel is None:
            return self
        nested = cell % self.cell == 0
        radius = self.radius if nested else self.radius + self.cell - self.pixel
        return ReceptiveField(radius, cell, self.pixel)

    def with_neighbours(self, pixels: int) -> "ReceptiveField":
        """Returns the field of an operation that reads `pixels` more on each side."""
        if pixels == 0 or self.pixel is None:
            return self
        own = self.on(self.pixel)
        return ReceptiveField(own.radius + pixels * self.pixel, self.pixel, self.pixel)

    def interpolated(self, factor: Fraction) -> "ReceptiveField":
        """Returns the field after bilinear resizing by `factor`, half-pixel centers."""
        if self.pixel is None:
            return self
        own = self.on(self.pixel)
        beyond = Fraction(0)  # how far the pixels that it reads extend beyond it
        for i in range(factor.numerator):  # the pattern then repeats
            position = (i + Fraction(1, 2)) / factor - Fraction(1, 2)
            first, last = math.floor(position), math.ceil(position)
            beyond = max(beyond, i / factor - first, last + 1 - (i + 1) / factor)
        pixel = self.pixel / factor
        return ReceptiveField(own.radius + beyond * self.pixel, pixel, pixel)

    def resized(self, factor: Fraction | int) -> "ReceptiveField":
        """Returns the field after a resizing by `factor` that reads no neighbours.

        This may be a pixel shuffle, its inverse, or the repetition of pixels.
        """
        if self.pixel is None:
            return self
        pixel = self.pixel / factor
        cell = self.cell if self.cell % pixel == 0 else pixel
        return ReceptiveField(self.on(cell).radius, cell, pixel)

    def unbounded(self) -> "ReceptiveField":
        """Returns the field of a map whose pixels may depend on the whole image."""
        return replace(self, radius=math.inf)


LR = ReceptiveField(Fraction(0), Fraction(1), Fraction(1))
NOT_SPATIAL = ReceptiveField(math.inf, Fraction(1), None)


def joined(fields: Iterable[ReceptiveField]) -> ReceptiveField:
    """Returns the receptive field of a pixelwise operation on several tensors.

    The radius is infinite if one of them is not spatial, such as the mean of an image.
    """
    fields = list(fields)
    maps = [field for field in fields if field.pixel is not None]
    if not maps:
        return NOT_SPATIAL
    cell = max(field.cell for field in maps)
    radius = max(field.on(cell).radius for field in maps)
    pixel = min(field.pixel for field in maps if field.pixel is not None)
    return ReceptiveField(radius if len(maps) == len(fields) else math.inf, cell, pixel)
