"""Upscalers: what turns one image into its enlargement, whatever runs it."""

from functools import cached_property
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from tfsr.data.degradation import BICUBIC, Degradation
from tfsr.data.resize import imresize, to_integers
from tfsr.errors import InputError, NotFiniteError, naming_memory
from tfsr.upscaling.tiling import Cover, align, pad

if TYPE_CHECKING:
    import keras

UNSURE = 16  # LR pixels that tiles overlap by where a pixel may see the whole image


@runtime_checkable
class Upscaler(Protocol):
    """Turns float32 `(H, W, C)` in [0, 1] into `(H * scale, W * scale, C)`.

    An upscaler of scale 1 restores the image.

    Attributes:
        name: What tables and messages call it.
        scale: The upscaling factor.
        channels: 3 for RGB, 1 for grayscale, "y" for luma.
        depth: Bits of a sample that it tells apart.
        alignment: It pads height and width to multiples of this, in LR pixels.
        radius: An output pixel depends on no LR pixel further than this from its own; a
            multiple of `alignment`.
        radius_is_exact: Whether `radius` is proven. It is not where a pixel may see the
            whole image; tiles may differ from the whole then.
        fixed_size: Height and width of what it runs at, if that is one size; it takes
            other images in tiles of it. None if it runs at any.
        working_bytes: Memory that a run takes for each LR pixel.
        task: The degradation it was made for; None if unknown.
    """

    @property
    def name(self) -> str: ...
    @property
    def scale(self) -> int: ...
    @property
    def channels(self) -> int | str: ...
    @property
    def depth(self) -> int: ...
    @property
    def alignment(self) -> int: ...
    @property
    def radius(self) -> int: ...
    @property
    def radius_is_exact(self) -> bool: ...
    @property
    def fixed_size(self) -> tuple[int, int] | None: ...
    @property
    def working_bytes(self) -> int: ...
    @property
    def task(self) -> Degradation | None: ...

    def __call__(self, lr: np.ndarray) -> np.ndarray: ...


class KerasUpscaler:
    """Runs a Keras model.

    Args:
        model: A model of one or several scales.
        scale: The scale to use.
        channels: "y" for the luma alone, which only a luminance network takes.
        name: What tables call it; the model's name by default.
        task: The degradation that the model was trained on; bicubic by default, of a
            model that restores unknown.

    Raises:
        ValueError: If the model lacks the scale.
    """

    depth = 24  # of float32
    bytes_of_value = 12  # float32, and what convolutions take beside it

    def __init__(
        self,
        model: "keras.Model",
        scale: int,
        channels: int | str | None = None,
        name: str | None = None,
        task: Degradation | None = None,
    ):
        from tfsr.models import single_scale  # a TFLite upscaler needs no Keras

        self.model = single_scale(model, scale, channels)
        self.scale = scale
        self.channels = self.model.input.shape[-1]
        size = tuple(self.model.input.shape[1:3])
        self.fixed_size = None if None in size else size
        self.name = name or self.model.name
        self.task = task or (BICUBIC if scale > 1 else None)

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        from keras import ops

        def run(lr):
            with naming_memory():  # eagerly: `predict` would trace for every size anew
                return ops.convert_to_numpy(self.model(lr[None], training=False)[0])

        lr = as_floats(lr)
        if self.fixed_size == lr.shape[:2]:
            return run(lr)
        if self.fixed_size is None:  # networks of others may not pad themselves
            height, width = (n * self.scale for n in lr.shape[:2])
            return run(pad(lr, self.alignment))[:height, :width]
        cover = Cover(self.fixed_size, self.scale, self.alignment, self.radius)
        return cover.enlarge(run, lr)

    # Training runs networks whose reach is unknown, so it is found when asked for.

    @cached_property
    def alignment(self) -> int:
        from tfsr.graph.footprint import alignment

        return alignment(self.model)

    @cached_property
    def _reach(self):
        from tfsr.graph.footprint import receptive_radius

        return receptive_radius(self.model)

    @property
    def radius(self) -> int:
        return align(UNSURE if self._reach is None else self._reach, self.alignment)

    @property
    def radius_is_exact(self) -> bool:
        return self._reach is not None

    @cached_property
    def working_bytes(self) -> int:
        from tfsr.graph.footprint import working_values

        return self.bytes_of_value * working_values(self.model)


