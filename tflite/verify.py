"""What a converted model loses against the model it was made from."""

import numpy as np
from tqdm import tqdm

from tfsr import metrics
from tfsr.data import BenchmarkFolder
from tfsr.evaluate import psnr
from tfsr.inference import from_uint8, to_uint8


def verify(converted, original, folder: BenchmarkFolder) -> dict:
    """Returns the report of `tfsr verify`; both models get the same 8-bit LR.

    Args:
        converted: The upscaler of the converted model (see `tfsr.inference`).
        original: The upscaler of the model it was made from.
        folder: The images.

    Returns:
        `psnr_float` and `psnr_quantized` against HR by the evaluation protocol and
        `psnr_between` the two over all channels, means in dB;
        `loss_db` = `psnr_float` - `psnr_quantized`; `channel_bias`, the mean of
        converted - original by channel in 8-bit units; `worst_image`, where the loss
        is largest; `images`.
    """
    images, bias = [], []
    for pair in tqdm(folder, desc="verifying", unit="image", disable=None):
        lr = from_uint8(pair.lr)
        ours, theirs = to_uint8(converted(lr)), to_uint8(original(lr))
        images.append(
            {
                "name": pair.name,
                "psnr_float": psnr(theirs, pair.hr, folder.scale),
                "psnr_quantized": psnr(ours, pair.hr, folder.scale),
                "psnr_between": metrics.psnr(ours, theirs, folder.scale),
            }
        )
        bias.append(np.mean(ours - theirs.astype(np.float64), axis=(0, 1)))
    mean = {
        key: float(np.mean([image[key] for image in images]))
        for key in ("psnr_float", "psnr_quantized", "psnr_between")
    }
    worst = max(images, key=lambda image: image["psnr_float"] - image["psnr_quantized"])
    return {
        "folder": str(folder.folder),
        "scale": folder.scale,
        **mean,
        "loss_db": mean["psnr_float"] - mean["psnr_quantized"],
        "channel_bias": np.mean(bias, axis=0).tolist(),
        "worst_image": worst["name"],
        "images": images,
    }
