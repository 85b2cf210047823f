"""Enlarges or restores photographs in files and arrays, tile by tile."""

from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from tfsr.data.resize import imresize
from tfsr.errors import InputError
from tfsr.files import remove_stale
from tfsr.memory import available_memory
from tfsr.photos import (
    bleed_opaque,
    check_writable,
    read_photo,
    write_photo,
)
from tfsr.upscaling.planning import Job
from tfsr.upscaling.tiling import align, bands, tiles
from tfsr.upscaling.upscalers import Upscaler, sees_all

# LR pixels. Larger tiles save little overlap, take more memory and, beyond a core's
# caches, more time: SESR-M's int8 file at x2 0.43 us a pixel at 1024, 0.32 at 512.
MAX_TILE = 512
MAX_RADII = 24  # tile side in radii, for networks with a large radius
MEMORY_BUDGET = 2**30  # bytes for a tile, or half of the free memory if less
LUMA = np.array([0.299, 0.587, 0.114], np.float32)


def upscale(
    upscaler: Upscaler, job: Job, tile: int | None = None, progress: tqdm | None = None
) -> list[str]:
    """Upscales one photograph; returns one-line notes on what was changed or lost.

    Alpha is enlarged by bicubic; colour under full transparency is first replaced by
    that of its neighbours, so no fringe appears. Grayscale stays grayscale. If memory
    runs out, the tile is halved.

    A one-channel upscaler processes the channels of a colour photograph one by one; if
    it restores JPEG, it processes the luma and keeps the chroma.

    Args:
        upscaler: The upscaler.
        job: The files to read and write.
        tile: Side of the tiles in LR pixels; by default chosen to fit the free memory.
        progress: A progress bar of tiles, whose total is set.

    Raises:
        InputError: If the photograph cannot be read or written in full, or `tile` is
            too small for the upscaler.
    """
    tile = tile_side(upscaler, tile)
    photo = read_photo(job.source)
    notes = [*photo.notes, *check_writable(job.target, photo, upscaler.scale)]
    if photo.color.dtype == np.uint16 and upscaler.depth < 16:
        notes.append(f"16-bit photo, but the model has {upscaler.depth} bits")
    photo = bleed_opaque(photo, reach=upscaler.radius)
    layers = [photo.color] if photo.alpha is None else [photo.color, photo.alpha]
    job.target.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(job.target.parent, job.target.name)
    while True:
        try:
            rows = _enlarged(upscaler, layers, tile, job.source, progress)
            write_photo(job.target, photo, rows, upscaler.scale)
            if upscaler.tiles:  # a file may need them only after the first run
                return notes + _note_tiles(upscaler, *photo.color.shape[:2])
            if upscaler.far_seeing:
                notes += _compare_tiles(upscaler, layers, tile, job.source)
            return notes
        except MemoryError:
            tile = _halved(upscaler, tile, job.source)
            notes.append(f"memory ran out; went on with tiles of {tile} pixels")


def upscale_array(
    upscaler: Upscaler, image: np.ndarray, tile: int | None = None
) -> np.ndarray:
    """Returns the enlarged or restored image, of the same type, computed in tiles.

    Args:
        upscaler: The upscaler.
        image: `(H, W)`, `(H, W, 1)` or `(H, W, 3)`, uint8, uint16 or float in [0, 1].
        tile: As for `upscale`.

    Returns:
        The result, `(H * scale, W * scale)` or with a channel axis as `image` has it.

    Raises:
        InputError: If `image` has another shape or type, or `tile` is too small.
    """
    image = np.asarray(image)
    check_image(image)
    tile = tile_side(upscaler, tile)
    color = image[..., None] if image.ndim == 2 else image
    while True:
        try:
            rows = list(_enlarged(upscaler, [color], tile, "image"))
        except MemoryError:
            tile = _halved(upscaler, tile, "image")
            continue
        sr = np.concatenate(rows)
        return sr[..., 0] if image.ndim == 2 else sr


def check_image(image: np.ndarray) -> None:
    """Raises an `InputError` unless `upscale_array` accepts `image`."""
    if image.dtype.kind in "UO":
        raise InputError(
            "`image` must be an array of pixels, as tfsr.data.read_image(file) returns "
            f"of a file. Received: image={image.tolist()!r:.60}."
        )
    known = image.ndim == 2 or (image.ndim == 3 and image.shape[-1] in (1, 3))
    if not known or 0 in image.shape:
        raise InputError(
            "`image` must be (H, W), (H, W, 1) or (H, W, 3). "
            f"Received: shape={image.shape}."
        )
    if np.issubdtype(image.dtype, np.floating):
        low, high = image.min(), image.max()
        if not (low >= 0 and high <= 1):
            raise InputError(
                "`image` of floats must be in [0, 1]. "
                f"Received: values from {low:g} to {high:g}."
            )
    elif image.dtype not in (np.uint8, np.uint16):
        raise InputError(
            f"`image` must be uint8, uint16 or float. Received: dtype={image.dtype}."
        )


def tile_side(upscaler: Upscaler, asked: int | None = None) -> int:
    """Returns the side of an upscaler's tiles in LR pixels, a multiple of `alignment`.

    Args:
        upscaler: The upscaler.
        asked: The requested side; by default one that fits the free memory.

    Raises:
        InputError: If `asked` is too small for the upscaler's radius.
    """
    step, radius = upscaler.alignment, upscaler.radius
    least = 2 * radius + step
    if upscaler.tiles:  # an upscaler of one size has tiles of its own
        return max(MAX_TILE, align(least, step))
    tile = asked or max(least, automatic_tile(upscaler.working_bytes, radius))
    if tile < least:
        raise InputError(
            f"{upscaler.name}: tiles must have {least} pixels or more, not {tile}; "
            f"they overlap by {radius} on each side, the receptive radius, and smaller "
            "ones would be all overlap."
        )
    return tile - tile % step


