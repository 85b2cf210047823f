"""Tells which files of a folder are images, for training, scoring and upscaling."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tfsr.photos.formats import READ_ONLY, WRITABLE

SUFFIXES = tuple(WRITABLE)
# Other kinds of images, which commands report as left out.
OTHERS = (
    *READ_ONLY,
    *(".jp2", ".j2k", ".jxl", ".psd", ".tga"),
    *(".ppm", ".pgm", ".pnm", ".exr", ".hdr", ".svg"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".raf", ".rw2"),
)


def is_hidden(file: Path) -> bool:
    """Returns whether a file is hidden, such as `._a.png` of macOS or our own."""
    return file.name.startswith(".")


def left_out(files: Iterable[Path], taken: tuple[str, ...] = SUFFIXES) -> str:
    """Returns how many images have unsupported endings, such as "2 .jp2, 1 .jxl".

    Args:
        files: All files of a folder.
        taken: The supported endings.
    """
    kinds = Counter(
        suffix
        for file in files
        if (suffix := file.suffix.lower()) in OTHERS
        and suffix not in taken
        and not is_hidden(file)
    )
    return ", ".join(f"{count} {suffix}" for suffix, count in sorted(kinds.items()))
