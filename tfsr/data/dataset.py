"""Random patches as a Keras data set for `fit`."""

import threading
from collections import Counter
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Literal

import keras

from tfsr import arguments
from tfsr.data.cache import ImageCache
from tfsr.data.degradation_type import BICUBIC, Degradation, after_bicubic
from tfsr.data.degradations import check_scale
from tfsr.data.sampler import PatchSampler
from tfsr.errors import InputError

ENDLESS = 2**40  # steps that each pass begins after the one before: no batch repeats


class PatchDataset(keras.utils.PyDataset):
    """Random aligned patches of the images in some folders, batch by batch.

    A batch is LR and HR, float32 `(batch, patch, patch, C)` and
    `(batch, patch * scale, patch * scale, C)` in [0, 1]; for several scales they are
    dicts `{"lr_x2": ...}` and `{"sr_x2": ...}`. Every epoch has new batches.

    Args:
        folders: A folder of images, or several.
        scale: Upscaling factor or several of them; 1 for restoration.
        patch: Side of an LR patch in pixels.
        batch: Patches per scale.
        steps: Batches per epoch; by default as many as show each image once. None
            makes the data set endless; then give `fit` `steps_per_epoch` and
            `shuffle=False`.
        channels: 3 for RGB, 1 for grayscale.
        degradation: Makes LR from HR; at scale 1, for example, `tfsr.data.JPEG(10)`.
        cache: Folder for the decoded images.
        seed: Seed of all random choices.
        workers: Threads that prepare batches.
        lr_folders: Folders of LR files, NAMEx2.png or NAME.png, one for each of
            `folders`. By default LR is made from HR.

    Raises:
        InputError: If an argument has the wrong type, a folder has no image, no image
            is as large as a patch, or an image has no LR file of the right size.
        ValueError: If the degradation does not suit the scale.
    """

    def __init__(
        self,
        folders: str | Path | Sequence[str | Path],
        scale: int | Sequence[int] = 2,
        patch: int = 48,
        batch: int = 16,
        steps: int | Literal["images"] | None = "images",
        channels: int = 3,
        degradation: Degradation = BICUBIC,
        cache: str | Path = "cache",
        seed: int = 0,
        workers: int = 2,
        lr_folders: str | Path | Sequence[str | Path] = (),
    ):
        one = isinstance(scale, Integral)
        scales = arguments.wholes("scale", [scale] if one else scale)
        for name, value in {"patch": patch, "batch": batch, "workers": workers}.items():
            arguments.whole(name, value)
        if steps not in ("images", None):
            arguments.whole("steps", steps)
        if channels not in (1, 3):
            raise InputError(f"`channels` must be 1 or 3. Received: {channels!r}.")
        folders = arguments.paths("folders", folders)
        for s in scales:
            check_scale(degradation, s)
        super().__init__(workers=workers, max_queue_size=4)
        with_lr = after_bicubic(degradation) is not None
        if lr_folders:
            lr_folders = arguments.paths("lr_folders", lr_folders)
            _check_lr_folders(lr_folders, folders, degradation, with_lr)
        images = ImageCache(
            folders, scales, cache, channels, with_lr=with_lr, lr_folders=lr_folders
        )
        seed = arguments.whole("seed", seed, least=0)
        self.sampler = PatchSampler(images, patch, batch, seed, degradation)
        self.steps: int | None = (
            -(-len(images) // batch) if steps == "images" else steps
        )
        self._lock = threading.Lock()
        self._asked: Counter[int] = Counter()

    @property
    def num_batches(self) -> int | None:
        return self.steps

    def __getitem__(self, index: int) -> tuple:
        with self._lock:  # Keras announces epochs too late for prefetching
            passes = self._asked[index]
            self._asked[index] += 1
        return self.sampler[passes * (self.steps or ENDLESS) + index]


def _check_lr_folders(lr_folders, folders, degradation, with_lr):
    if len(lr_folders) != len(folders):
        raise InputError(
            "`lr_folders` must name a folder for each one of `folders`. "
            f"Received: {len(lr_folders)} for {len(folders)}."
        )
    if not with_lr:
        raise InputError(
            "`lr_folders` must be without a degradation that makes LR of HR. "
            f"Received: degradation={degradation}."
        )
