from tfsr.data.cache import ImageCache, ImageSurvey
from tfsr.data.degradation import JPEG, Bicubic, Chain, GaussianNoise
from tfsr.data.images import list_images, read_image, stored_channels
from tfsr.data.pairs import BenchmarkFolder, Pair
from tfsr.data.resize import imresize
from tfsr.data.sampler import PatchSampler

__all__ = [
    "JPEG",
    "BenchmarkFolder",
    "Bicubic",
    "Chain",
    "GaussianNoise",
    "ImageCache",
    "ImageSurvey",
    "Pair",
    "PatchSampler",
    "imresize",
    "list_images",
    "read_image",
    "stored_channels",
]
