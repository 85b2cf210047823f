"""Random aligned patches; step n always gives the same batch."""

from typing import Any

import numpy as np

from tfsr.data.cache import ImageCache, WithSynthetic
from tfsr.data.degradation_type import BICUBIC, Degradation, after_bicubic
from tfsr.errors import InputError


class PatchSampler:
    """Draws batches of LR and HR patches, one batch per scale.

    Images are drawn with equal probability, positions uniformly; patches are flipped
    and rotated by quarter turns at random. Steps of the degradation that the cached LR
    lacks (all of them in restoration) are applied to each patch before it is rotated,
    so noise is always new. A batch depends only on the seed and the step, so a resumed
    training sees the same batches as an uninterrupted one.

    Args:
        images: The cached images; with LR if the degradation begins with bicubic.
        patch: Side of an LR patch in pixels; the HR patch is `scale` times larger.
        batch: Patches per scale.
        seed: Any non-negative integer.
        degradation: Makes LR from HR.

    Raises:
        InputError: If every image is smaller than a patch. `skipped` counts, per scale,
            the images that are too small.
    """

    def __init__(
        self,
        images: ImageCache | WithSynthetic,
        patch: int,
        batch: int,
        seed: int = 0,
        degradation: Degradation = BICUBIC,
    ):
        self.images = images
        self.patch = patch
        self.batch = batch
        self.seed = seed
        self.degradation = degradation
        self.after_lr = after_bicubic(degradation)
        self.shapes = {s: images.shapes(s) for s in images.scales}
        self.usable = {
            s: [i for i, shape in enumerate(shapes) if min(shape[:2]) >= patch]
            for s, shapes in self.shapes.items()
        }
        self.skipped = {s: len(images) - len(u) for s, u in self.usable.items()}
        for s, usable in self.usable.items():
            if not usable:
                raise InputError(
                    f"no image is large enough for patches of {patch * s} pixels "
                    f"({patch} at x{s}); take larger images or a smaller `patch`."
                )

    def __getitem__(self, step: int) -> tuple:
        """Returns the LR and the HR batches of one step.

        For one scale they are float32 arrays in [0, 1], `(batch, patch, patch, C)` and
        `(batch, patch * s, patch * s, C)`. For several scales they are dicts of such
        arrays by the model's inputs and outputs: `{"lr_x2": ...}`, `{"sr_x2": ...}`.
        """
        return self.share(step, 0, 1)

    def share(self, step: int, part: int, parts: int) -> tuple:
        """Returns part number `part` of a step's batches, split into `parts`."""
        return in_unit_range(self.draw(step, part, parts))

    def draw(self, step: int, part: int, parts: int) -> tuple:
        """Returns the same in 0 to 255 as uint8; LR is float32 with unrounded noise."""
        rng = np.random.default_rng([self.seed, step])
        batches = {s: self._batch(rng, s, part, parts) for s in self.images.scales}
        if len(batches) == 1:
            return next(iter(batches.values()))
        return (
            {f"lr_x{s}": lr for s, (lr, _) in batches.items()},
            {f"sr_x{s}": hr for s, (_, hr) in batches.items()},
        )

    def _batch(self, rng, scale, part, parts):
        places = [self._place(rng, scale) for _ in range(self.batch)]
        size = self.batch // parts
        share = slice(part * size, (part + 1) * size)
        # Only degrading a patch needs further random numbers; shrinking does not.
        own = [None] * self.batch
        if self.after_lr is None or self.after_lr.steps:
            own = rng.spawn(self.batch)
        patches = [
            self._cut(scale, own_rng, *place)
            for own_rng, place in zip(own[share], places[share], strict=True)
        ]
        lr, hr = (np.stack(side) for side in zip(*patches, strict=True))
        # In a chain some patches, by chance even all, may have no noise.
        return (lr.astype(np.float32) if self.degradation.fractional else lr), hr

    def _place(self, rng, scale):
        # As `rng.choice`, which would make an array of the whole list.
        position = self.usable[scale][rng.integers(len(self.usable[scale]))]
        h, w, _ = self.shapes[scale][position]
        y = rng.integers(h - self.patch + 1)
        x = rng.integers(w - self.patch + 1)
        return position, y, x, rng.integers(2), rng.integers(4)

    def _cut(self, scale, rng, position, y, x, flip, turns):
        pair = self.images.pair(position, scale)
        size = self.patch
        if self.after_lr is None:
            place = (pair.hr, y, x, size, rng, scale)
            lr = degraded_patch(self.degradation, *place)
        else:
            lr = degraded_patch(self.after_lr, pair.lr, y, x, size, rng)
        hr = pair.hr[y * scale :, x * scale :][: size * scale, : size * scale]
        return [np.rot90(side[:, ::-1] if flip else side, turns) for side in (lr, hr)]


def in_unit_range(batches: Any) -> Any:
    """Returns arrays in 0 to 255, or dicts of them, as float32 in [0, 1]."""
    if isinstance(batches, tuple):
        return tuple(map(in_unit_range, batches))
    if isinstance(batches, dict):
        return {key: in_unit_range(batch) for key, batch in batches.items()}
    return batches.astype(np.float32) / np.float32(255)


def degraded_patch(
    degradation: Degradation,
    hr: np.ndarray,
    y: int,
    x: int,
    side: int,
    rng: np.random.Generator,
    scale: int = 1,
) -> np.ndarray:
    """Returns a square of the degraded `hr` without degrading the whole image.

    Each step makes the blocks that the next one needs, so that JPEG gives the same
    pixels as for the whole image.

    Args:
        degradation: The degradation to apply.
        hr: `(H, W, C)`, its sides multiples of `scale`.
        y: First row of the square in the degraded image.
        x: First column.
        side: Its side in pixels.
        rng: Random generator of noise and parameters.
        scale: The factor of the step that shrinks.
    """
    steps = degradation.steps
    factors = [scale if step.shrinks else 1 for step in steps]
    size = [n // scale if degradation.shrinks else n for n in hr.shape[:2]]
    needed = [[(y, y + side), (x, x + side)]]
    for step, factor in zip(steps[::-1], factors[::-1], strict=True):
        size = [n * factor for n in size]
        spans = zip(needed[0], size, strict=True)
        needed.insert(0, [_source(step, factor, *span, n) for span, n in spans])
    image = _cut(hr, *needed[0])
    for i, (step, factor) in enumerate(zip(steps, factors, strict=True)):
        image = step(image, scale, rng)
        corners = [start // factor for start, _ in needed[i]]
        spans = zip(needed[i + 1], corners, strict=True)
        image = _cut(image, *((a - corner, b - corner) for (a, b), corner in spans))
    return image


def _source(step, factor, start, stop, length):
    """Returns the span, within `length`, of input pixels that a step needs."""
    block = step.block
    start = (start - step.radius) // block * block * factor
    stop = -(-(stop + step.radius) // block) * block * factor
    return max(0, start), min(length, stop)


def _cut(image, rows, columns):
    return image[slice(*rows), slice(*columns)]
