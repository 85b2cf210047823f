"""Upscalers: callables from one image to its enlargement, whatever runs them.

An upscaler takes float32 `(H, W, C)` in [0, 1], returns float32
`(H * scale, W * scale, C)`, and has the attributes `scale`, `channels`, `depth`, the
bits of a sample that it tells apart, and `alignment`, of which it pads the sides to
multiples. One of scale 1 restores.
"""

import numpy as np

from tfsr.data.resize import imresize, to_integers
from tfsr.errors import InputError, NotFiniteError, naming_memory
from tfsr.zoo.released import named


class KerasUpscaler:
    """Runs a Keras model.

    Args:
        model: A model of one or several scales.
        scale: The scale to use.
        channels: "y" for the luma alone, which only a luminance network takes.

    Raises:
        ValueError: If the model lacks the scale.
    """

    depth = 24  # of float32

    def __init__(self, model, scale: int, channels: int | str | None = None):
        from tfsr.graph.footprint import alignment  # a TFLite upscaler needs no Keras
        from tfsr.models import single_scale

        self.model = single_scale(model, scale, channels)
        self.alignment = alignment(self.model)
        self.scale = scale
        self.channels = self.model.input.shape[-1]

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        from keras import ops

        with naming_memory():  # eagerly: `predict` would trace for every size anew
            return ops.convert_to_numpy(self.model(lr[None], training=False)[0])


class BicubicUpscaler:
    """Enlarges by MATLAB's bicubic `imresize`: the baseline.

    In 8 bits, but for luma, `channels="y"`, in floats.
    """

    alignment = 1
    depth = 8
    name = "bicubic"

    def __init__(self, scale: int, channels: int | str = 3):
        self.scale = scale
        self.channels = channels

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        if self.channels == "y":
            return imresize(lr, self.scale)
        return from_uint8(imresize(to_uint8(lr), self.scale))


class Unchanged:
    """Gives images back as they are: the baseline of restoration."""

    alignment = 1
    depth = 24
    scale = 1
    name = "input"

    def __init__(self, channels: int = 3):
        self.channels = channels

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        return lr


class SelfEnsemble:
    """Averages an upscaler over the eight flips and quarter turns of the image.

    What the upscaler would pad is padded before, so that tiles give the same.

    Reference:
        Lim et al., "Enhanced Deep Residual Networks", CVPRW 2017, section 3.4.
    """

    def __init__(self, upscaler):
        self.upscaler = upscaler
        self.scale = upscaler.scale
        self.channels = upscaler.channels
        self.depth = upscaler.depth
        self.alignment = upscaler.alignment

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        height, width = lr.shape[:2]
        beyond = (-height % self.alignment, -width % self.alignment)
        lr = np.pad(lr, ((0, beyond[0]), (0, beyond[1]), (0, 0)), "edge")
        total = 0
        for flip in (1, -1):
            for turns in range(4):
                sr = self.upscaler(np.ascontiguousarray(np.rot90(lr[:, ::flip], turns)))
                total = total + np.rot90(sr, -turns)[:, ::flip]
        return (total / 8)[: height * self.scale, : width * self.scale]


def pick_scale(name: str, available: tuple[int, ...], scale: int | None) -> int:
    """Returns the scale to use: the one asked for, or the only one there is.

    Raises:
        InputError: If there is no such scale, or a choice; names the model by `name`.
    """
    if scale is None and len(available) == 1:
        return available[0]
    if scale not in available:
        has = ", ".join(f"x{s}" for s in available)
        advice = {None: "choose one with --scale", 1: "it enlarges; see tfsr upscale"}
        raise InputError(
            f"{named(name)}: has {has}; {advice.get(scale, f'not x{scale}')}."
        )
    return scale


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
