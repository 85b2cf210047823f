"""Reads images as 8-bit arrays for training and scoring.

`tfsr.photos` keeps depth, alpha and metadata instead.
"""

from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from tfsr.data.bt601 import luma
from tfsr.data.resize import to_integers
from tfsr.errors import InputError
from tfsr.photos.folders import SUFFIXES, is_hidden, left_out
from tfsr.photos.opening import image_file, open_image

# Scoring takes about 50 bytes per pixel. No single-sensor camera exceeds 61 megapixels.
MAX_PIXELS = 64_000_000


def list_images(folder: str | Path) -> list[Path]:
    """Returns the visible image files directly in `folder`, sorted by name.

    Raises:
        InputError: If the folder is missing or holds no image.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: not a folder of images.")
    files = sorted(
        file
        for file in folder.iterdir()
        if file.suffix.lower() in SUFFIXES and not is_hidden(file)
    )
    if not files:
        inside = [f.name for f in folder.iterdir() if f.is_dir() and not is_hidden(f)]
        advice = f"expected {', '.join(SUFFIXES)}"
        if inside:
            advice = f"its folders are not looked into: {', '.join(sorted(inside))}"
        raise InputError(f"{folder}: no image in it; {advice}.")
    return files


def images_left_out(folder: str | Path) -> str:
    """Returns a line on the images that `list_images` leaves out, or ""."""
    kinds = left_out(Path(folder).iterdir())
    return f"{folder}: left out, of kinds not read here: {kinds}." if kinds else ""


def read_image(file: str | Path, channels: int | str = 3) -> np.ndarray:
    """Returns the image in `file` as uint8 `(H, W, channels)`.

    The EXIF orientation is applied and alpha dropped; 16 bits become 8. Grayscale is
    repeated into RGB. RGB becomes one channel by Pillow's full-range BT.601 luma, or
    for `"y"` by MATLAB's, 16 to 235; for `"y"`, grayscale files hold such luma already.

    Raises:
        InputError: If the file cannot be decoded.
    """
    with image_file(file) as stream:
        image = open_image(stream)
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise InputError(
                f"{width} x {height} pixels; for training and scoring, which hold "
                f"whole images, at most {MAX_PIXELS / 1e6:g} megapixels: crop it."
            )
        image = ImageOps.exif_transpose(image)
        if image.mode.startswith("I;16"):
            image = Image.fromarray((np.asarray(image) / 257 + 0.5).astype("uint8"))
        elif image.mode in ("P", "PA"):
            image = image.convert("RGBA")
        gray = channels == 1 or (channels == "y" and _is_gray(image))
        pixels = np.asarray(image.convert("L" if gray else "RGB"))
    if channels == "y" and not gray:
        return to_integers(luma(pixels), np.uint8)
    return pixels.reshape(*pixels.shape[:2], 1 if gray else 3)


def stored_channels(files: list[Path]) -> int:
    """Returns 1 if every image in `files` is grayscale, else 3; alpha does not count.

    Raises:
        InputError: If a file is not an image.
    """
    for file in files:
        with image_file(file) as stream:
            if not _is_gray(open_image(stream, whole=False)):
                return 3
    return 1


def _is_gray(image):
    return set(image.getbands()) <= {"1", "L", "A", "I"} or image.mode.startswith(
        "I;16"
    )


def image_size(file: Path) -> tuple[int, int]:
    """Returns height and width of the image in `file`, from its header alone.

    Raises:
        InputError: If the file is not an image.
    """
    with image_file(file) as stream:
        image = open_image(stream, whole=False)
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5
        return image.size if turned else image.size[::-1]
