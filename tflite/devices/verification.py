"""Measures the loss of a file on a GPU or an NPU instead of this CPU."""

import math
import tempfile
from pathlib import Path

import numpy as np

from tfsr.data import BenchmarkFolder
from tfsr.files import write_bytes
from tfsr.scoring.evaluation import psnr
from tfsr.scoring.grayness import grays
from tfsr.tflite.devices.delegates import Delegate, DelegatedUpscaler
from tfsr.tflite.interpreters import child_of
from tfsr.tflite.metadata import with_metadata
from tfsr.tflite.quantization.saturation import CORNERS, flat_field
from tfsr.tflite.runtime import TFLiteUpscaler, metadata_of
from tfsr.tflite.verification import verify
from tfsr.upscaling.tiling import align
from tfsr.upscaling.upscalers import Upscaler, from_uint8, to_uint8

SMALL = (32, 48)  # LR pixels: size at which files of open size run


def on_delegate(
    file: str | Path,
    delegate: Delegate,
    original: Upscaler,
    folder: BenchmarkFolder,
    picture: str | Path | None = None,
) -> dict:
    """Returns the report of `verify` for a file that a delegate runs.

    Images are cropped to the file's size, because software engines are slow. A file of
    open size runs at the size `SMALL`.

    Args:
        file: A `.tflite` file of ours.
        delegate: What runs it.
        original: The float model it was made from.
        folder: The images.
        picture: As for `verify`.

    Returns:
        Also `psnr_on_cpu`, what the file has on this CPU; `device`, what ran it; and
        `notes`, one-line remarks.

    Raises:
        InputError: If the delegate does not run the file.
    """
    if metadata_of(file).get("size"):
        return _of_fixed_size(file, delegate, original, folder, picture)
    with tempfile.TemporaryDirectory() as name:
        copy = small_copy(file, name)
        return _of_fixed_size(copy, delegate, original, folder, picture)


def small_copy(
    file: str | Path, folder: str | Path, size: tuple[int, int] | None = None
) -> Path:
    """Returns a copy of a file of open size with a fixed size.

    Args:
        file: A `.tflite` file of ours.
        folder: Where the copy goes, under the same name.
        size: LR pixels, rounded up to what the network takes; `SMALL` by default.
    """
    facts, content = metadata_of(file), Path(file).read_bytes()
    sides = [align(side, facts.get("alignment", 1)) for side in size or SMALL]
    child = child_of(str(file), 3 * math.prod(sides))
    resized = child.run("tfsr.tflite.resizing:at_size", content, *sides)
    copy = Path(folder) / Path(file).name
    write_bytes(copy, with_metadata(resized, {**facts, "size": sides}, content))
    return copy


def _of_fixed_size(file, delegate, original, folder, picture):
    local = TFLiteUpscaler(file)
    height, width = local.size
    cut = folder.middles((height, width))
    pairs = list(cut)
    images = [from_uint8(pair.lr) for pair in pairs]
    colors = CORNERS.get(local.channels, {}).values()
    fields = [flat_field(color, height, width) for color in colors]
    if local.channels == 3:
        fields += grays(height, width).values()
    converted = DelegatedUpscaler(file, delegate, [*images, *fields])
    report = verify(converted, original, cut, picture, (height, width))
    on_cpu = [
        psnr(to_uint8(local(lr)), pair.hr, cut.border)
        for lr, pair in zip(images, pairs, strict=True)
    ]
    mean = float(np.mean(on_cpu))
    report |= {"psnr_on_cpu": mean, "device": converted.device}
    report["notes"] = [
        f"{Path(file).name}: runs on {converted.device}, on the middle "
        f"{height}x{width} of {len(pairs)} images; on the CPU it has {mean:.3f} dB."
    ]
    if converted.note:
        report["notes"].append(f"{Path(file).name}: {converted.note}.")
    return report
