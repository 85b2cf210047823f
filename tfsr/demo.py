"""A demo: train, score, convert and time a small network in a few minutes.

It uses the photographs that come with scikit-image.
"""

import shutil
from pathlib import Path

import tfsr
from tfsr import files
from tfsr.data import BenchmarkFolder
from tfsr.data.embedded import HELD_OUT, TRAINING, photographs
from tfsr.pictures import most_different, side_by_side
from tfsr.scoring.evaluation import evaluate, psnr
from tfsr.terminal import say
from tfsr.tflite.benchmark.timing import benchmark
from tfsr.tflite.conversion import convert
from tfsr.tflite.runtime import TFLiteUpscaler
from tfsr.tflite.verification import verify
from tfsr.training import read_config, train
from tfsr.upscaling.upscalers import (
    BicubicUpscaler,
    KerasUpscaler,
    Upscaler,
    from_uint8,
    upscaled,
)

SCALE = 2
LR_SIZE = (180, 320)  # of the TFLite models; HR is 360 x 640

CONFIG = """\
# A small CARN-M for x2, trained in a few minutes by `tfsr demo`.
[model]
name = "carn_m"
scale = 2
filters = 32
blocks = 1

[data]
train = ["{photographs}/train"]
val = "{photographs}/test"
cache = "{cache}"

[train]
epochs = {epochs}
steps_per_epoch = {steps_per_epoch}
batch = 8
patch = 24            # LR pixels
learning_rate = 4e-3
schedule = {{ name = "cosine", warmup = 50 }}
clip_norm = 10.0
"""


def run_demo(out: str | Path, epochs: int = 10, steps_per_epoch: int = 300) -> dict:
    """Trains, scores, converts, verifies and times a small CARN-M for x2.

    Args:
        out: The folder for models, pictures and tables. A demo that was interrupted
            there is resumed.
        epochs: Epochs of the training.
        steps_per_epoch: Steps of an epoch.

    Returns:
        What `results.json` holds.
    """
    out = Path(out)
    _copy_photographs(out / "photographs")
    say(f"Training a small CARN-M for x{SCALE}")
    model = _trained(out, epochs, steps_per_epoch)

    test = BenchmarkFolder(out / "photographs" / "test", SCALE)
    bicubic, network = BicubicUpscaler(SCALE), KerasUpscaler(model, SCALE)
    upscalers: dict[str, Upscaler] = {"bicubic": bicubic, "CARN-M": network}
    say("Scoring it on photographs that it was not trained on")
    scores = {name: evaluate(upscaler, test) for name, upscaler in upscalers.items()}

    say("Converting it to TFLite, float32 and int8")
    tflite = _converted(model, out)
    int8 = TFLiteUpscaler(tflite["int8"])
    verified = verify(int8, network, test)
    timed = benchmark(list(tflite.values()), threads=[1], runs=20)

    rows = _crops({**upscalers, "CARN-M int8": int8}, test)
    side_by_side(out / "comparison.png", rows)
    report = {"scores": scores, "int8": verified, "latency": timed}
    files.write_json(out / "results.json", report)
    files.write_text(out / "results.md", _table(report) + "\n")
    return report


def summary(report: dict, out: str | Path) -> str:
    """Returns the table of `results.md` and the commands to try next, as text.

    Args:
        report: What `run_demo` returned.
        out: The folder of the demo.
    """
    return f"{_table(report)}\n\n{_next_steps(out)}"


def _trained(out, epochs, steps_per_epoch):
    """Returns the model, trained into `out / "run"`."""
    config = out / "demo.toml"
    files.write_text(
        config,
        CONFIG.format(
            photographs=out / "photographs",
            cache=out / "cache",
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
        ),
    )
    train(read_config(config), out / "run")
    shutil.rmtree(out / "cache", ignore_errors=True)
    return tfsr.load_model(out / "run")


def _converted(model, out):
    """Returns the model's files by format."""
    images = BenchmarkFolder(out / "photographs" / "train", SCALE)
    written = {}
    for format in ("float32", "int8"):
        file = out / f"carn_m_x{SCALE}_{format}.tflite"
        (written[format],) = convert(model, SCALE, format, [LR_SIZE], file, images)
    return written


def _crops(upscalers, test):
    """Returns a row of crops for each image, where CARN-M differs most from bicubic."""
    rows = []
    for pair in test:
        lr = from_uint8(pair.lr)
        results = {name: upscaled(upscaler, lr) for name, upscaler in upscalers.items()}
        where = most_different([results["bicubic"], results["CARN-M"]], side=96)
        row = {f"{pair.name}: original": pair.hr[where]}
        for title, sr in results.items():
            row[f"{title} {psnr(sr, pair.hr, SCALE):.2f} dB"] = sr[where]
        rows.append(row)
    return rows


def _copy_photographs(folder):
    for part, names in (("train", TRAINING), ("test", HELD_OUT)):
        (folder / part).mkdir(parents=True, exist_ok=True)
        for photograph in photographs(names):
            copy = folder / part / photograph.name
            if not copy.exists():
                files.write_bytes(copy, photograph.read_bytes())


def _table(report):
    scores = {name: r["mean"]["psnr_y"] for name, r in report["scores"].items()}
    height, width = LR_SIZE
    lines = [
        f"| x{SCALE} | PSNR on Y | {width}x{height} LR, one thread | file |",
        "| --- | --- | --- | --- |",
        f"| bicubic | {scores['bicubic']:.2f} dB | | |",
    ]
    quality = (scores["CARN-M"], report["int8"]["psnr_quantized"])
    for psnr_y, timed in zip(quality, report["latency"]["results"], strict=True):
        lines.append(
            f"| CARN-M, {timed['format']} | {psnr_y:.2f} dB "
            f"| {timed['median_ms']:.0f} ms | {timed['size_bytes'] / 1000:.0f} KB |"
        )
    return "\n".join(lines)


def _next_steps(out):
    return f"""\
In {out}: comparison.png, run/curve.png, results.md, the models run/model.keras,
carn_m_x2_float32.tflite and carn_m_x2_int8.tflite.

Next, with a folder PHOTOS of your own:
  tfsr evaluate {out}/run PHOTOS
  tfsr train {out}/demo.toml --out my_run --set data.train='["PHOTOS"]'
  tfsr convert my_run --format int8 --size 180x320 --calibrate PHOTOS -o my.tflite
  tfsr benchmark my.tflite"""
