"""LPIPS and DISTS by torchmetrics on PyTorch; needs the extra `perceptual`.

torchmetrics has the learned weights of both metrics. The networks under them come from
torchvision, which downloads their weights on first use.
"""

import functools
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchmetrics.functional.image.dists
import torchmetrics.image
import torchvision

from tfsr.errors import InputError

NETWORKS = {  # constructor, downloaded weights, least side of images in pixels
    "lpips": (
        lambda: torchmetrics.image.LearnedPerceptualImagePatchSimilarity(
            net_type="alex", normalize=True
        ),
        torchvision.models.AlexNet_Weights.DEFAULT,
        32,
    ),
    # The class in torchmetrics.image reads 528 MB of weights for every image.
    "dists": (
        torchmetrics.functional.image.dists.DISTSNetwork,
        torchvision.models.VGG16_Weights.DEFAULT,
        16,
    ),
}


@functools.cache
def network(name: str) -> Callable:
    """Returns a network of `NETWORKS`; raises an `InputError` without its weights."""
    make, weights, _ = NETWORKS[name]
    folder = Path(torch.hub.get_dir(), "checkpoints")
    try:
        return make().eval()
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{name}: no weights ({reason}); download {weights.url} and put it into "
            f"{folder}."
        ) from None


def distance(name: str, sr: np.ndarray, hr: np.ndarray) -> float:
    """Returns the perceptual distance of SR from HR; 0 for equal images.

    Args:
        name: A key of `NETWORKS`.
        sr: `(H, W, 3)` or `(H, W, 1)` on the scale of 8 bits; clipped, and gray is
            repeated to RGB.
        hr: The ground truth, of the same shape.
    """
    side = NETWORKS[name][2]
    if min(sr.shape[:2]) < side:
        raise ValueError(
            f"{name.upper()} needs {side}x{side} pixels inside the border. "
            f"Received: shape={sr.shape} inside."
        )
    with torch.inference_mode():
        return float(network(name)(_tensor(sr), _tensor(hr)))


def _tensor(image):
    rgb = np.broadcast_to(image.clip(0, 255) / 255, (*image.shape[:2], 3))
    return torch.from_numpy(rgb.astype(np.float32).transpose(2, 0, 1)[None].copy())
