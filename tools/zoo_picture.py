"""Draws quality against int8 latency: released models, and published networks.

Quality is PSNR on Y of Set14, in float. Latency is the share of CARN-M's of the same
output, 1280x720: of released models from `released/index.json`, of published networks
from `published.csv`, where `benchmarks/int8_latency.py` measured their forms at x4.

python tools/zoo_picture.py -o docs/pictures/zoo.png
"""

import argparse
import csv
import json
from pathlib import Path

from matplotlib.figure import Figure

from tfsr.files import replacing
from tfsr.zoo import catalogue, released
from tfsr.zoo.choosing import PHOTO

PUBLISHED = Path(__file__).with_name("published.csv")
SCALES = (2, 4)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", required=True)
    options = parser.parse_args()
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    for axes, scale in zip(figure.subplots(1, len(SCALES)), SCALES, strict=True):
        draw(axes, published(scale), "C7", "published, in float, by their authors")
        draw(axes, ours(scale), "C0", "released with tfsr")
        axes.set_xscale("log")
        axes.set_xlabel("int8 latency, CARN-M = 1")
        axes.set_ylabel("PSNR on Y, Set14, dB")
        axes.set_title(f"x{scale}")
        axes.grid(alpha=0.3)
        axes.margins(x=0.15, y=0.1)
        axes.legend(loc="lower right", fontsize=8)
    with replacing(options.out) as temporary:
        figure.savefig(temporary, dpi=150)


def draw(axes, points, colour, label):
    """Marks points by name: a share of latency and a PSNR each."""
    x, y = zip(*points.values(), strict=True)
    axes.scatter(x, y, color=colour, label=label, zorder=2)
    for name, point in points.items():
        axes.annotate(
            name, point, (4, 4), textcoords="offset points", fontsize=8, color=colour
        )


def ours(scale):
    """Returns share and PSNR of the released models for clean LR of a scale."""
    entries = json.loads((released.FOLDER / catalogue.INDEX).read_text())["models"]
    return {
        entry["network"].removesuffix(f"_x{scale}"): (
            entry["int8_latency_of_carn_m"],
            entry["psnr_y"]["Set14"],
        )
        for entry in entries
        if entry["scale"] == scale and not entry["network"].startswith(PHOTO)
    }


def published(scale):
    """Returns share and PSNR of published networks of a scale, by name."""
    with PUBLISHED.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if int(row["scale"]) == scale]
    return {
        row["network"]: (float(row["int8_share"]), float(row["set14"]))
        for row in rows
        if row["int8_share"]
    }


if __name__ == "__main__":
    main()
