"""Pairs of LR and HR images of a benchmark folder, for scoring and validation."""

import copy
import dataclasses
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tfsr import arguments, files
from tfsr.data.degradation_type import BICUBIC, Chain, Degradation, after_bicubic
from tfsr.data.degradations import check_scale
from tfsr.data.images import list_images, read_image
from tfsr.data.resize import imresize
from tfsr.errors import InputError
from tfsr.shards import Shard


@dataclass(frozen=True)
class Pair:
    """LR and HR image, uint8 `(h, w, C)` and `(h * scale, w * scale, C)`.

    `lr` is float32 in the units of 8 bits where noise is not clipped, so values may lie
    outside 0 to 255, and for luma, where older papers round only HR.
    """

    name: str
    lr: np.ndarray
    hr: np.ndarray
    luma: bool = False


class BenchmarkFolder:
    """HR images, with LR from files or made by a degradation.

    `folder` holds images, or `HR/` and optionally `LR_bicubic/X{scale}/` or `LR/`, with
    `NAMEx{scale}.png` or `NAME.png`. Beside a folder `NAME_HR` they may lie in
    `NAME_LR_bicubic/X{scale}/`, as DIV2K's archives unpack. HR is cropped from the top
    left to a multiple of the scale.

    With `rescale`, every HR image is first shrunk by that factor, as in Fig. 10 of the
    MS3-Conv paper (0.8, 0.6, 0.5), so that the same pattern has other frequencies. LR
    is then always made.

    For restoration the scale is 1, and LR is always made, in the size of HR. If the
    degradation begins with bicubic, its other steps also apply to LR from files. Random
    values depend on the seed and a checksum of the HR pixels, so an image is degraded
    alike in any folder and order. An image with R = G = B is degraded as gray: all
    three channels get the same noise, which a network cannot average out.

    Args:
        folder: Path of the folder, or a list of HR files.
        scale: Upscaling factor.
        channels: 3 for RGB, 1 for grayscale, "y" for luma: the luma of HR is rounded to
            8 bits, and LR is made from it without rounding.
        rescale: Factor of `imresize` for the HR images, above 0 and at most 1.
        degradation: Makes LR from HR; for luma it must be bicubic.
        seed: Seed of the degradation's random values.
        border: Pixels shaved from each side before scoring; by default the scale, or
            none in restoration.

    Raises:
        InputError: If the folder is missing or empty, if LR files exist for some
            images only or cannot be used, or if sizes do not match.
        ValueError: If the degradation does not suit the scale.
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
        self.seed = arguments.whole("seed", seed, least=0)
        if border is None:
            border = scale if scale > 1 else 0
        self.border = arguments.whole("border", border, least=0)
        self.size: tuple[int, int] | None = None
        self.lr_files = None
        if isinstance(folder, list):
            self.folder = folder[0].parent
            self.hr_files = folder
            return
        self.folder = arguments.path("folder", folder)
        hr = self.folder / "HR"
        self.hr_files = list_images(hr if hr.is_dir() else self.folder)
        made = rescale != 1 or channels == "y" or after_bicubic(degradation) is None
        if lr := self._lr_folder(made):
            self.lr_files = lr_files(lr, self.hr_files, scale)

    def _lr_folder(self, made):
        """Returns the folder of the LR files to use; None where LR is made."""
        hr, plain = self.folder / "HR", self.folder / "LR"
        benchmark = self._lr_bicubic() / f"X{self.scale}"
        reason = ""
        if made:
            reason = "LR is made of HR here"
        elif not hr.is_dir():
            reason = f"there is no {hr} beside it"
        elif benchmark.is_dir():
            reason = f"there is {benchmark} too"
        if plain.is_dir() and reason:
            raise InputError(f"{plain}: is not used, as {reason}; move it elsewhere.")
        found = [folder for folder in (benchmark, plain) if folder.is_dir()]
        return found[0] if found and not made else None

    def _lr_bicubic(self):
        """Returns `LR_bicubic`; of DIV2K_valid_HR `DIV2K_valid_LR_bicubic` beside."""
        folder = self.folder.resolve()
        if not folder.name.endswith("_HR") or (folder / "HR").is_dir():
            return self.folder / "LR_bicubic"
        return folder.with_name(f"{folder.name.removesuffix('HR')}LR_bicubic")

    def identity(self) -> dict:
        """Returns what identifies these images, for caches of their scores."""
        return {
            "channels": self.channels,
            "degradation": str(self.degradation),
            "hr": {file.name: files.sha256(file) for file in self.hr_files},
            "lr": {file.name: files.sha256(file) for file in self.lr_files or []},
        }

    def first(self, count: int | None) -> "BenchmarkFolder":
        """Returns the folder with the first `count` images, or with all for None."""
        part = copy.copy(self)
        part.hr_files = self.hr_files[:count]
        part.lr_files = self.lr_files and self.lr_files[:count]
        return part

    def middles(self, size: tuple[int, int]) -> "BenchmarkFolder":
        """Returns the folder with a center crop of every image, `size` in LR pixels."""
        part = copy.copy(self)
        part.size = size
        return part

    def part(self, shard: Shard) -> "BenchmarkFolder":
        """Returns the folder with the images of one shard."""
        part = copy.copy(self)
        part.hr_files = list(shard.of(self.hr_files))
        part.lr_files = self.lr_files and list(shard.of(self.lr_files))
        return part

    def __len__(self) -> int:
        return len(self.hr_files)

    def __iter__(self) -> Iterator[Pair]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, i: int) -> Pair:
        pair = self._whole(i)
        if self.size is None:
            return pair
        height, width = pair.lr.shape[:2]
        if height < self.size[0] or width < self.size[1]:
            raise InputError(
                f"{self.hr_files[i]}: its LR is {height}x{width}, smaller than "
                f"{self.size[0]}x{self.size[1]}."
            )
        top, left = (height - self.size[0]) // 2, (width - self.size[1]) // 2

        def cut(image, scale):
            rows = slice(top * scale, (top + self.size[0]) * scale)
            return image[rows, left * scale : (left + self.size[1]) * scale]

        return dataclasses.replace(
            pair, lr=cut(pair.lr, 1), hr=cut(pair.hr, self.scale)
        )

    def _whole(self, i):
        file = self.hr_files[i]
        hr = read_image(file, self.channels)
        if self.rescale != 1:
            hr = imresize(hr, self.rescale)
        hr = crop_to_multiple(hr, self.scale)
        seen = _without_copies(hr)
        rng = np.random.default_rng([self.seed, zlib.crc32(seen.tobytes())])
        if self.lr_files is None:
            if 0 in hr.shape:
                raise InputError(f"{file}: smaller than the scale {self.scale}.")
            if self.channels == "y":
                lr = imresize(hr.astype(np.float32), 1 / self.scale)
                return Pair(file.stem, lr, hr, luma=True)
            lr = self.degradation(seen, self.scale, rng)
            return Pair(file.stem, _with_copies(lr, hr), hr)
        lr = read_image(self.lr_files[i], self.channels)
        check_lr_size(self.lr_files[i], lr.shape, hr.shape, self.scale)
        rest = Chain(self.degradation.steps[1:])  # the files are bicubic LR
        lr = rest(_without_copies(lr), self.scale, rng)
        return Pair(file.stem, _with_copies(lr, hr), hr)


def folders_by_name(
    folders: Iterable[str | Path],
    scale: int,
    channels: int | str,
    degradation: Degradation,
) -> dict[str, BenchmarkFolder]:
    """Returns benchmark folders by the last part of their paths.

    Args:
        folders: Paths of the folders.
        scale: As for `BenchmarkFolder`.
        channels: As for `BenchmarkFolder`.
        degradation: As for `BenchmarkFolder`.

    Raises:
        InputError: If two have one name, or as `BenchmarkFolder` does.
    """
    found: dict[str, BenchmarkFolder] = {}
    for folder in folders:
        name = Path(folder).resolve().name
        if name in found:
            raise InputError(f"{folder}: another test folder is named {name} too.")
        found[name] = BenchmarkFolder(folder, scale, channels, degradation=degradation)
    return found


def _without_copies(image):
    """Returns one channel if all channels are equal, else the image as it is."""
    alike = image.shape[-1] > 1 and (image == image[..., :1]).all()
    return image[..., :1] if alike else image


def _with_copies(image, hr):
    """Returns `image` with as many channels as `hr`."""
    alike = image.shape[-1] < hr.shape[-1]
    return np.repeat(image, hr.shape[-1], axis=-1) if alike else image


def lr_files(folder: str | Path, hr_files: list[Path], scale: int) -> list[Path]:
    """Returns the LR file of each HR image: NAMEx2.png (for x2) or NAME.png.

    Raises:
        InputError: If an image has none.
    """
    by_name = {file.stem: file for file in list_images(folder)}
    found = []
    for hr in hr_files:
        names = f"{hr.stem}x{scale}", hr.stem
        file = next((by_name[name] for name in names if name in by_name), None)
        if file is None:
            raise InputError(
                f"{Path(folder) / names[0]}.png: missing; {folder} must hold an LR "
                f"file for each of the {len(hr_files)} HR images or not exist."
            )
        found.append(file)
    return found


def check_lr_size(
    file: Path, lr: tuple[int, ...], hr: tuple[int, ...], scale: int
) -> None:
    """Raises an `InputError` unless an LR file has the size that HR implies.

    Args:
        file: The LR file.
        lr: Shape of LR, height first.
        hr: Shape of HR.
        scale: The upscaling factor.
    """
    expected = tuple(side // scale for side in hr[:2])
    if tuple(lr[:2]) != expected:
        raise InputError(
            f"{file}: {lr[0]}x{lr[1]} where HR asks for {expected[0]}x{expected[1]} "
            "(height x width)."
        )


def crop_to_multiple(image: np.ndarray, scale: int) -> np.ndarray:
    """Returns the top left part of `image` whose sides are multiples of `scale`."""
    h, w = image.shape[:2]
    return image[: h - h % scale, : w - w % scale]
