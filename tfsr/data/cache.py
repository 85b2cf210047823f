"""Decoded images in memory-mapped files, so that training decodes nothing.

The name of a cache folder is a digest of the image files' names, sizes and times and of
the options, so changed images get a new cache.
"""

import hashlib
import json
import math
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

import numpy as np

from tfsr.data.images import image_size, list_images, read_image
from tfsr.data.pairs import Pair, check_lr_size, crop_to_multiple, lr_files
from tfsr.data.resize import imresize
from tfsr.errors import InputError
from tfsr.files import fill_once
from tfsr.terminal import progress

FORMAT = 1  # increase it when the layout below changes


class ImageCache:
    """The images of some folders, HR and bicubic LR of each scale.

    At scale 1, or without LR, it holds only HR, which the caller degrades.

    Args:
        folders: Folders of images.
        scales: Upscaling factors whose LR images are wanted.
        cache: Folder that holds the caches; created if missing.
        channels: 3 for RGB, 1 for grayscale, "y" for luma.
        exclude: Names, without ending, of images to leave out.
        downscale: Factors below 1; each image is also stored shrunk by each of them.
        with_lr: Whether to store LR.
        lr_folders: Folders of LR files, one for each of `folders`; by default LR is
            made of HR.

    Raises:
        InputError: If a folder is missing or empty, an image cannot be read, a name to
            leave out does not exist, or an LR file is missing or of the wrong size.
    """

    def __init__(
        self,
        folders,
        scales,
        cache,
        channels=3,
        exclude=(),
        downscale=(),
        with_lr=True,
        lr_folders=(),
    ):
        files = training_files(folders, exclude)
        lr = _lr_files(folders, exclude, lr_folders, scales)
        self.scales = tuple(scales)
        self.with_lr = with_lr
        kept = self.scales if with_lr else (1,)
        factors = (1, *downscale)
        digest = _digest(files, kept, channels, factors, lr)
        self.folder = Path(cache) / digest
        fill_once(
            self.folder,
            lambda folder: _build(folder, files, kept, channels, factors, lr),
        )
        rebuild = f"delete {self.folder} to have it built again."
        index_file = self.folder / "index.json"
        try:
            index = json.loads(index_file.read_bytes())
            _check_index(index, kept)
        except (LookupError, TypeError, ValueError, RecursionError) as error:
            raise InputError(f"{index_file}: damaged ({error}); {rebuild}") from None
        pixels_file = self.folder / "pixels.bin"
        size = pixels_file.stat().st_size
        if size != index["bytes"]:
            raise InputError(
                f"{pixels_file}: {size} bytes where {index['bytes']} belong; {rebuild}"
            )
        self._pixels = np.memmap(pixels_file, mode="r")
        self._entries = index["images"]

    def __len__(self):
        return len(self._entries)

    def shapes(self, scale: int) -> list[tuple[int, int, int]]:
        """Returns the shapes of all LR images of `scale`."""
        shapes = (entry["hr"]["shape"] for entry in self._entries)
        return [(h // scale, w // scale, c) for h, w, c in shapes]

    def pair(self, position: int, scale: int) -> Pair:
        """Returns image number `position` at `scale`, as views of the mapped file.

        If LR is not stored, `lr` is HR.
        """
        entry = self._entries[position]
        hr = crop_to_multiple(self._view(entry["hr"]), scale)
        lr = self._view(entry["lr"][str(scale)]) if self.with_lr else hr
        return Pair(entry["name"], lr, hr)

    def _view(self, place):
        length = int(np.prod(place["shape"]))
        flat = self._pixels[place["offset"] : place["offset"] + length]
        return flat.reshape(place["shape"])


class WithSynthetic:
    """The images of a cache, with synthetic images among them at a fixed rate.

    Args:
        cache: An `ImageCache`.
        synthetic: HR images, uint8 `(h, w, C)`.
        every: About one image in this many is synthetic.
    """

    def __init__(self, cache: ImageCache, synthetic: Sequence[np.ndarray], every: int):
        self.scales = cache.scales
        self._cache = cache
        self._synthetic = synthetic
        self._places = max(len(synthetic), len(cache) // (every - 1))
        self._pairs: dict[tuple[int, int], Pair] = {}

    def __len__(self) -> int:
        return len(self._cache) + self._places

    def shapes(self, scale: int) -> list[tuple[int, int, int]]:
        """Returns the shapes of all LR images of `scale`."""
        numbers = range(len(self._cache), len(self))
        synthetic = [self.pair(number, scale) for number in numbers]
        return self._cache.shapes(scale) + [
            (pair.hr.shape[0] // scale, pair.hr.shape[1] // scale, pair.hr.shape[2])
            for pair in synthetic
        ]

    def pair(self, position: int, scale: int) -> Pair:
        """Returns image number `position` at `scale`; without stored LR, `lr` is HR."""
        if position < len(self._cache):
            return self._cache.pair(position, scale)
        number = (position - len(self._cache)) % len(self._synthetic)
        if (number, scale) not in self._pairs:
            hr = crop_to_multiple(self._synthetic[number], scale)
            shrunk = self._cache.with_lr and scale > 1
            lr = imresize(hr, 1 / scale) if shrunk else hr
            self._pairs[number, scale] = Pair(f"synthetic {number}", lr, hr)
        return self._pairs[number, scale]


class ImageSurvey:
    """The sizes of an `ImageCache`, read from image headers without decoding.

    Args:
        folders: As for `ImageCache`, like the other arguments.
        scales: Upscaling factors.
        channels: 3, 1 or "y".
        exclude: Names of images to leave out.
        downscale: Factors below 1.
        with_lr: Whether LR is stored.
        lr_folders: Folders of LR files.

    Raises:
        InputError: As `ImageCache` does.
    """

    def __init__(
        self,
        folders,
        scales,
        channels=3,
        exclude=(),
        downscale=(),
        with_lr=True,
        lr_folders=(),
    ):
        self.scales = tuple(scales)
        kept = self.scales if with_lr else (1,)
        self._kept = {1, *kept}
        self._shapes = []
        files = training_files(folders, exclude)
        lr = _lr_files(folders, exclude, lr_folders, scales)
        for i, file in enumerate(files):
            size = image_size(file)
            for s, small in lr.items():
                check_lr_size(small[i], image_size(small[i]), size, s)
            for factor in (1, *downscale):
                height, width = (math.ceil(n * factor) for n in size)
                shape = (height, width, 1 if channels == "y" else channels)
                _check_size(file, shape, kept)
                self._shapes.append(shape)

    def __len__(self):
        return len(self._shapes)

    def shapes(self, scale: int) -> list[tuple[int, int, int]]:
        """Returns the shapes of all LR images of `scale`."""
        return [(h // scale, w // scale, c) for h, w, c in self._shapes]

    @property
    def bytes(self) -> int:
        """The size of the cache on disk without its index."""
        return sum(h * w * c for s in self._kept for h, w, c in self.shapes(s))


def training_files(
    folders: Iterable[str | Path], exclude: Collection[str] = ()
) -> list[Path]:
    """Returns the image files of `folders` except those named in `exclude`.

    Raises:
        InputError: If no image is left, or no image has an excluded name.
    """
    files = [file for folder in folders for file in list_images(folder)]
    kept = _without(exclude, files)
    missing = set(exclude) - {file.stem for file in files}
    if missing or not kept:
        what = f"no image is named {min(missing)}" if missing else "no image is left"
        raise InputError(f"{', '.join(map(str, folders))}: {what}; see `exclude`.")
    return kept


def _without(names, files):
    return [file for file in files if file.stem not in names]


def _lr_files(folders, exclude, lr_folders, scales):
    """Returns the LR files by scale, in the order of `training_files`.

    It is empty without folders of LR files.
    """
    if not lr_folders:
        return {}
    found: dict = {s: [] for s in scales}
    for folder, of_lr in zip(folders, lr_folders, strict=True):
        files = _without(exclude, list_images(folder))
        for s in scales:
            found[s] += lr_files(of_lr, files, s)
    return found


def _check_size(file, shape, scales):
    if min(shape[:2]) < max(scales):
        raise InputError(f"{file}: smaller than the scale {max(scales)}.")


def _check_index(index, scales):
    """Raises an exception, of one of several types, unless `index` is valid.

    Every image must lie within the pixel file and have the shape of its scale.
    """
    if type(index["bytes"]) is not int or not index["images"]:
        raise ValueError("no images")
    for entry in index["images"]:
        if type(entry["name"]) is not str:
            raise ValueError("a name is no text")
        height, width, channels = entry["hr"]["shape"]
        places = [(1, entry["hr"]), *((s, entry["lr"][str(s)]) for s in scales)]
        for scale, place in places:
            sizes = [place["offset"], *place["shape"]]
            end = place["offset"] + math.prod(place["shape"])
            if not all(type(n) is int and n >= 0 for n in sizes) or (
                place["shape"] != [height // scale, width // scale, channels]
                or not place["offset"] < end <= index["bytes"]
            ):
                raise ValueError(f"{entry['name']} is not where it belongs")


def _digest(files, scales, channels, factors, lr):
    facts = [FORMAT, scales, channels, factors, *map(_fact, files)]
    if lr:
        facts.append({s: [*map(_fact, small)] for s, small in lr.items()})
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _fact(file):
    stat = file.stat()
    return str(file.resolve()), stat.st_size, stat.st_mtime_ns


def _build(folder, files, scales, channels, factors, lr):
    entries, offset = [], 0
    with open(folder / "pixels.bin", "wb") as pixels:

        def store(image):
            nonlocal offset
            place = {"offset": offset, "shape": image.shape}
            offset += pixels.write(np.ascontiguousarray(image))
            return place

        def small(i, hr, s):
            if not lr:
                return imresize(crop_to_multiple(hr, s), 1 / s)
            image = read_image(lr[s][i], channels)
            check_lr_size(lr[s][i], image.shape, hr.shape, s)
            return image

        for i, file in enumerate(progress(files, "decoding", "image")):
            image = read_image(file, channels)
            for factor in factors:
                hr = image if factor == 1 else imresize(image, factor)
                _check_size(file, hr.shape, scales)
                whole = store(hr)
                of_scales = {
                    s: store(small(i, hr, s)) if s > 1 else whole for s in scales
                }
                entries.append({"name": str(file), "hr": whole, "lr": of_scales})
    index = {"bytes": offset, "images": entries}
    (folder / "index.json").write_text(json.dumps(index))
