"""Chooses the released model that suits a file."""

import functools
from dataclasses import dataclass
from pathlib import Path

from tfsr.config import parse_config
from tfsr.data.degradation_type import BICUBIC
from tfsr.errors import InputError
from tfsr.photos import read_photo
from tfsr.photos.lossy import sums_of_steps
from tfsr.photos.noise import noise_sigma
from tfsr.photos.origin import LOSSY_BRANDS, Origin, origin_of
from tfsr.zoo import released
from tfsr.zoo.catalogue import restorers

PHOTO = "photo"  # the network for lossy files
# JPEG files up to this quality are for `photo`. Gains of `sesr_m` and `photo` in int8
# over bicubic, PSNR on Y of crops512, in dB:
#     quality   98           96           94           93           92           90
#     x2     2.66, 2.39   2.34, 2.21   1.98, 2.03   1.81, 1.95   1.66, 1.88   1.39, 1.75
#     x4     1.41, 1.26   1.29, 1.20   1.14, 1.14   1.06, 1.10   0.99, 1.08   0.85, 1.02
LOSSY_QUALITY = 93
FAINT = 2  # sigma of invisible noise, which texture may also measure as
SHARPER = (
    "is for clean files; what compression left, such as the blocks of JPEG, "
    "comes out sharper."
)


@dataclass(frozen=True)
class Choice:
    """The model for a file, and why.

    Attributes:
        model: The name of a released model, or the model that was asked for.
        found: The kind of file, such as "a JPEG of quality 60"; "" if the model was
            asked for, or if the file cannot be read.
        warning: A warning that the model suits the file badly, or "".
    """

    model: str
    found: str
    warning: str = ""


def enlarger_of(file: str | Path, scale: int) -> Choice:
    """Returns the model that enlarges a file, in int8 unless the file has 16 bits.

    Raises:
        InputError: If there is no model for the scale.
    """
    name, origin, warning = released.enlarger(scale), origin_of(file), ""
    if _is_spoiled(origin):
        if scale in released.by_scale(PHOTO):
            name = PHOTO
        else:
            warning = f"{name} {SHARPER}"
    in_float = origin.bits == 16
    model = name if in_float else released.int8_name(name, scale)
    return Choice(model, str(origin), warning)


def warning_of(model: str | Path, file: str | Path, scale: int | None) -> str:
    """Returns a warning if a model was asked for that suits a file badly, else "".

    Args:
        model: The model. Only released models are judged.
        file: The photo.
        scale: The scale asked for; None for the model's smallest.
    """
    if _is_spoiled(origin_of(file)) and _is_for_clean_files(model, scale):
        return f"{released.named(str(model))} {SHARPER}"
    return ""


@functools.cache
def _is_for_clean_files(model: str | Path, scale: int | None) -> bool:
    file = released.find(model, scale, smallest=True)
    if file.parent != released.FOLDER:
        return False
    return parse_config(released.config(file)).data.task == BICUBIC


def _is_spoiled(origin: Origin) -> bool:
    return bool(origin.lossy) and (origin.quality or 0) <= LOSSY_QUALITY


def rule() -> dict:
    """Returns the rule that chooses models for 8-bit files, as data for the browser.

    Returns:
        `lossy_quality`: the quality up to which a JPEG counts as lossy; `sums`: the sum
        of a JPEG's luma steps by quality, from 1 on; `brands`: bytes 4 to 11 of lossy
        files; `clean` and `lossy`: names of models by scale; `sharper`: the warning for
        lossy files at scales without a model for them; `faint`: the sigma below which
        noise is ignored; `restorers`: the models of scale 1, with `name`, `kind`, `low`
        and `high` (their range of levels).
    """
    return {
        "lossy_quality": LOSSY_QUALITY,
        "sums": sums_of_steps(),
        "brands": [brand.decode() for brand in LOSSY_BRANDS],
        "clean": {s: released.int8_name(n, s) for s, n in released.ENLARGERS.items()},
        "lossy": {s: released.int8_name(PHOTO, s) for s in released.by_scale(PHOTO)},
        "sharper": SHARPER,
        "faint": FAINT,
        "restorers": [
            {
                "name": released.int8_name(name),
                "kind": data.task.name,
                "low": levels[0],
                "high": levels[1],
            }
            for name, data in restorers().items()
            if (levels := data.task.levels)
        ],
    }


def restorer_of(file: str | Path) -> Choice:
    """Returns the model that restores a file.

    The choice depends on the quality of a JPEG, or on the noise in other files.

    Raises:
        InputError: If no model suits, or the pixels are needed and cannot be read.
    """
    origin = origin_of(file)
    if origin.lossy:
        kind, found = "jpeg", str(origin)
        level: float | None = origin.quality
    else:
        sigma = noise_sigma(read_photo(file).color)
        kind, found = "noise", f"noise of sigma {sigma:.0f}"
        level = sigma if sigma >= FAINT else None
    made_for = {name: data.task for name, data in restorers().items()}
    for name, task in made_for.items():
        if task.name == kind and level is not None and task.suits(level):
            model = name if origin.bits == 16 else released.int8_name(name)
            return Choice(model, found)
    known = ", ".join(f"{name} ({task.in_short})" for name, task in made_for.items())
    if not origin.lossy and level is None:
        found = "no noise found"
    else:
        found = f"{found}, for which tfsr has no model"
    raise InputError(f"{file}: {found}; choose a `model` by what it removes: {known}.")
