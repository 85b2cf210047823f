"""The evaluation protocol: an upscaler on a benchmark folder.

LR in 8 bit, SR clipped and rounded to 8 bit, `border` = scale pixels shaved from each
side, the mean of the images' figures. Colour: PSNR and SSIM on Y of BT.601 and on RGB.
One channel: on that channel.
"""

import numpy as np
from tqdm import tqdm

from tfsr import metrics
from tfsr.data import BenchmarkFolder
from tfsr.errors import InputError
from tfsr.inference import from_uint8, to_uint8


def evaluate(upscaler, folder: BenchmarkFolder) -> dict:
    """Returns the report of `tfsr evaluate`: protocol, mean and figures by image.

    Args:
        upscaler: See `tfsr.inference`.
        folder: The images, of the upscaler's scale and channels.
    """
    images = []
    for pair in tqdm(folder, desc=folder.folder.name, unit="image", disable=None):
        sr = to_uint8(upscaler(from_uint8(pair.lr)))
        try:
            figures = score(sr, pair.hr, border=folder.scale)
        except ValueError as error:
            raise InputError(f"{folder.folder}: image {pair.name}: {error}") from None
        images.append({"name": pair.name, **figures})
    return {
        "protocol": {
            "name": "sr_y" if folder.channels == 3 else "sr_gray",
            "luma": "BT.601, 16 to 235, not rounded",
            "border": folder.scale,
            "sr": "clipped and rounded to 8 bit",
            "lr": "imresize" if folder.lr_files is None else "files",
            "rescale": folder.rescale,
        },
        "folder": str(folder.folder),
        "scale": folder.scale,
        "degradation": "bicubic",
        "mean": {
            key: float(np.mean([image[key] for image in images]))
            for key in images[0]
            if key != "name"
        },
        "images": images,
    }


def psnr(sr: np.ndarray, hr: np.ndarray, border: int) -> float:
    """Returns the PSNR that the protocol ranks by: on Y for colour, else on gray.

    Args:
        sr: uint8 `(H, W, C)`.
        hr: uint8 `(H, W, C)`.
        border: Pixels shaved from each side.
    """
    if hr.shape[-1] == 3:
        sr, hr = metrics.luma(sr), metrics.luma(hr)
    return metrics.psnr(sr, hr, border)


def score(sr: np.ndarray, hr: np.ndarray, border: int) -> dict[str, float]:
    """Returns the figures of one image, uint8 `(H, W, C)`, keyed as in the reports."""
    if hr.shape[-1] == 1:
        return {
            "psnr": metrics.psnr(sr, hr, border),
            "ssim": metrics.ssim(sr, hr, border),
        }
    return {
        "psnr_y": psnr(sr, hr, border),
        "ssim_y": metrics.ssim(metrics.luma(sr), metrics.luma(hr), border),
        "psnr_rgb": metrics.psnr(sr, hr, border),
        "ssim_rgb": metrics.ssim(sr, hr, border),
    }
