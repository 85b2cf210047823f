"""What a file loses where it runs: on a GPU or an NPU instead of this CPU."""

from pathlib import Path

import numpy as np

from tfsr.data import BenchmarkFolder
from tfsr.errors import InputError
from tfsr.scoring.evaluation import psnr
from tfsr.tflite.devices.delegates import Delegate, DelegatedUpscaler
from tfsr.tflite.quantization.saturation import CORNERS, flat_field
from tfsr.tflite.runtime import TFLiteUpscaler
from tfsr.tflite.verification import verify
from tfsr.upscaling.upscalers import Upscaler, from_uint8, to_uint8


def on_delegate(
    file: str | Path,
    delegate: Delegate,
    original: Upscaler,
    folder: BenchmarkFolder,
    picture: str | Path | None = None,
) -> dict:
    """Returns what `verify` does, of a file that a delegate runs.

    Images are cut to their middle, of the file's size: engines in software are slow.

    Args:
        file: A `.tflite` file of fixed size.
        delegate: What runs it.
        original: The float model it was made from.
        folder: The images.
        picture: As for `verify`.

    Returns:
        Also `psnr_on_cpu`, what the file has on this CPU; `device`, what ran it; and
        `notes`, one-line remarks.

    Raises:
        InputError: If the file is of open size or the delegate does not run it.
    """
    local = TFLiteUpscaler(file)
    size = local.metadata.get("size")
    if not size:
        raise InputError(
            f"{file}: its size is open, and {delegate.name} wants a fixed one; convert "
            "it with --size 32x48."
        )
    height, width = size
    cut = folder.middles((height, width))
    pairs = list(cut)
    images = [from_uint8(pair.lr) for pair in pairs]
    colors = CORNERS.get(local.channels, {}).values()
    fields = [flat_field(color, height, width) for color in colors]
    converted = DelegatedUpscaler(file, delegate, [*images, *fields])
    report = verify(converted, original, cut, picture, (height, width))
    on_cpu = [
        psnr(to_uint8(local(lr)), pair.hr, cut.border)
        for lr, pair in zip(images, pairs, strict=True)
    ]
    mean = float(np.mean(on_cpu))
    report |= {"psnr_on_cpu": mean, "device": converted.device}
    report["notes"] = [
        f"{converted.name}: runs on {converted.device}, on the middle {height}x{width} "
        f"of {len(pairs)} images; on the CPU it has {mean:.3f} dB."
    ]
    return report
