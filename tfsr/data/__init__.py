from typing import TYPE_CHECKING

from tfsr.data.cache import ImageCache, ImageSurvey
from tfsr.data.degradation_type import Bicubic, Chain
from tfsr.data.degradations import JPEG, Blur, GaussianNoise, PoissonNoise, Resize
from tfsr.data.images import (
    images_left_out,
    list_images,
    read_image,
    stored_channels,
)
from tfsr.data.pairs import BenchmarkFolder, Pair
from tfsr.data.resize import imresize
from tfsr.data.sampler import PatchSampler
from tfsr.extras import explained

if TYPE_CHECKING:
    from tfsr.data.dataset import PatchDataset

__all__ = [
    "JPEG",
    "BenchmarkFolder",
    "Bicubic",
    "Blur",
    "Chain",
    "GaussianNoise",
    "ImageCache",
    "ImageSurvey",
    "Pair",
    "PatchDataset",
    "PatchSampler",
    "PoissonNoise",
    "Resize",
    "images_left_out",
    "imresize",
    "list_images",
    "read_image",
    "stored_channels",
]


def __getattr__(name: str) -> object:
    if name == "PatchDataset":  # needs Keras, while reading images does not
        with explained():
            from tfsr.data.dataset import PatchDataset

        return PatchDataset
    raise AttributeError(f"module 'tfsr.data' has no attribute {name!r}")
