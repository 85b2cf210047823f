"""Compact multi-scale super-resolution and restoration for phones."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tfsr import data, layers, metrics, models, tflite, training
    from tfsr.api import (
        evaluate,
        load_model,
        mult_adds,
        params,
        train,
        upscale,
    )
    from tfsr.models import MODELS
    from tfsr.tflite.api import benchmark, convert
    from tfsr.zoo.upscalers import load_upscaler

__version__ = "0.1.0"
__all__ = [
    "MODELS",
    "__version__",
    "benchmark",
    "convert",
    "data",
    "evaluate",
    "layers",
    "load_model",
    "load_upscaler",
    "metrics",
    "models",
    "mult_adds",
    "params",
    "tflite",
    "train",
    "training",
    "upscale",
]
_MODULES = ("data", "layers", "metrics", "models", "tflite", "training")
_HOMES = {
    "MODELS": "tfsr.models",
    "benchmark": "tfsr.tflite.api",
    "convert": "tfsr.tflite.api",
    "evaluate": "tfsr.api",
    "load_model": "tfsr.api",
    "load_upscaler": "tfsr.zoo.upscalers",
    "mult_adds": "tfsr.api",
    "params": "tfsr.api",
    "train": "tfsr.api",
    "upscale": "tfsr.api",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES and name not in _HOMES:
        raise AttributeError(f"module 'tfsr' has no attribute {name!r}")
    from tfsr.extras import explained

    with explained():
        if name in _MODULES:
            return importlib.import_module(f"tfsr.{name}")
        return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
