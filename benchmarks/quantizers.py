"""Compares int8 with that of other tools: loss, latency, size and partitions.

python benchmarks/quantizers.py [NETWORK ...] --train FOLDER [FOLDER ...] \
    --images FOLDER --out runs/quantizers

Published networks in plain Keras (`published_networks.py`) are trained at x4 for
minutes, some narrower than published, because what is compared is not the networks but
what the tools make of the same weights. `tfsr` converts each as it is and trained for 8
bits; the other tools are TensorFlow's converter and Google's `ai-edge-quantizer`, if it
is installed. All calibrate on the same patches of the training images.

Trained networks are kept in the folder of `--out` and used again. Each step runs in a
process of its own, so one that aborts does not end the others.

All images must have one size, which the files get too. The files are timed in turns on
one thread. The least CPU time counts, because other work hardly changes it.
"""

import argparse
import importlib.util
import multiprocessing
import time
from functools import partial
from pathlib import Path

import keras
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from published_networks import NETWORKS, SCALE, imdn, rfdn, safmn, span

import tfsr
from tfsr.data import BenchmarkFolder
from tfsr.scoring.evaluation import psnr
from tfsr.tflite import export, metadata
from tfsr.tflite.conversion import convert
from tfsr.tflite.lowering.engine import lower
from tfsr.tflite.quantization.calibration import calibration_patches
from tfsr.tflite.quantization.integers import IntegerUpscaler
from tfsr.tflite.quantization.training import quantize_train
from tfsr.tflite.runtime import TFLiteUpscaler, inspect
from tfsr.training import read_config
from tfsr.upscaling.upscalers import KerasUpscaler, from_uint8, to_uint8

RUNS = 30
TRIES = 3
AS_PUBLISHED = (
    *("FSRCNN", "XLSR", "ABPN", "QuickSRNet-M", "ECBSR-M4C16", "PlainUSR-T"),
    "PlainUSR-S",
)
NARROWER = {
    "IMDN-32x2": partial(imdn, 32, 2),
    "RFDN-24x2": partial(rfdn, 24, 2),
    "SPAN-24x3": partial(span, 24, 3),
    "SAFMN-24x2": partial(safmn, 24, 2),
}
TRAINED = {name: NETWORKS[name] for name in AS_PUBLISHED} | NARROWER

CONFIG = """
[model]
name = "{network}"

[data]
train = {train}
val = "{val}"
val_images = 2
cache = "{out}/cache"

[train]
epochs = {epochs}
steps_per_epoch = {steps}
batch = 4
patch = 24
learning_rate = {learning_rate}
schedule = {{ name = "cosine" }}
loss = "{loss}"
mixed_precision = "{precision}"
clip_norm = 1.0
"""
FLOAT = {
    "epochs": 3,
    "steps": 200,
    "learning_rate": 2e-3,
    "loss": "l1",
    "precision": "bfloat16",
}
OF_NETWORK = {
    "XLSR": {"epochs": 6},
    "ABPN": {"epochs": 12, "learning_rate": 1e-3},  # at 2e-3 it learns nothing
    "PlainUSR-S": {"epochs": 12},  # after 3 it is far below bicubic
}
FOR_8_BITS = {
    "epochs": 2,
    "steps": 20,
    "learning_rate": 1e-4,
    "loss": "l2",
    "precision": "float32",
}
QUANTIZE = """
[quantize]
target = "float"
"""


