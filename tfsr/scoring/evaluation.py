"""Scores an upscaler on a benchmark folder by the evaluation protocols.

Super-resolution: LR has 8 bits, SR is clipped and rounded to 8 bits, and as many pixels
as the scale are shaved from each side. Restoration: the output is clipped and rounded,
and nothing is shaved; JPEG also has the SSIM of its literature. Colour images have
scores on Y of BT.601 and on RGB, others on their channel. The score of a folder is the
mean over its images.
"""

from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np

from tfsr import metrics
from tfsr.data import BenchmarkFolder, Pair
from tfsr.data.degradation_type import BICUBIC, to_table
from tfsr.data.resize import to_integers
from tfsr.errors import InputError
from tfsr.pictures import most_different, side_by_side
from tfsr.scoring.protocols import usual
from tfsr.terminal import progress
from tfsr.upscaling.upscalers import (
    BicubicUpscaler,
    Unchanged,
    Upscaler,
    from_uint8,
    upscaled,
)

CROP = 96  # side of the crops in pictures


def evaluate(
    upscaler: Upscaler, folder: BenchmarkFolder, names: Sequence[str] | None = None
) -> dict:
    """Returns the report of `tfsr evaluate`: protocol, mean and figures by image.

    Args:
        upscaler: See `tfsr.upscaling.upscalers`.
        folder: The images, of the upscaler's scale and channels.
        names: Keys of `METRICS`; by default PSNR, SSIM and the metrics that papers add
            for the folder's degradation.
    """
    names = tuple(names or default_metrics(folder))
    metrics.check_names(names)
    for name in names:
        metrics.METRICS[name].prepare()
    images = []
    for pair in progress(folder, folder.folder.name, "image"):
        try:
            sr = result(upscaler, pair)
            figures = metrics.figures(sr, pair.hr, folder.border, names)
        except ValueError as error:
            raise InputError(f"{folder.folder}: image {pair.name}: {error}") from None
        images.append({"name": pair.name, **figures})
    return {
        "protocol": _protocol(upscaler, folder, names),
        "folder": str(folder.folder),
        "scale": folder.scale,
        "degradation": _degradation(folder),
        "mean": _mean(images),
        "images": images,
    }


def gain(report: dict, folder: BenchmarkFolder) -> dict:
    """Returns the gain in mean PSNR over the baseline, in dB.

    Args:
        report: The report of `evaluate` on `folder`, with PSNR.
        folder: The images.

    Returns:
        `over`, the name of the `baseline`, and the gains by key.
    """
    before = baseline(folder)
    means = evaluate(before, folder, ("psnr",))["mean"]
    levels = {key: report["mean"][key] - mean for key, mean in means.items()}
    return {"over": before.name, **levels}


def join(parts: Sequence[dict]) -> dict:
    """Returns the report on a folder, joined from the JSON reports on its shards."""
    images = [
        {k: v if k == "name" else float(v) for k, v in image.items()}
        for of_all in zip_longest(*(part["images"] for part in parts))
        for image in of_all
        if image
    ]
    return {**parts[0], "mean": _mean(images), "images": images}


def _mean(images):
    keys = [key for key in images[0] if key != "name"]
    return {key: float(np.mean([image[key] for image in images])) for key in keys}


def default_metrics(folder: BenchmarkFolder) -> tuple[str, ...]:
    """Returns the names of the default metrics for a folder."""
    return (*metrics.DEFAULT, *folder.degradation.metrics)


def result(upscaler: Upscaler, pair: Pair) -> np.ndarray:
    """Returns the image to score: SR clipped and rounded to uint8 `(H, W, C)`.

    For `Unchanged` it is the input itself, so that noise keeps its level. SR of luma is
    not rounded.
    """
    if isinstance(upscaler, Unchanged):
        return pair.lr
    lr = from_uint8(pair.lr)
    if pair.luma:
        return np.clip(upscaler(lr), 0, 1) * 255.0
    return upscaled(upscaler, lr)


def baseline(folder: BenchmarkFolder) -> Upscaler:
    """Returns the baseline upscaler for a folder."""
    if folder.scale > 1:
        return BicubicUpscaler(folder.scale, folder.channels)
    return Unchanged(folder.channels)


def psnr(sr: np.ndarray, hr: np.ndarray, border: int) -> float:
    """Returns the PSNR by which models are ranked: on Y for colour, else on gray.

    Args:
        sr: `(H, W, C)` on the scale of 8 bits.
        hr: uint8 `(H, W, C)`.
        border: Pixels shaved from each side.
    """
    if hr.shape[-1] == 3:
        sr, hr = metrics.luma(sr), metrics.luma(hr)
    return metrics.psnr(sr, hr, border)


def draw_examples(
    file: str | Path, upscaler: Upscaler, folder: BenchmarkFolder, report: dict
) -> None:
    """Draws the worst and the median image of a report: input, output and HR.

    Each is drawn whole and as a crop. In super-resolution the input is enlarged by
    bicubic, and the crop is where input and output differ most; in restoration it is
    where output and HR differ most.

    Args:
        file: The picture to write, `.png`.
        upscaler: The scored upscaler.
        folder: The images.
        report: The report of `evaluate` on them.
    """
    key = metrics.key_of("psnr", folder.channels)
    ranking = np.argsort([image[key] for image in report["images"]])
    before = baseline(folder)
    rows = []
    for which, i in {"worst": ranking[0], "median": ranking[len(ranking) // 2]}.items():
        pair = folder[i]
        shown = {before.name: result(before, pair), "output": result(upscaler, pair)}
        levels = [psnr(image, pair.hr, folder.border) for image in shown.values()]
        titles = [
            f"{title}, {level:.2f} dB"
            for title, level in zip(shown, levels, strict=True)
        ]
        images = [to_integers(image, np.uint8) for image in (*shown.values(), pair.hr)]
        where = most_different(images[:2] if folder.scale > 1 else images[1:], CROP)
        name = f"HR: {pair.name} ({which})"
        rows.append(dict(zip([*titles, name], images, strict=True)))
        crops = [image[where] for image in images]
        rows.append(dict(zip([*shown, "HR"], crops, strict=True)))
    side_by_side(file, rows, inches=4)


def _protocol(upscaler, folder, names):
    on_luma = folder.channels == "y"
    sr = "clipped" if on_luma else "clipped and rounded to 8 bit"
    protocol = {
        "name": usual(folder.scale, folder.channels),
        "border": folder.border,
        "sr": "the input as it is" if isinstance(upscaler, Unchanged) else sr,
        "rescale": folder.rescale,
    }
    if folder.channels != 1:
        rounded = "rounded in HR" if on_luma else "not rounded"
        protocol["luma"] = f"BT.601, 16 to 235, {rounded}"
    if folder.lr_files:
        protocol["lr"] = "files"
    elif folder.scale > 1:
        first = folder.degradation.steps[0]
        protocol["lr"] = "imresize" if first == BICUBIC else "as degraded"
    if on_luma:
        protocol["lr"] = "imresize of the luma, not rounded"
    conventions = {name: metrics.METRICS[name].convention for name in names}
    return {**protocol, **{name: c for name, c in conventions.items() if c}}


def _degradation(folder):
    """Returns the tables of the degradation with the seed of random ones."""
    tables = [
        to_table(step) if step == BICUBIC else {**to_table(step), "seed": folder.seed}
        for step in folder.degradation.steps
    ]
    return tables if len(tables) > 1 else tables[0]