class BicubicUpscaler:
    """Enlarges by MATLAB's bicubic `imresize`: the baseline.

    In 8 bits, but for luma, `channels="y"`, in floats.
    """

    alignment = 1
    depth = 8
    name = "bicubic"
    radius = 3
    radius_is_exact = True
    fixed_size = None
    task = BICUBIC

    def __init__(self, scale: int, channels: int | str = 3):
        self.scale = scale
        self.channels = channels
        self.working_bytes = 64 * scale**2

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        lr = as_floats(lr)
        if self.channels == "y":
            return imresize(lr, self.scale)
        return from_uint8(imresize(to_uint8(lr), self.scale))


class Unchanged:
    """Gives images back as they are: the baseline of restoration."""

    alignment = 1
    depth = 24
    scale = 1
    name = "input"
    radius = 0
    radius_is_exact = True
    fixed_size = None
    working_bytes = 64
    task = None

    def __init__(self, channels: int | str = 3):
        self.channels = channels

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        return as_floats(lr)


class SelfEnsemble:
    """Averages an upscaler over the eight flips and quarter turns of the image.

    It pads the image before it turns it, so that tiles give what the whole image gives.

    Reference:
        Lim et al., "Enhanced Deep Residual Networks", CVPRW 2017, section 3.4.
    """

    def __init__(self, upscaler: Upscaler):
        self.upscaler = upscaler
        self.name = f"{upscaler.name}, self-ensemble"
        self.scale = upscaler.scale
        self.channels = upscaler.channels
        self.depth = upscaler.depth
        self.alignment = upscaler.alignment
        self.task = upscaler.task

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        lr = as_floats(lr)
        height, width = lr.shape[:2]
        lr = pad(lr, self.alignment)
        total: np.ndarray | float = 0.0
        for flip in (1, -1):
            for turns in range(4):
                sr = self.upscaler(np.ascontiguousarray(np.rot90(lr[:, ::flip], turns)))
                total = total + np.rot90(sr, -turns)[:, ::flip]
        return np.asarray(total / 8)[: height * self.scale, : width * self.scale]

    @property
    def radius(self) -> int:
        return self.upscaler.radius

    @property
    def radius_is_exact(self) -> bool:
        return self.upscaler.radius_is_exact

    @property
    def fixed_size(self) -> tuple[int, int] | None:
        return self.upscaler.fixed_size

    @property
    def working_bytes(self) -> int:
        return self.upscaler.working_bytes


def as_floats(image: np.ndarray) -> np.ndarray:
    """Returns an image of floats as float32.

    Raises:
        InputError: If it holds integers.
    """
    if not np.issubdtype(image.dtype, np.floating):
        raise InputError(
            "an upscaler takes floats in [0, 1]; tfsr.upscale takes integers too. "
            f"Received: dtype={image.dtype}."
        )
    return image.astype(np.float32, copy=False)


def to_uint8(image: np.ndarray) -> np.ndarray:
    """Returns float `image` in [0, 1] as uint8, clipped and rounded.

    Raises:
        NotFiniteError: If a value is NaN or infinite.
    """
    wrong = image.size - np.count_nonzero(np.isfinite(image))
    if wrong:
        raise NotFiniteError(
            f"`image` must be finite. Received: {wrong} of {image.size} values not so."
        )
    return to_integers(image.astype(np.float64) * 255, np.uint8)


def from_uint8(image: np.ndarray) -> np.ndarray:
    """Returns uint8 `image` as float32 in [0, 1]; unclipped noise goes beyond."""
    return image.astype(np.float32) / 255
