"""Draws crops of spoiled photographs of scikit-image, enlarged at x2.

By bicubic, by the network for clean files, and by the one for photographs.

python tools/photo_picture.py -o docs/pictures/photo.png
"""

import argparse

from tfsr.data import BenchmarkFolder
from tfsr.data.degradation import from_table
from tfsr.data.embedded import HELD_OUT, photographs
from tfsr.pictures import side_by_side
from tfsr.scoring.evaluation import psnr
from tfsr.upscaling.upscalers import BicubicUpscaler, from_uint8, to_uint8
from tfsr.zoo.upscalers import load_upscaler

SCALE = 2
PHOTOGRAPH = "chelsea"
PLACE = slice(70, 190), slice(130, 250)
SPOILED = {
    "quality 95": [{"name": "jpeg", "quality": 95}],
    "quality 75": [{"name": "jpeg", "quality": 75}],
    "quality 50": [{"name": "jpeg", "quality": 50}],
    "quality 30": [{"name": "jpeg", "quality": 30}],
    "noise of sigma 5": [{"name": "noise", "sigma": 5}],
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", required=True)
    options = parser.parse_args()
    models = {
        "bicubic": BicubicUpscaler(SCALE),
        "sesr_m": load_upscaler(f"sesr_m_x{SCALE}_int8"),
        "photo": load_upscaler(f"photo_x{SCALE}_int8"),
    }
    rows = []
    for name, steps in SPOILED.items():
        task = from_table([{"name": "bicubic"}, *steps]).in_8_bits()
        folder = BenchmarkFolder(photographs(HELD_OUT), SCALE, degradation=task)
        (pair,) = (pair for pair in folder if pair.name == PHOTOGRAPH)
        row = {}
        for model, upscaler in models.items():
            sr = to_uint8(upscaler(from_uint8(pair.lr)))
            title = f"{model} {psnr(sr, pair.hr, SCALE):.2f} dB"
            row[f"{name}: {title}" if not row else title] = sr[PLACE]
        rows.append({**row, "original": pair.hr[PLACE]})
    side_by_side(options.out, rows)


if __name__ == "__main__":
    main()
