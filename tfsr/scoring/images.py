"""Chooses the images that an upscaler is scored on."""

from dataclasses import replace
from pathlib import Path

from tfsr.data import BenchmarkFolder, stored_channels
from tfsr.data.degradation_type import BICUBIC, Degradation, chain, check_kind
from tfsr.data.degradations import DEGRADATIONS
from tfsr.data.parameters import fixed
from tfsr.errors import InputError
from tfsr.upscaling.upscalers import BicubicUpscaler, Unchanged, Upscaler


def images_to_score(
    upscaler: Upscaler,
    folder: str | Path,
    asked: Degradation | None = None,
    channels: int | str | None = None,
    rescale: float = 1,
    seed: int = 0,
    uint8: bool = False,
    border: int | None = None,
) -> BenchmarkFolder:
    """Returns the benchmark images for an upscaler.

    Args:
        upscaler: The upscaler to score. A baseline is set to the images' channels.
        folder: As for `BenchmarkFolder`.
        asked: As for `task_to_score`.
        channels: Channels of the images: "y" for an upscaler of luma; 1 or 3 for a
            baseline, by default as the files have.
        rescale: As for `BenchmarkFolder`.
        seed: As for `BenchmarkFolder`.
        uint8: Whether noisy images are clipped and rounded to 8 bits, as they always
            are for 8-bit upscalers.
        border: As for `BenchmarkFolder`.

    Raises:
        InputError: As `task_to_score` and `BenchmarkFolder`, or if `uint8` or `seed`
            does not apply to the images.
    """
    task, luma = task_to_score(upscaler, asked), channels == "y"
    if task == BICUBIC and (uint8 or seed):
        raise InputError(
            f"{upscaler.name}: enlarges clean LR; `uint8` and `seed` are for degraded "
            "LR."
        )
    if luma and task != BICUBIC:
        raise InputError(
            f"{upscaler.name}: is scored on luma by bicubic LR, not by {task}."
        )
    if uint8 and not task.fractional:
        raise InputError(f"`uint8` is for noise; these images are from {task}.")
    if uint8 or upscaler.depth == 8:
        task = task.rounded()
    images = BenchmarkFolder(
        folder,
        upscaler.scale,
        "y" if luma else upscaler.channels,
        rescale,
        task,
        seed,
        border,
    )
    if isinstance(upscaler, BicubicUpscaler | Unchanged) and not luma:
        images.channels = channels or stored_channels(images.hr_files)
        upscaler.channels = images.channels
    return images


def task_to_score(upscaler: Upscaler, asked: Degradation | None = None) -> Degradation:
    """Returns the degradation of the images that an upscaler is scored on.

    Args:
        upscaler: The upscaler to score.
        asked: The degradation that the user asks for, applied to LR if the upscaler
            enlarges; by default the one that the upscaler was trained on.

    Raises:
        InputError: If the degradation is unknown, or shrinks for an upscaler that
            restores.
    """
    own = upscaler.task or (BICUBIC if upscaler.scale > 1 else None)
    found = asked_or_own(asked, own, upscaler.scale)
    if found is None:
        options = [kind.option for kind in DEGRADATIONS.values() if kind.option]
        flags = " or ".join(f"{option.flag} {option.metavar}" for option in options)
        raise InputError(
            f"{upscaler.name}: does not say what it restores; give a degradation "
            f"({flags})"
            f"{'.' if isinstance(upscaler, Unchanged) else ', or its run folder.'}"
        )
    if found.shrinks and upscaler.scale == 1:
        raise InputError(f"{upscaler.name}: restores, so it is not scored on {found}.")
    return found


def asked_or_own(
    asked: Degradation | None, own: Degradation | None, scale: int
) -> Degradation | None:
    """Returns the degradation of the images to score; None if it is unknown.

    Args:
        asked: What the user asks for. At a scale above 1, bicubic comes first if no
            step of it shrinks.
        own: What the model was trained on, which is returned without `asked`. Steps
            of `asked` inherit the fixed parameters of the same step here, except the
            one that an option of the command line sets.
        scale: The model's scale.
    """
    if asked is None:
        return own
    check_kind(asked)
    ours = {type(step): step for step in own.steps} if own else {}
    steps = [_set(step, ours.get(type(step), step)) for step in asked.steps]
    return chain([BICUBIC, *steps] if scale > 1 and not asked.shrinks else steps)


def _set(asked, own):
    """Returns `asked` with the fixed parameters of `own`, except that of the option."""
    if asked.option is None:
        return asked
    key = asked.option.parameter
    return replace(asked, **{**fixed(own), key: getattr(asked, key)})