def automatic_tile(bytes_per_pixel: int, radius: int) -> int:
    """Returns the side of tiles, in LR pixels, that fits the free memory."""
    budget = min(MEMORY_BUDGET, available_memory() // 2)
    side = int((budget / bytes_per_pixel) ** 0.5)
    enough = max(MAX_TILE, MAX_RADII * radius)
    return max(2 * radius + 16, min(enough, side))


def _note_tiles(upscaler, height, width):
    """Returns a note if the tiles of a fixed-size upscaler may be visible."""
    if upscaler.tiles.is_exact(height, width):
        return []
    note = "tiles of {}x{}, all that the model takes, may show".format(
        *upscaler.tiles.size
    )
    return [f"{note}: {sees_all(upscaler)}" if upscaler.far_seeing else note]


def _compare_tiles(upscaler, layers, tile, name):
    """Returns a note on how much tiles change the result of a far-seeing network.

    It computes a center crop of one tile as a whole, and in four or more tiles. There
    is no note if one tile holds the image.
    """
    height, width = layers[0].shape[:2]
    if max(height, width) <= tile:
        return []
    sides = min(height, tile), min(width, tile)
    top, left = (height - sides[0]) // 2, (width - sides[1]) // 2
    crop = [layer[top:, left:][: sides[0], : sides[1]] for layer in layers[:1]]
    least = 2 * upscaler.radius + upscaler.alignment
    smaller = tile_side(upscaler, max(least, tile // 2))
    whole, parts = (
        np.concatenate(list(_enlarged(upscaler, crop, side, name))).astype(np.float64)
        for side in (tile, smaller)
    )
    most = np.abs(whole - parts).max()
    if not np.issubdtype(crop[0].dtype, np.floating):
        most /= np.iinfo(crop[0].dtype).max
    return [
        f"{sees_all(upscaler)}, tiles do not: on a crop of {sides[0]}x{sides[1]} tiles "
        f"of {smaller} pixels differ by up to {255 * most:.1f} of 255"
    ]


def _halved(upscaler, tile, name):
    """Returns the smaller tile to continue with when memory ran out."""
    if upscaler.tiles:  # of one size
        least = "{}x{}".format(*upscaler.tiles.size)
    elif tile // 2 < 2 * upscaler.radius + upscaler.alignment:
        least = str(tile)
    else:
        return tile_side(upscaler, tile // 2)
    raise InputError(
        f"{name}: too little memory even for tiles of {least} pixels."
    ) from None


def _enlarged(upscaler, layers, tile, name, progress=None) -> Iterator[np.ndarray]:
    """Yields the result in bands, of the type of `layers`.

    Args:
        upscaler: The upscaler.
        layers: Colour `(H, W, C)` and, if there is one, alpha `(H, W)`, which becomes
            the last channel.
        tile: Side of the tiles.
        name: The name of the image in messages.
        progress: A progress bar of tiles.
    """
    height, width, channels = layers[0].shape
    scale, dtype = upscaler.scale, layers[0].dtype
    grid = (tile, upscaler.radius, upscaler.alignment)
    run = _for_channels(upscaler, channels)
    if progress is not None:
        progress.reset(total=tiles(height, width, *grid))

    def enlarge(lr):  # float32 (h, w, C), with alpha if there is one
        parts = [run(lr[..., :channels])]
        if len(layers) > 1:
            parts.append(imresize(lr[..., channels:], scale))
        if progress is not None:
            progress.update()
        sr = np.concatenate(parts, axis=-1)
        if not np.isfinite(sr).all():
            raise InputError(f"{name}: the model's output is not finite.")
        return _of_type(np.clip(sr, 0, 1), dtype)

    yield from bands(enlarge, scale, layers, *grid)


def _of_type(image, dtype):
    """Returns floats in [0, 1] as `dtype`; integers span its full range."""
    if np.issubdtype(dtype, np.floating):
        return image.astype(dtype)
    return (image * np.iinfo(dtype).max + 0.5).astype(dtype)


def _for_channels(upscaler, channels):
    """Returns `upscaler` as a function of images with 1 or 3 channels."""
    if upscaler.channels == channels:
        return upscaler
    if channels == 1:
        return lambda lr: upscaler(np.repeat(lr, 3, axis=-1)) @ LUMA[:, None]
    task = upscaler.task
    if upscaler.scale == 1 and task is not None and task.of_luma:
        return lambda lr: _restore_luma(upscaler, lr)
    return lambda lr: np.concatenate(
        [upscaler(lr[..., c : c + 1]) for c in range(channels)], axis=-1
    )


def _restore_luma(upscaler, lr):
    """Returns RGB with restored luma, as JPEG defines it, and unchanged Cb and Cr."""
    # Summed in this order, as in the browser. A matrix product may differ in the last
    # bit, which decides the rounding to 8 bits where a value is halfway.
    y = sum(weight * lr[..., c : c + 1] for c, weight in enumerate(LUMA))
    return lr + (np.clip(upscaler(y), 0, 1) - y)
