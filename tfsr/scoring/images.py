"""Which images an upscaler is scored on."""

from dataclasses import replace
from pathlib import Path

from tfsr.data import BenchmarkFolder, stored_channels
from tfsr.data.degradation import BICUBIC, Degradation, GaussianNoise, in_8_bits
from tfsr.errors import InputError
from tfsr.upscaling.upscalers import BicubicUpscaler, Unchanged, Upscaler


def images_to_score(
    upscaler: Upscaler,
    folder: str | Path,
    asked: Degradation | None = None,
    channels: int | str | None = None,
    rescale: float = 1,
    seed: int = 0,
    rounded: bool = False,
) -> BenchmarkFolder:
    """Returns the benchmark images for an upscaler.

    Args:
        upscaler: What is scored. A baseline is set to the channels of the images.
        folder: As for `BenchmarkFolder`.
        asked: As for `task_to_score`.
        channels: Those of the images: "y" for an upscaler of luma; for a baseline 1 or
            3, by default those of the files.
        rescale: As for `BenchmarkFolder`.
        seed: As for `BenchmarkFolder`.
        rounded: Whether noisy images are clipped and rounded to 8 bits; for an upscaler
            of 8 bits they are anyway.

    Raises:
        InputError: As `task_to_score` and `BenchmarkFolder`, or if `rounded` or `seed`
            is not for the images.
    """
    if upscaler.scale > 1 and (rounded or seed):
        raise InputError(
            f"{upscaler.name}: enlarges; --uint8 and --seed are to restore."
        )
    task = task_to_score(upscaler, asked)
    if rounded and not isinstance(task, GaussianNoise):
        raise InputError(f"--uint8: is for noise; these images are from {task}.")
    if rounded or upscaler.depth == 8:
        task = in_8_bits(task)
    luma = channels == "y"
    images = BenchmarkFolder(
        folder,
        upscaler.scale,
        "y" if luma else upscaler.channels,
        rescale,
        task,
        seed,
    )
    if isinstance(upscaler, BicubicUpscaler | Unchanged) and not luma:
        images.channels = channels or stored_channels(images.hr_files)
        upscaler.channels = images.channels
    return images


def task_to_score(upscaler: Upscaler, asked: Degradation | None = None) -> Degradation:
    """Returns the degradation of the images that an upscaler is scored on.

    Args:
        upscaler: What is scored.
        asked: What the user asks for; what the upscaler was made for by default.

    Raises:
        InputError: If it is unknown, or `asked` is not for the upscaler.
    """
    name = upscaler.name
    if upscaler.scale > 1:
        if asked:
            raise InputError(f"{name}: enlarges; --noise and --jpeg are to restore.")
        return BICUBIC
    own = upscaler.task
    if isinstance(asked, GaussianNoise) and isinstance(own, GaussianNoise):
        asked = replace(own, sigma=asked.sigma)  # still clipped and rounded, or not
    found = asked or own
    if found is None:
        raise InputError(
            f"{name}: does not say what it restores; give --noise SIGMA or --jpeg Q"
            f"{'.' if isinstance(upscaler, Unchanged) else ', or its run folder.'}"
        )
    return found
