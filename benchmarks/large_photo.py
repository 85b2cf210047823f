"""Measures the time and memory to enlarge a large photograph, from file to file.

It makes a PNG and a JPEG of the size given by repeating a photograph, and runs `tfsr
upscale` on each, at x2 with the model that the command chooses.

python benchmarks/large_photo.py --megapixels 100
"""

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image


def photograph(megapixels: float) -> Image.Image:
    """Returns a photograph of 4:3, repeated to that size."""
    height, width = (round((megapixels * 1e6 * part) ** 0.5) for part in (3 / 4, 4 / 3))
    one = skimage.data.astronaut()
    times = -(-height // one.shape[0]), -(-width // one.shape[1]), 1
    return Image.fromarray(np.ascontiguousarray(np.tile(one, times)[:height, :width]))


def measure(source: Path, target: Path) -> tuple[float, float, float]:
    """Returns seconds, seconds of processor time and GB at the peak of `upscale`."""
    command = [sys.executable, "-m", "tfsr", "upscale", str(source), "-o", str(target)]
    started = time.perf_counter()
    process = os.spawnv(os.P_NOWAIT, sys.executable, [*command, "--scale", "2"])
    _, status, used = os.wait4(process, 0)
    seconds = time.perf_counter() - started
    if status:
        sys.exit(f"{source}: ended by {status}.")
    unit = 1 if sys.platform == "darwin" else 2**10
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e9


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megapixels", type=float, default=100)
    parser.add_argument("--formats", nargs="+", default=["png", "jpg"])
    options = parser.parse_args()
    print("| file | seconds | processor seconds | GB at the peak |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for suffix in options.formats:
            source = Path(folder) / f"lr.{suffix}"
            photograph(options.megapixels).save(source)
            figures = measure(source, Path(folder) / f"sr.{suffix}")
            print(f"| {suffix} | {{:.0f}} | {{:.0f}} | {{:.2f}} |".format(*figures))


if __name__ == "__main__":
    main()
