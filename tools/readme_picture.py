"""Draws the README's picture: a photograph of scikit-image, enlarged by `sesr_m`.

python tools/readme_picture.py -o docs/pictures/enlarged.png
"""

import argparse

from tfsr.data import BenchmarkFolder
from tfsr.data.embedded import HELD_OUT, photographs
from tfsr.pictures import most_different, side_by_side
from tfsr.scoring.evaluation import psnr
from tfsr.tflite.runtime import TFLiteUpscaler
from tfsr.upscaling.upscalers import BicubicUpscaler, from_uint8, to_uint8
from tfsr.zoo import released

SCALE = 4


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--out", required=True)
    options = parser.parse_args()
    models = {
        "bicubic": BicubicUpscaler(SCALE),
        "SESR in 8 bits": TFLiteUpscaler(released.find(f"sesr_m_x{SCALE}_int8")),
    }
    rows = []
    for pair in BenchmarkFolder(photographs(HELD_OUT), SCALE):
        results = {name: to_uint8(m(from_uint8(pair.lr))) for name, m in models.items()}
        where = most_different(list(results.values()), side=160)
        row = {f"{pair.name}: original": pair.hr[where]}
        for name, sr in results.items():
            row[f"{name} {psnr(sr, pair.hr, SCALE):.2f} dB"] = sr[where]
        rows.append(row)
    side_by_side(options.out, rows)


if __name__ == "__main__":
    main()
