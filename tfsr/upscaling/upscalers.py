"""Upscalers turn an image into its enlargement, whatever runs the network."""

import re
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from tfsr.data.degradation_type import BICUBIC, Degradation
from tfsr.data.resize import imresize, to_integers
from tfsr.errors import InputError, NotFiniteError, naming_memory
from tfsr.upscaling.tiling import DEFAULT_OVERLAP, FixedTiles, align, pad_to_multiple

if TYPE_CHECKING:
    import keras

IN_A_LAYER = "Exception encountered when calling"  # begins Keras' messages
NAMED = 3  # of the operations in `far_seeing`, in messages


@runtime_checkable
class Upscaler(Protocol):
    """Turns float32 `(H, W, C)` in [0, 1] into `(H * scale, W * scale, C)`.

    An upscaler of scale 1 restores the image.

    Attributes:
        name: Its name in tables and messages.
        scale: The upscaling factor.
        channels: 3 for RGB, 1 for grayscale, "y" for luma.
        depth: Bits per sample that it distinguishes.
        alignment: The model pads height and width to multiples of this, in LR pixels.
        radius: The receptive radius in LR pixels, rounded up to a multiple of
            `alignment`.
        far_seeing: Names of operations that may depend on the whole image. `radius` is
            then a guess, and tiles may differ from the whole image.
        tiles: The tiles by which a model of fixed size processes other images; None
            for a model of any size.
        working_bytes: Memory of a run in bytes per LR pixel.
        task: The degradation that it was trained on; None if unknown.
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
    def far_seeing(self) -> Sequence[str]: ...
    @property
    def tiles(self) -> FixedTiles | None: ...
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
        channels: "y" for luma alone, which only luminance networks take.
        name: Its name in tables; the model's name by default.
        task: The degradation that the model was trained on; by default bicubic, or
            unknown if the model restores.

    Raises:
        ValueError: If the model lacks the scale.
    """

    depth = 24  # of float32
    bytes_of_value = 12  # float32, and the buffers of convolutions

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
        self.name = name or self.model.name
        self.task = task or (BICUBIC if scale > 1 else None)

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        lr = as_floats(lr)
        if self.tiles:
            return self.tiles.run(self._run, lr)
        height, width = lr.shape[:2]
        if self._takes(height, width):
            return self._run(lr)
        padded = self._run(pad_to_multiple(lr, self.network_alignment))
        return padded[: height * self.scale, : width * self.scale]

    @property
    def alignment(self) -> int:
        return 1 if self.tiles else self.network_alignment

    @property
    def radius(self) -> int:
        if self.tiles:
            return max(self.tiles.overlap)
        radius = self.receptive_radius
        return align(DEFAULT_OVERLAP if radius is None else radius, self.alignment)

    @cached_property
    def far_seeing(self) -> Sequence[str]:
        from tfsr.graph.footprint import far_seeing

        return far_seeing(self.model)

    @cached_property
    def tiles(self) -> FixedTiles | None:
        """Tiles for a network of fixed size; None for one of any size."""
        _, height, width, _ = self.model.input.shape
        if None in (height, width):
            return None
        return FixedTiles((height, width), self.receptive_radius, 1, self.scale)

    # These take time to compute, and training needs none of them.

    @cached_property
    def receptive_radius(self) -> int | None:
        """The receptive radius in LR pixels; None if unknown."""
        from tfsr.graph.footprint import receptive_radius

        return receptive_radius(self.model)

    @cached_property
    def network_alignment(self) -> int:
        """LR pixels after which all grids inside the network repeat."""
        from tfsr.graph.footprint import alignment

        return alignment(self.model)

    @cached_property
    def working_bytes(self) -> int:
        from tfsr.graph.footprint import working_values

        return self.bytes_of_value * working_values(self.model)

    def _takes(self, height, width):
        """Returns whether the network runs at this size as it is."""
        shape = (1, height, width, self.model.input.shape[-1])
        try:
            output = self.model.compute_output_shape(shape)
        except Exception:  # levels of unequal sizes may raise anything
            return False
        return tuple(output[1:3]) == (height * self.scale, width * self.scale)

    def _run(self, lr):
        from keras import ops

        try:
            with naming_memory():  # eager, as `predict` would trace for every size
                return ops.convert_to_numpy(self.model(lr[None], training=False)[0])
        except Exception as error:  # a file may describe its layers wrongly
            told = re.sub(r"\x1b\[\d*m", "", str(error))
            if not told.startswith(IN_A_LAYER):
                raise
            reason = " ".join(told.partition("Arguments received")[0].split())
            raise InputError(
                f"{self.name}: cannot be run on {lr.shape[0]}x{lr.shape[1]} ({reason})."
            ) from error


class BicubicUpscaler:
    """Enlarges by MATLAB's bicubic `imresize`: the baseline.

    It rounds to 8 bits, except for luma (`channels="y"`).
    """

    alignment = 1
    depth = 8
    name = "bicubic"
    radius = 3
    far_seeing: Sequence[str] = ()
    task = BICUBIC
    tiles = None

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
    """Returns images unchanged: the baseline of restoration."""

    alignment = 1
    depth = 24
    scale = 1
    name = "input"
    radius = 0
    far_seeing: Sequence[str] = ()
    working_bytes = 64
    task = None
    tiles = None

    def __init__(self, channels: int | str = 3):
        self.channels = channels

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        return as_floats(lr)


class SelfEnsemble:
    """Averages an upscaler over the eight flips and quarter turns of the image.

    It pads the image before rotating it, so that tiles give the same result as the
    whole image.

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
        lr = pad_to_multiple(lr, self.alignment)
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
    def far_seeing(self) -> Sequence[str]:
        return self.upscaler.far_seeing

    @property
    def tiles(self) -> FixedTiles | None:
        return self.upscaler.tiles

    @property
    def working_bytes(self) -> int:
        return self.upscaler.working_bytes


def sees_all(upscaler: Upscaler) -> str:
    """Returns words on the operations that may depend on the whole image."""
    first, more = upscaler.far_seeing[:NAMED], len(upscaler.far_seeing) - NAMED
    names = ", ".join(first) + (f" and {more} more" if more > 0 else "")
    return f"the network may see the whole image ({names})"


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


def upscaled(upscaler: Upscaler, lr: np.ndarray) -> np.ndarray:
    """Returns what an upscaler makes of float LR in [0, 1], as uint8 `(H, W, C)`.

    Raises:
        NotFiniteError: If a value is NaN or infinite; names the upscaler.
    """
    try:
        return to_uint8(upscaler(lr))
    except NotFiniteError:
        raise NotFiniteError(
            f"{upscaler.name}: its output for an image of {lr.shape[0]}x{lr.shape[1]} "
            "is not finite."
        ) from None


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
    """Returns an image in 0 to 255 as float32 in [0, 1]; unclipped noise exceeds it."""
    return image.astype(np.float32) / 255
