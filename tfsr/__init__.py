"""Compact multi-scale super-resolution and restoration for phones."""

from tfsr.zoo.loading import load_model

__all__ = ["load_model"]