class Experiment:
    """A network's training, its files, and what both need.

    Args:
        name: A key of `TRAINED`.
        train: Folders of images to learn from and to calibrate on.
        images: A folder of images of one size to measure on.
        out: The folder of all networks.
    """

    def __init__(self, name, train, images, out):
        self.name, self.train, self.images, self.out = name, train, images, out
        self.folder = Path(out, name)

    def config(self, values, more=""):
        """Returns the config of a training, which is written beside it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        network = self.folder / "untrained.keras"
        if not network.is_file():
            keras.utils.set_random_seed(0)
            TRAINED[self.name](size=(None, None)).save(network)
        text = CONFIG + more
        text = text.format(
            network=network, train=self.train, val=self.images, out=self.out, **values
        )
        file = self.folder / "config.toml"
        file.write_text(text)
        return read_config(file)

    def learn(self):
        """Trains the network, or goes on with it."""
        values = FLOAT | OF_NETWORK.get(self.name, {})
        tfsr.train(self.config(values), self.folder / "float")

    def learn_for_8_bits(self):
        """Trains it on for 8 bits, or goes on with that."""
        config = self.config(FOR_8_BITS, QUANTIZE)
        quantize_train(self.folder / "float", config, self.folder / "int8")

    def model(self):
        return tfsr.load_model(self.folder / "float")

    def test_images(self):
        return BenchmarkFolder(self.images, SCALE)

    def calibration(self):
        return BenchmarkFolder(self.train[0], SCALE)

    def size(self):
        (size,) = {pair.lr.shape[:2] for pair in self.test_images()}
        return size

    def file(self, tool):
        return self.folder / f"{tool.replace(' ', '_')}.tflite"


def as_converted(experiment, file, lowering=True):
    size, calibration = [experiment.size()], experiment.calibration()
    convert(experiment.model(), SCALE, "int8", size, file, calibration, lowering)


def trained_on(experiment, file):
    experiment.learn_for_8_bits()
    model, size = tfsr.load_model(experiment.folder / "int8"), [experiment.size()]
    convert(model, SCALE, "int8", size, file, experiment.calibration())


def by_tensorflow(experiment, file):
    as_converted(experiment, file, lowering=False)


def by_ai_edge(experiment, file):
    from ai_edge_quantizer import quantizer, recipe

    size = experiment.size()
    in_float = file.with_suffix(".float.tflite")
    in_float.write_bytes(export.float32(lower(experiment.model(), (), *size)))
    tool = quantizer.Quantizer(str(in_float), recipe.static_wi8_ai8())
    patches = calibration_patches(experiment.calibration())
    images = [{"lr": _of_size(patch, size)[None]} for patch in patches]
    values = tool.calibrate({"serving_default": images})
    facts = {"scale": SCALE, "format": "int8", "size": size}
    content = bytes(tool.quantize(values).quantized_model)
    file.write_bytes(metadata.with_metadata(content, facts))


STOCK = "TensorFlow"
TRAINED_ON = "tfsr, trained on"
TOOLS = {
    "tfsr, as converted": as_converted,
    TRAINED_ON: trained_on,
    STOCK: by_tensorflow,
}
if importlib.util.find_spec("ai_edge_quantizer"):
    TOOLS["ai-edge-quantizer"] = by_ai_edge


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "networks", nargs="*", metavar="NETWORK", help=f"of {', '.join(TRAINED)}"
    )
    parser.add_argument("--train", nargs="+", required=True, metavar="FOLDER")
    parser.add_argument("--images", required=True, metavar="FOLDER")
    parser.add_argument("--out", required=True, metavar="FOLDER")
    options = parser.parse_args()
    unknown = {*options.networks} - TRAINED.keys()
    if unknown:
        parser.error(f"{unknown.pop()}: must be one of {', '.join(TRAINED)}.")
    columns = "loss, dB", "ms", "of TensorFlow's", "KB", "partitions", "simulated"
    print(f"| network | tool | {' | '.join(columns)} |")
    print("| --- | --- |" + " --- |" * len(columns))
    for name in options.networks or TRAINED:
        compare(Experiment(name, options.train, options.images, options.out))


def compare(experiment):
    """Prints a network's rows."""
    if failure := apart(experiment.learn):
        print(f"| {experiment.name} | not trained: {failure} |", flush=True)
        return
    files = {}
    for tool, write in TOOLS.items():
        file = experiment.file(tool)
        failure = apart(write, experiment, file) or apart(run, file)
        if failure:
            print(f"| {experiment.name} | {tool} | {failure} |", flush=True)
        else:
            files[tool] = file
    folder = experiment.test_images()
    in_float = mean_psnr(KerasUpscaler(experiment.model(), SCALE), folder)
    times = processor_ms(files)
    stock = times.get(STOCK, np.nan)
    for tool, file in files.items():
        loss = in_float - mean_psnr(TFLiteUpscaler(file, 1), folder)
        equal = f"{equal_values(experiment):.4%}" if tool == TRAINED_ON else ""
        print(
            f"| {experiment.name}, {in_float:.2f} dB | {tool} | {loss:.3f} | "
            f"{times[tool]:.1f} | {times[tool] / stock:.2f} | "
            f"{file.stat().st_size / 1000:.0f} | {inspect(file)['partitions']} | "
            f"{equal} |",
            flush=True,
        )


def apart(function, *arguments):
    """Calls a function in a process of its own; returns how that failed, else None.

    A crash is tried again: TensorFlow's calibration (2.21) has one now and then.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__"])  # TensorFlow is imported once
    for _ in range(TRIES):
        process = context.Process(target=function, args=arguments)
        process.start()
        process.join()
        if process.exitcode >= 0:
            break
    return f"ended by code {process.exitcode}" if process.exitcode else None


def ready(file):
    """Returns an interpreter of a file on one thread."""
    interpreter = Interpreter(str(file), num_threads=1)
    interpreter.allocate_tensors()
    return interpreter


def run(file):
    """Runs a file once: LiteRT cannot prepare some, or crashes."""
    ready(file).invoke()


def equal_values(experiment):
    """Returns the share of values that the trained network's integers have as its file.

    Of the first image, as integers are slow to simulate.
    """
    lr = from_uint8(experiment.test_images()[0].lr)
    model = tfsr.load_model(experiment.folder / "int8")
    both = IntegerUpscaler(model, SCALE), TFLiteUpscaler(experiment.file(TRAINED_ON), 1)
    ours, file = (to_uint8(upscaler(lr)) for upscaler in both)
    return np.mean(ours == file)


def processor_ms(files):
    """Returns the least time of the processor for a run of each file, in ms."""
    interpreters = {tool: ready(file) for tool, file in files.items()}
    times = {tool: [] for tool in files}
    for _ in range(RUNS):
        for tool, interpreter in interpreters.items():
            started = time.process_time()
            interpreter.invoke()
            times[tool].append(1e3 * (time.process_time() - started))
    return {tool: min(of_tool) for tool, of_tool in times.items()}


def mean_psnr(upscaler, folder):
    return np.mean(
        [
            psnr(to_uint8(upscaler(from_uint8(pair.lr))), pair.hr, folder.border)
            for pair in folder
        ]
    )


def _of_size(patch, size):
    """Returns a patch repeated to a size."""
    rows, columns = map(np.arange, size)
    return patch.take(rows, 0, mode="wrap").take(columns, 1, mode="wrap")


if __name__ == "__main__":
    main()
