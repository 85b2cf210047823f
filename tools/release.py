"""Makes a released model from a run: weights, 8-bit files, and the card with figures.

python tools/release.py NAME --run RUN --hours H --calibrate FOLDER --test FOLDER ...
Without --run, the weights of the released model stay, and so does what its card says
of their training; only the 8-bit files and the figures are made again. Afterwards, run
tools/index_released.py, which updates `tfsr models`.
"""

import argparse
import re
import shlex
import sys
import tempfile
from pathlib import Path

import tfsr
from tfsr import files
from tfsr.data import BenchmarkFolder, list_images
from tfsr.data.degradation_type import BICUBIC
from tfsr.data.images import stored_channels
from tfsr.graph import complexity
from tfsr.metrics import key_of
from tfsr.models import scales
from tfsr.scoring.degraded_lr import BLIND, DEGRADED_LR, gains
from tfsr.scoring.evaluation import baseline, evaluate
from tfsr.tables import markdown
from tfsr.tflite.benchmark.timing import benchmark
from tfsr.tflite.conversion import convert
from tfsr.tflite.runtime import TFLiteUpscaler
from tfsr.training import read_config
from tfsr.training.callbacks import read_log
from tfsr.upscaling.upscalers import KerasUpscaler
from tfsr.zoo import released
from tfsr.zoo.loading import save_arrays

RUNS = 12
HR_SIZE = (720, 1280)  # of latencies
UNIT = released.FOLDER  # has CARN-M in 8 bits, the unit of latency
MEASURED = IN_8_BITS, PROTOCOL, MADE = (  # lines of the card that come with its figures
    "- In 8 bits",
    "- PSNR on Y, or on gray,",
    "- Made and measured by",
)


def parsed():
    """Returns the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--run", type=Path, help="a training's folder")
    parser.add_argument("--hours", type=float, help="of that training")
    parser.add_argument("--calibrate", required=True)
    parser.add_argument("--test", nargs="+", required=True)
    parser.add_argument(
        "--quantized", nargs="*", type=Path, default=[], help="runs in 8 bits"
    )
    parser.add_argument("--fine-sums", action="store_true", help="as for tfsr convert")
    parser.add_argument("--size", nargs=2, type=int, help="of 8-bit files; else open")
    parser.add_argument(
        "--note",
        action="append",
        default=[],
        help="a line of the card, as on what the paper prints and why that is far",
    )
    options = parser.parse_args()
    if (options.run is None) != (options.hours is None):
        parser.error("--run and --hours go together")
    return options


def main():
    options = parsed()
    arrays = released.FOLDER / f"{options.name}.npz"
    if options.run:
        config = (options.run / "config.toml").read_text()
        config = re.sub(r"(?m)^cache = .*\n", "", config)  # a folder of this machine
        files.write_text(arrays.with_suffix(".toml"), config)
        save_arrays(tfsr.load_model(options.run), arrays)
    config = read_config(arrays.with_suffix(".toml"))
    model = tfsr.load_model(arrays)
    head = describe(options, config, model) if options.run else history(arrays)
    quality, latency, degraded = figures(options, config, model)
    card = [*head, *measured(options), *table(quality), *table(latency)]
    card += table(degraded) if degraded else []
    files.write_text(arrays.with_suffix(".md"), "\n".join(card))
    released.write_digests()


def figures(options, config, model):
    """Writes the 8-bit files; returns rows of PSNR, of latency and on degraded LR."""
    quality, latency, degraded = [], [], []
    for scale in scales(model):

        def images(folder, task, scale=scale):
            channels = model.inputs[0].shape[-1]
            return BenchmarkFolder(folder, scale, channels, degradation=task)

        calibration = images(options.calibrate, config.data.task.rounded())
        file = convert_scale(options, model, scale, calibration)
        exact = KerasUpscaler(model, scale)
        quantized = {"int8": TFLiteUpscaler(file)}
        if options.quantized:
            converted = as_converted(options, model, scale, calibration)
            quantized["int8 as converted"] = converted
        for test in options.test:
            for of, task in scored(config, scale).items():
                quality.append(score(exact, quantized, images(test, task), of))
        latency.append(time_scale(model, scale, file, calibration, options.size))
        if scale > 1 and config.data.task != BICUBIC:
            upscalers = {"float": exact, "int8": quantized["int8"]}
            degraded += on_degraded_lr(upscalers, images, options.test)
    return quality, latency, degraded


def convert_scale(options, model, scale, calibration):
    """Writes the 8-bit file of a scale, of a run in 8 bits if there is one."""
    of_scale = f"_x{scale}" if len(scales(model)) > 1 else ""
    file = released.FOLDER / f"{options.name}{of_scale}_int8.tflite"
    quantized = [tfsr.load_model(run) for run in options.quantized]
    source = next((m for m in quantized if scale in scales(m)), model)
    fine = {"fine_sums": options.fine_sums}
    convert(source, scale, "int8", [options.size], file, calibration, **fine)
    return file


def as_converted(options, model, scale, calibration):
    """Returns the upscaler in 8 bits that is not trained for them."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "int8.tflite"
        convert(model, scale, "int8", [options.size], file, calibration)
        return TFLiteUpscaler(file)


