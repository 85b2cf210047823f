"""Silences Pillow and replaces its limits by those of tfsr."""

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, PngImagePlugin

MAX_PNG_TEXT_BYTES = 2**26  # of decompressed texts and ICC profiles
# Pillow's limits and logger and Python's warning filters are global to the process.
_lock = threading.Lock()


@contextmanager
def unguarded_pillow() -> Iterator[None]:
    """Silences Pillow and lifts its limits in the block; `open_image` checks ours."""
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        text = PngImagePlugin.MAX_TEXT_CHUNK
        PngImagePlugin.MAX_TEXT_CHUNK = MAX_PNG_TEXT_BYTES
        logger = logging.getLogger("PIL")
        level = logger.level
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)
            Image.MAX_IMAGE_PIXELS = limit
            PngImagePlugin.MAX_TEXT_CHUNK = text
