"""Measures the quality that a converted model loses against its original."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from tfsr import metrics
from tfsr.data import BenchmarkFolder
from tfsr.data.degradation_type import to_table
from tfsr.pictures import most_different, side_by_side
from tfsr.scoring.evaluation import psnr
from tfsr.scoring.grayness import gray_spread
from tfsr.tflite.quantization.saturation import CORNERS, flat_field
from tfsr.tflite.runtime import TFLiteUpscaler
from tfsr.upscaling.upscalers import Upscaler, from_uint8, sees_all, upscaled

CROP = 96  # HR pixels: side of the crop in the picture
FIELD = (48, 48)  # LR pixels: size of a flat field; its middle third is compared
GAIN = 16  # factor on the difference in the picture


def verify(
    converted: Upscaler,
    original: Upscaler,
    folder: BenchmarkFolder,
    picture: str | Path | None = None,
    field: tuple[int, int] = FIELD,
) -> dict:
    """Returns the report of `tfsr verify`; both models get the same LR.

    Args:
        converted: The converted model.
        original: The model it was made from.
        folder: The images. If degraded by noise, they must be 8-bit.
        picture: A `.png` file to write. It shows the crop of the worst image in which
            the two models differ most, beside HR, the difference and, in restoration,
            the input.
        field: Height and width of the flat fields and of images without colour.

    Returns:
        Means in dB: `psnr_float` (original) and `psnr_quantized` (converted) against HR
        by the evaluation protocol, and `psnr_between` the two over all channels;
        `loss_db` = `psnr_float` - `psnr_quantized`; `channel_bias`, the mean of
        converted - original for each channel, in 8-bit units; `flat_field_error`, as
        the function of that name returns it; `gray_spread`, what
        `tfsr.scoring.grayness` returns of the converted model; `worst_image`, the name
        of the image with the largest loss; `images`, for each image its `name`,
        `lr_size` and figures; `approximated_images`, how many of them a file of fixed
        size runs padded or in tiles that only approximate the network.
        Also `folder`, `scale` and `degradation`.
    """
    images, bias = [], []
    worst: tuple = ()
    for pair in tqdm(folder, desc="verifying", unit="image", disable=None):
        lr = from_uint8(pair.lr)
        ours, theirs = upscaled(converted, lr), upscaled(original, lr)
        image = {
            "name": pair.name,
            "lr_size": list(lr.shape[:2]),
            "psnr_float": psnr(theirs, pair.hr, folder.border),
            "psnr_quantized": psnr(ours, pair.hr, folder.border),
            "psnr_between": metrics.psnr(ours, theirs, folder.border),
        }
        images.append(image)
        if not worst or _loss(image) > _loss(worst[0]):
            worst = image, pair, theirs, ours
        bias.append(np.mean(ours - theirs.astype(np.float64), axis=(0, 1)))
    mean = {
        key: float(np.mean([image[key] for image in images]))
        for key in ("psnr_float", "psnr_quantized", "psnr_between")
    }
    if picture:
        _draw(picture, *worst)
    return {
        "folder": str(folder.folder),
        "scale": folder.scale,
        "degradation": to_table(folder.degradation),
        **mean,
        "loss_db": mean["psnr_float"] - mean["psnr_quantized"],
        "channel_bias": np.mean(bias, axis=0).tolist(),
        "flat_field_error": flat_field_error(converted, original, field),
        "gray_spread": gray_spread(converted, *field),
        "approximated_images": sum(
            converted.tiles is not None
            and not converted.tiles.is_exact(*image["lr_size"])
            for image in images
        ),
        "worst_image": worst[0]["name"],
        "images": images,
    }


def flat_field_error(
    converted: Upscaler, original: Upscaler, field: tuple[int, int] = FIELD
) -> dict[str, int]:
    """Returns how far saturated colours deviate from those of the original.

    Args:
        converted: The converted model.
        original: The model it was made from.
        field: Height and width of the flat fields.

    Returns:
        For each corner of the colour cube, by its name in `CORNERS`, the largest
        difference of the two models on a flat field of it, in 8-bit levels.
    """
    errors = {}
    thirds = [side * converted.scale // 3 for side in field]
    # The zeros that convolutions read beyond the border do not reach the middle third.
    middle = tuple(slice(third, 2 * third) for third in thirds)
    for name, color in CORNERS.get(converted.channels, {}).items():
        image = flat_field(color, *field)
        ours, theirs = (
            upscaled(upscaler, image)[middle].astype(int)
            for upscaler in (converted, original)
        )
        errors[name] = int(np.abs(ours - theirs).max())
    return errors


def tiling_notes(converted: TFLiteUpscaler, report: dict) -> list[str]:
    """Returns notes on images that a fixed-size file can only approximate.

    It takes them in tiles or pads them.

    Args:
        converted: The file.
        report: What `verify` returned of it.
    """
    approximated, count = report["approximated_images"], len(report["images"])
    if not approximated:
        return []
    height, width = converted.size
    if converted.far_seeing:
        return [
            f"{converted.name}: {sees_all(converted)}, the file {height}x{width} "
            f"pixels: {approximated} of {count} images have other sizes and were run "
            "in tiles, so loss and shift include the difference that tiles make; "
            "convert for the size of your images."
        ]
    return [
        f"{converted.name}: {approximated} of {count} images were padded to "
        f"{height}x{width} or run in tiles that overlap by less than the receptive "
        "field; the loss includes that."
    ]


def _loss(image):
    return image["psnr_float"] - image["psnr_quantized"]


def _draw(file, image, pair, theirs, ours):
    where = most_different([ours, theirs], CROP)
    difference = 128 + GAIN * (ours[where].astype(int) - theirs[where])
    crops = {
        f"{image['name']}: HR": pair.hr[where],
        **({"input": pair.lr[where]} if pair.lr.shape == pair.hr.shape else {}),
        f"original, {image['psnr_float']:.2f} dB": theirs[where],
        f"converted, {image['psnr_quantized']:.2f} dB": ours[where],
        f"difference x {GAIN}": np.clip(difference, 0, 255).astype(np.uint8),
    }
    side_by_side(file, [crops])