def score(model, quantized, folder, of):
    """Returns a row of PSNR: what the network betters, float, 8 bits.

    Args:
        model: The upscaler in float, of the released weights.
        quantized: Those in 8 bits by column.
        folder: The images.
        of: What else tells them from others, as " x2".
    """

    key = key_of("psnr", folder.channels)
    if folder.channels == 3 and stored_channels(folder.hr_files) == 1:
        key = "psnr_rgb"  # R = G = B: the figure on gray, as the literature has it

    def psnr(upscaler):
        return evaluate(upscaler, folder)["mean"][key]

    before, exact = baseline(folder), psnr(model)
    row = {
        "images": f"{folder.folder.name}{of}",
        "before": f"{before.name} {psnr(before):.2f} dB",
        "float": f"{exact:.2f} dB",
    }
    for column, upscaler in quantized.items():
        rounded = psnr(upscaler)
        row[column] = f"{rounded:.2f} dB, loses {exact - rounded:.3f} dB"
    return row


def scored(config, scale):
    """Returns what makes the inputs that a card scores first, by what tells them apart.

    Of an enlarger it is bicubic, of a restorer what it learned from, or levels of it.
    """
    task = config.data.task
    if scale > 1:
        return {f" x{scale}": BICUBIC}
    level = getattr(task, "quality", getattr(task, "sigma", None))
    if isinstance(level, int | float):
        return {"": task.rounded()}
    return {f", {name}": task for name, task in BLIND[task.name].items()}


def on_degraded_lr(upscalers, images, folders):
    """Returns rows of how much upscalers gain on bicubic of the same degraded LR."""
    rows = []
    for name, task in DEGRADED_LR.items():
        row = {"LR": name}
        for folder in folders:
            pairs = images(folder, task)
            of = f"{pairs.folder.name} x{pairs.scale}"
            before, gained = gains(upscalers, pairs)
            row[f"{of}, bicubic"] = f"{before:.2f} dB"
            row |= {f"{of}, {name}": f"{db:+.2f} dB" for name, db in gained.items()}
        rows.append(row)
    return rows


def time_scale(model, scale, file, images, size=None):
    """Returns a row of latencies, float32, 8 bits and CARN-M's timed in turns.

    Args:
        model: The released network.
        scale: One of its scales.
        file: Its file in 8 bits.
        images: Any that it is for.
        size: Height and width of the input; None for those of a 720p output.
    """
    size = size or [side // scale for side in HR_SIZE]
    unit = UNIT / f"carn_m_x{scale}_int8.tflite"
    units = [unit] if unit.exists() and unit != file else []
    with tempfile.TemporaryDirectory() as folder:
        floats = Path(folder) / "float32.tflite"
        convert(model, scale, "float32", [size], floats, images)
        measured = benchmark([floats, file, *units], [1], RUNS, size=size)
    exact, rounded, *of = (result["median_ms"] for result in measured["results"])
    return {
        "input": f"{size[1]}x{size[0]}" + (f" x{scale}" if scale > 1 else ""),
        "float32": f"{exact:.0f} ms",
        "int8": f"{rounded:.0f} ms",
        "of float32": f"{rounded / exact:.2f}",
        "of CARN-M": f"{rounded / of[0]:.2f}" if of else "1" if unit.exists() else "",
        "on": measured["device"],
    }


def describe(options, config, model):
    """Returns the head of the card: from what, how, how long."""
    left_out = config.data.exclude
    sets = [f"{Path(s).name} ({_count(s, left_out)})" for s in config.data.train]
    without = f", without {', '.join(left_out)}" if left_out else ""
    verb = "restore" if scales(model) == (1,) else "upscale"
    of_scale = f"_x{scales(model)[0]}" if len(scales(model)) > 1 else ""
    return [
        f"# {options.name}\n",
        f"{about(config)}\n",
        f"- Use: `tfsr {verb} photo.jpg --model {options.name}{of_scale}_int8`; "
        f"`{options.name}` is the network in float, with the extra `train`",
        f"- Network: {config.model['name']}, {complexity.params(model):,} parameters; "
        f"config `{options.name}.toml`",
        f"- Trained on {', '.join(sets)} images{without}; the epoch chosen on "
        f"{Path(config.data.val).name}",
        f"- {_steps(options.run):,} steps, {options.hours:g} hours on a 2-core server",
        f"- Degradation: {config.data.task}",
    ]


def about(config):
    """Returns what the head of a config says before its commands."""
    head = config.text.partition("# tfsr ")[0].splitlines()
    return " ".join(line[2:] for line in head if line.startswith("# "))


def history(arrays):
    """Returns what `describe` and earlier notes wrote into the card of a model."""
    head, _, _ = arrays.with_suffix(".md").read_text().partition("\n\n| images |")
    return [line for line in head.splitlines() if not line.startswith(MEASURED)]


def measured(options):
    """Returns the lines of the card on its 8-bit files and its figures."""
    return [
        *(f"- {note}" for note in options.note),
        *(f"{IN_8_BITS}{_at(r)}: {_steps(r):,} steps more" for r in options.quantized),
        f"{PROTOCOL} of 8-bit inputs and outputs; latency on one thread, median",
        f"{MADE} `{shlex.join(['python', *sys.argv])}`\n",
    ]


def _count(folder, left_out):
    return sum(file.stem not in left_out for file in list_images(folder))


def _at(run):
    of = scales(tfsr.load_model(run))
    return "" if of == (1,) else f" at {', '.join(f'x{scale}' for scale in of)}"


def _steps(run):
    return len(read_log(run)) * read_config(run / "config.toml").train.steps_per_epoch


def table(rows):
    """Returns the lines of a Markdown table and an empty one; rows by column."""
    return [markdown(rows[0], (row.values() for row in rows)), ""]


if __name__ == "__main__":
    main()
