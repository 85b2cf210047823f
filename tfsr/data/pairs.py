"""LR and HR images of a benchmark folder, as the evaluation protocol wants them."""

import copy
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfsr.data.degradation import (
    BICUBIC,
    Chain,
    Degradation,
    after_bicubic,
    check_scale,
)
from tfsr.data.images import list_images, read_image
from tfsr.data.resize import imresize
from tfsr.errors import InputError
from tfsr.shards import Shard


@dataclass(frozen=True)
class Pair:
    """LR and HR image, uint8 `(h, w, C)` and `(h * scale, w * scale, C)`.

    `lr` is float32 on the scale of 8 bits, and beyond it, where noise is not clipped,
    and where `luma` asks for what the older papers do: nothing rounded but HR.
    """

    name: str
    lr: np.ndarray
    hr: np.ndarray
    luma: bool = False


class BenchmarkFolder:
    """HR images, and LR images beside them or made by a degradation.

    `folder` holds images, or `HR/` and optionally `LR_bicubic/X{scale}/` with
    `NAMEx{scale}.png`. HR is cropped from the top left to a multiple of the scale.

    With `rescale`, every HR image is first shrunk by that factor, as in Fig. 10 of the
    MS3-Conv paper (0.8, 0.6, 0.5), so that the same pattern comes at other
    frequencies; then as above, except that LR is always made.

    For restoration the scale is 1 and LR, always made, has the size of HR. Where a
    degradation begins with bicubic, the rest of it is done to LR, file or made. What is
    random in it comes from the seed and a checksum of the HR pixels, so the same image
    is degraded alike in any folder and order.

    Args:
        folder: Path of the folder, or a list of HR files.
        scale: Upscaling factor.
        channels: 3 for RGB, 1 for grayscale, "y" for luma: HR's is rounded to 8 bits,
            and LR made of that, without rounding.
        rescale: Factor of `imresize` for the HR images, above 0 and at most 1.
        degradation: What makes LR; of luma bicubic alone.
        seed: Of what is random in the degradation.
        border: Pixels to shave from each side before scoring; by default the scale,
            and none in restoration.

    Raises:
        InputError: If the folder is missing or empty, if LR files exist for some
            images only, or if sizes do not match.
        ValueError: If the degradation is not one for the scale.
    """

    def __init__(
        self,
        folder: str | Path | list[Path],
        scale: int,
        channels: int | str = 3,
        rescale: float = 1,
        degradation: Degradation = BICUBIC,
        seed: int = 0,
        border: int | None = None,
    ):
        check_scale(degradation, scale)
        if not 0 < rescale <= 1:
            raise ValueError(
                f"`rescale` must be above 0 and at most 1. Received: rescale={rescale}."
            )
        if channels == "y" and degradation != BICUBIC:
            raise ValueError(
                "`degradation` of luma must be bicubic. "
                f"Received: degradation={degradation}."
            )
        self.scale = scale
        self.channels = channels
        self.rescale = rescale
        self.degradation = degradation
        self.seed = seed
        if border is None:
            border = scale if scale > 1 else 0
        self.border = border
        self.lr_files = None
        if isinstance(folder, list):
            self.folder = folder[0].parent
            self.hr_files = folder
            return
        self.folder = Path(folder)
        hr = self.folder / "HR"
        self.hr_files = list_images(hr if hr.is_dir() else self.folder)
        lr = self.folder / "LR_bicubic" / f"X{scale}"
        made = rescale != 1 or channels == "y" or after_bicubic(degradation) is None
        if hr.is_dir() and lr.is_dir() and not made:
            self.lr_files = [lr / f"{f.stem}x{scale}.png" for f in self.hr_files]
            missing = [f for f in self.lr_files if not f.is_file()]
            if missing:
                raise InputError(
                    f"{missing[0]}: missing; {lr} must hold an LR file for each of the "
                    f"{len(self.hr_files)} HR images or not exist."
                )

    def first(self, count: int | None) -> "BenchmarkFolder":
        """Returns the folder of the first `count` images; of all for None."""
        part = copy.copy(self)
        part.hr_files = self.hr_files[:count]
        part.lr_files = self.lr_files and self.lr_files[:count]
        return part

    def part(self, shard: Shard) -> "BenchmarkFolder":
        """Returns the folder of the images of one shard."""
        part = copy.copy(self)
        part.hr_files = list(shard.of(self.hr_files))
        part.lr_files = self.lr_files and list(shard.of(self.lr_files))
        return part

    def __len__(self) -> int:
        return len(self.hr_files)

    def __iter__(self) -> Iterator[Pair]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Pair:
        file = self.hr_files[i]
        hr = read_image(file, self.channels)
        if self.rescale != 1:
            hr = imresize(hr, self.rescale)
        hr = crop_to_multiple(hr, self.scale)
        rng = np.random.default_rng([self.seed, zlib.crc32(hr.tobytes())])
        if self.lr_files is None:
            if 0 in hr.shape:
                raise InputError(f"{file}: smaller than the scale {self.scale}.")
            if self.channels == "y":
                lr = imresize(hr.astype(np.float32), 1 / self.scale)
                return Pair(file.stem, lr, hr, luma=True)
            return Pair(file.stem, self.degradation(hr, self.scale, rng), hr)
        lr = read_image(self.lr_files[i], self.channels)
        expected = tuple(side // self.scale for side in hr.shape[:2])
        if lr.shape[:2] != expected:
            raise InputError(
                f"{self.lr_files[i]}: {lr.shape[0]}x{lr.shape[1]} where HR "
                f"asks for {expected[0]}x{expected[1]} (height x width)."
            )
        rest = Chain(self.degradation.steps[1:])  # the files are of bicubic
        return Pair(file.stem, rest(lr, self.scale, rng), hr)


def crop_to_multiple(image: np.ndarray, scale: int) -> np.ndarray:
    """Returns the top left part of `image` whose sides are multiples of `scale`."""
    h, w = image.shape[:2]
    return image[: h - h % scale, : w - w % scale]
