"""Photographs to their enlargement, or restored, files and folders, in tiles."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tfsr.data.images import SUFFIXES
from tfsr.data.resize import imresize
from tfsr.errors import InputError
from tfsr.files import remove_stale
from tfsr.photos import (
    Photo,
    bleed_opaque,
    check_writable,
    read_photo,
    write_photo,
)
from tfsr.upscaling.tiling import bands, tiles

REFUSED = (".heic", ".heif", ".avif")  # each a line, not skipped in silence
PHOTO_SUFFIXES = (*SUFFIXES, ".gif", *REFUSED)
MAX_TILE = 1024  # LR pixels; larger ones save little overlap
MEMORY_BUDGET = 2**30  # bytes for the tile, or half of what is free if that is less
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


@dataclass(frozen=True)
class Job:
    """One file to upscale and where its enlargement goes."""

    source: Path
    target: Path


def plan(
    source: str | Path,
    out: str | Path,
    suffix: str = "",
    format: str | None = None,
    overwrite: bool = False,
) -> tuple[list[Job], int]:
    """Returns what is to be done for a file or a folder with its subfolders.

    Hidden files and linked subfolders are left alone; still GIFs become PNGs.

    Args:
        source: A file or a folder of images.
        out: The file to write, or for a folder the folder to write to.
        suffix: Put behind the names of the files in a folder.
        format: The ending of the files written for a folder; their own by default.
        overwrite: Whether to replace what exists. Without, a folder's files that exist
            are done already, so that an interrupted run goes on.

    Returns:
        The jobs, and how many files are done already.

    Raises:
        InputError: If `source` is missing or empty, if `out` exists (for one file), or
            if two files would be written to one.
    """
    source, out = Path(source), Path(out)
    if not source.exists():
        raise InputError(f"{source}: no such file or folder.")
    if not source.is_dir():
        if suffix or format:
            raise InputError(f"{source}: --suffix and --format are for folders.")
        if out.is_dir():
            raise InputError(f"{out}: is a folder; name the file to write.")
        if out.exists() and not overwrite:
            raise InputError(f"{out}: exists; --overwrite replaces it.")
        return [Job(source, out)], 0
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; {source} is a folder and wants a folder.")
    inside, here = out.resolve(), source.resolve()
    if inside == here:
        raise InputError(f"{out}: must be another folder than the one upscaled.")
    files = sorted(
        source / file.relative_to(here)
        for file in here.rglob("*")
        if file.suffix.lower() in PHOTO_SUFFIXES
        and not file.name.startswith(".")
        and not file.is_dir()
        and inside not in file.parents
    )
    if not files:
        raise InputError(f"{source}: no image in it; expected {', '.join(SUFFIXES)}.")
    jobs, origin = [], {}
    for file in files:
        refused = file.suffix.lower() in REFUSED
        ending = file.suffix if refused or not format else f".{format}"
        if ending.lower() == ".gif":  # which can be read, not written
            ending = ".png"
        relative = file.relative_to(source)
        target = out / relative.with_name(f"{file.stem}{suffix}{ending}")
        if target in origin:
            raise InputError(
                f"{target}: would be written for both {origin[target]} and {file}; "
                "rename one or leave out --format."
            )
        origin[target] = file
        if overwrite or not target.is_file():
            jobs.append(Job(file, target))
    return jobs, len(files) - len(jobs)


def upscale(
    upscaler,
    job: Job,
    radius: int,
    tile: int,
    progress: tqdm | None = None,
    step: int = 1,
    luma: bool = False,
) -> list[str]:
    """Upscales one photograph; returns one-line notes on what changed on the way.

    Alpha is enlarged by bicubic; colour under full transparency is first replaced by
    that of its neighbours, so no fringe appears. Grayscale stays grayscale. If memory
    runs out, the tile is halved.

    An upscaler of one channel treats the channels of a colour photograph one by one.
    With `luma`, which asks for scale 1, it restores the luma and leaves the chroma as
    it is.

    Args:
        upscaler: See `tfsr.upscaling.upscalers`.
        job: The files.
        radius: How far a pixel of the upscaler sees, in LR pixels.
        tile: Side of the tiles in LR pixels; taken down to a multiple of `step`.
        progress: A bar that counts tiles; its total is set here.
        step: Where tiles may begin; must divide `radius`.
        luma: What an upscaler of one channel gets of colour.

    Raises:
        InputError: If the photograph cannot be read or written in full.
    """
    photo = read_photo(job.source)
    notes = [*photo.notes, *check_writable(job.target, photo, upscaler.scale)]
    if photo.color.dtype == np.uint16 and upscaler.depth < 16:
        notes.append(f"16-bit photo, but the model has {upscaler.depth} bits")
    photo = bleed_opaque(photo, reach=radius)
    run = _for_channels(upscaler, photo.color.shape[-1], luma)
    job.target.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(job.target.parent, job.target.name)
    while True:
        try:
            rows = _enlarged(
                run,
                upscaler.scale,
                photo,
                radius,
                tile - tile % step,
                step,
                progress,
                job.source,
            )
            write_photo(job.target, photo, rows, upscaler.scale)
            return notes
        except MemoryError:
            if tile // 2 < 2 * radius + step:
                raise InputError(
                    f"{job.source}: too little memory even for tiles of {tile} pixels."
                ) from None
            tile //= 2
            notes.append(f"memory ran out; went on with tiles of {tile} pixels")


def automatic_tile(bytes_per_pixel: int, radius: int) -> int:
    """Returns the side of tiles, in LR pixels, that suits the memory at hand."""
    budget = min(MEMORY_BUDGET, available_memory() // 2)
    side = int((budget / bytes_per_pixel) ** 0.5)
    return max(2 * radius + 16, min(MAX_TILE, side))


def available_memory() -> int:
    """Returns the bytes of memory that can be had now; 2 GiB where unknown."""
    try:
        facts = Path("/proc/meminfo").read_text()
        free = 1024 * int(facts.partition("MemAvailable:")[2].split()[0])
    except (OSError, IndexError, ValueError):
        free = 2**31
    group = Path("/sys/fs/cgroup")  # of a container, which has a limit of its own
    try:
        limit = int((group / "memory.max").read_text())
        used = int((group / "memory.current").read_text())
    except (OSError, ValueError):  # none, or the word "max"
        return free
    return max(0, min(free, limit - used))


def _enlarged(
    run, scale, photo: Photo, radius, tile, step, progress, name
) -> Iterator[np.ndarray]:
    """Yields the enlargement in bands of the photo's type, alpha as last channel."""
    height, width = photo.color.shape[:2]
    if progress is not None:
        progress.reset(total=tiles(height, width, tile, radius, step))
    peak = np.iinfo(photo.color.dtype).max

    def enlarge(lr):  # float32 (h, w, C), with alpha if the photo has it
        parts = [run(lr[..., :channels])]
        if photo.alpha is not None:
            parts.append(imresize(lr[..., channels:], scale))
        if progress is not None:
            progress.update()
        sr = np.concatenate(parts, axis=-1)
        if not np.isfinite(sr).all():
            raise InputError(f"{name}: the model's output is not finite.")
        return (np.clip(sr, 0, 1) * peak + 0.5).astype(photo.color.dtype)

    channels = photo.color.shape[-1]
    layers = [photo.color] if photo.alpha is None else [photo.color, photo.alpha]
    yield from bands(enlarge, scale, layers, tile, radius, step)


def _for_channels(upscaler, channels, luma):
    """Returns `upscaler` as a function of images with 1 or 3 channels."""
    if upscaler.channels == channels:
        return upscaler
    if channels == 1:
        return lambda lr: upscaler(np.repeat(lr, 3, axis=-1)) @ LUMA[:, None]
    if luma:
        return lambda lr: _restore_luma(upscaler, lr)
    return lambda lr: np.concatenate(
        [upscaler(lr[..., c : c + 1]) for c in range(channels)], axis=-1
    )


def _restore_luma(upscaler, lr):
    """Returns RGB with restored luma, as JPEG defines it, and the Cb and Cr it had."""
    # Summed in this order, as in the browser: where it falls on half of 8 bits, what a
    # matrix product leaves to the machine decides what the network sees.
    y = sum(weight * lr[..., c : c + 1] for c, weight in enumerate(LUMA))
    return lr + (np.clip(upscaler(y), 0, 1) - y)
