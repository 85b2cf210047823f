"""A packed file holds all images that a training on another machine needs.

It is a ZIP archive with pieces of the training images as PNG in `train/` and the
validation images in `val/`. `[data] pack` names it. It is unpacked into the cache once
and then used like other folders.
"""

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
from PIL import Image

from tfsr.data.cache import ImageCache
from tfsr.data.pairs import BenchmarkFolder
from tfsr.errors import InputError
from tfsr.files import fill_once, replacing, sha256

INDEX = "index.json"
FORMAT = 1
ENTRY_BYTES = 200  # upper bound of the archive's overhead for each file


def write_pack(
    file: str | Path,
    megabytes: int,
    images: ImageCache,
    side: int,
    validation: list[BenchmarkFolder],
    channels: int | str,
) -> dict:
    """Writes the validation images and as many pieces of training images as fit.

    An image is cut into equal pieces with sides from `side` to twice that; a smaller
    image is one piece. The pieces are chosen at random, with a fixed seed.

    Args:
        file: The file.
        megabytes: Its largest size, of 2^20 bytes each.
        images: The training images.
        side: Least side of a piece, in HR pixels.
        validation: A folder for each scale, of the same HR images.
        channels: Channels of the training images: 1, 3 or "y".

    Returns:
        `file`, `size_bytes`, `pieces`, `pieces_in_all` and `validation_images`.

    Raises:
        InputError: If no piece fits.
    """
    pieces = _pieces(images, side)
    order = np.random.default_rng(0).permutation(len(pieces))
    count = 0
    with replacing(file) as temporary, ZipFile(temporary, "w") as archive:
        index = {"format": FORMAT, "channels": channels}
        archive.writestr(INDEX, json.dumps(index))
        for name, path in _validation_files(validation):
            archive.write(path, name)
        size = temporary.stat().st_size + ENTRY_BYTES * len(archive.namelist())
        for n in order:
            png = _png(images, *pieces[n])
            size += len(png) + ENTRY_BYTES
            if size > megabytes * 2**20:
                break
            archive.writestr(f"train/{count:06d}.png", png)
            count += 1
        if not count:
            raise InputError(
                f"{file}: {megabytes} megabytes are too few for one piece of {side} "
                f"pixels beside the {len(validation[0])} validation images."
            )
    return {
        "file": str(file),
        "size_bytes": Path(file).stat().st_size,
        "pieces": count,
        "pieces_in_all": len(pieces),
        "validation_images": len(validation[0]),
    }


def _pieces(images, side):
    """Returns image number, rows and columns of each piece."""
    scale = images.scales[0]
    return [
        (i, rows, columns)
        for i, (height, width, _) in enumerate(images.shapes(scale))
        for rows in _spans(height * scale, side)
        for columns in _spans(width * scale, side)
    ]


def _spans(length, side):
    """Returns slices that cut a length into equal parts of at least `side`."""
    ends = np.linspace(0, length, max(1, length // side) + 1).astype(int)
    return [slice(a, b) for a, b in itertools.pairwise(ends)]


def _png(images, i, rows, columns):
    piece = images.pair(i, images.scales[0]).hr[rows, columns]
    content = io.BytesIO()
    Image.fromarray(piece[..., 0] if piece.shape[-1] == 1 else piece).save(
        content, "PNG"
    )
    return content.getvalue()


def _validation_files(folders) -> Iterator[tuple[str, Path]]:
    """Yields names in the archive with their files: HR, and LR files if any."""
    for i, file in enumerate(folders[0].hr_files):
        yield f"val/HR/{i:06d}{file.suffix}", file
    for folder in folders:
        for i, file in enumerate(folder.lr_files or []):
            name = f"{i:06d}x{folder.scale}{file.suffix}"
            yield f"val/LR_bicubic/X{folder.scale}/{name}", file


def unpack(file: str | Path, cache: str | Path, channels: int | str) -> Path:
    """Unpacks a packed file into `cache`; returns the folder with `train` and `val`.

    Args:
        file: What `write_pack` wrote.
        cache: A folder, created if missing.
        channels: What the training wants: 1, 3 or "y".

    Raises:
        InputError: If it is not a packed file, or its images have other channels.
    """
    try:
        with ZipFile(file) as archive:
            index = json.loads(archive.read(INDEX))
            if index["format"] != FORMAT:
                raise InputError(f"{file}: is of another version of tfsr; pack again.")
            if index["channels"] != channels:
                raise InputError(
                    f"{file}: has images of channels = {index['channels']!r}, where "
                    f"the config has {channels!r}; pack this config."
                )
            folder = Path(cache) / sha256(file)[:16]
            fill_once(folder, archive.extractall)
            return folder
    except InputError:
        raise
    except (BadZipFile, LookupError, TypeError, ValueError) as error:
        raise InputError(f"{file}: not a file of tfsr pack ({error}).") from None
