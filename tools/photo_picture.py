"""Draws crops of degraded photographs of scikit-image, before and after.

python tools/photo_picture.py enlarged -o docs/pictures/photo.png
python tools/photo_picture.py restored -o docs/pictures/restored.png

`enlarged` shows x2 by bicubic, by the network for clean files and by the one for
photographs; `restored` shows the networks that remove JPEG artifacts and noise.
"""

import argparse

from tfsr.data import JPEG, BenchmarkFolder, Chain, GaussianNoise
from tfsr.data.degradation_type import BICUBIC
from tfsr.data.embedded import HELD_OUT, photographs
from tfsr.pictures import side_by_side
from tfsr.scoring.evaluation import psnr
from tfsr.upscaling.upscalers import (
    BicubicUpscaler,
    Unchanged,
    from_uint8,
    to_uint8,
)
from tfsr.zoo.upscalers import load_upscaler

PHOTOGRAPH = "chelsea"
PLACE = slice(70, 190), slice(130, 250)
ENLARGED = {
    **{f"quality {q}": Chain((BICUBIC, JPEG(q))) for q in (95, 75, 50, 30)},
    "noise of sigma 5": Chain((BICUBIC, GaussianNoise(5))),
}
RESTORED = {
    **{f"quality {q}": (JPEG(q), "restore_jpeg_int8") for q in (30, 10)},
    **{f"sigma {s}": (GaussianNoise(s), "denoise_int8") for s in (15, 40)},
}


def enlarged():
    """Returns a row for each way in which LR is spoiled."""
    models = {
        "bicubic": BicubicUpscaler(2),
        "sesr_m": load_upscaler("sesr_m_x2_int8"),
        "photo": load_upscaler("photo_x2_int8"),
    }
    return [row(name, task, 2, models) for name, task in ENLARGED.items()]


def restored():
    """Returns a row for each way in which the photograph is spoiled."""
    return [
        row(name, task, 1, {"input": Unchanged(), model: load_upscaler(model)})
        for name, (task, model) in RESTORED.items()
    ]


def row(name, task, scale, models):
    """Returns crops by title: what each model makes, and the original."""
    folder = BenchmarkFolder(photographs(HELD_OUT), scale, degradation=task.rounded())
    (pair,) = (pair for pair in folder if pair.name == PHOTOGRAPH)
    crops = {}
    for model, upscaler in models.items():
        sr = to_uint8(upscaler(from_uint8(pair.lr)))
        title = f"{model} {psnr(sr, pair.hr, scale):.2f} dB"
        crops[title if crops else f"{name}: {title}"] = sr[PLACE]
    return {**crops, "original": pair.hr[PLACE]}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("picture", choices=["enlarged", "restored"])
    parser.add_argument("-o", "--out", required=True)
    options = parser.parse_args()
    rows = enlarged() if options.picture == "enlarged" else restored()
    side_by_side(options.out, rows)


if __name__ == "__main__":
    main()
