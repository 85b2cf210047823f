"""Measures what every released 8-bit upscaler gains over bicubic, by degradation of LR.

For each scale, it prints a table with the PSNR on Y of bicubic and the gain of each
model on the same LR: clean, compressed, noisy, or both compressed and noisy.

python benchmarks/gains.py data/test/Set14
"""

import argparse

from tfsr.data import BenchmarkFolder
from tfsr.data.degradation_type import BICUBIC
from tfsr.scoring.degraded_lr import DEGRADED_LR, gains
from tfsr.tables import markdown
from tfsr.zoo import catalogue
from tfsr.zoo.upscalers import load_upscaler


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder")
    parser.add_argument("--scales", nargs="+", type=int, default=[2, 3, 4])
    options = parser.parse_args()
    for scale in options.scales:
        names = enlargers(scale)
        upscalers = {name: load_upscaler(name) for name in names}
        rows = []
        for lr, task in {"clean": BICUBIC, **DEGRADED_LR}.items():
            images = BenchmarkFolder(options.folder, scale, degradation=task)
            before, gained = gains(upscalers, images)
            cells = [f"{gain:+.2f}" for gain in gained.values()]
            rows.append([lr, f"{before:.2f} dB", *cells])
        head = [f"{images.folder.name} x{scale}, LR", "bicubic", *names]
        print(markdown(head, rows), flush=True)
        print()


def enlargers(scale):
    """Returns the names of the released upscalers in 8 bits."""
    return [
        model["name"]
        for model in catalogue.models()["released"]
        if model["scale"] == scale
        and model["task"] == "super-resolution"
        and model["name"].endswith("_int8")
    ]


if __name__ == "__main__":
    main()
