"""Compares every file on a phone's GPU and NPUs with this machine's CPU.

python benchmarks/device_matrix.py released
python benchmarks/device_matrix.py networks --delegates gpu:float32,qualcomm:SM8650

`released` takes the released models, `networks` every network of MODELS, small and with
random weights. Where a delegate takes the whole file, a cell has the PSNR in dB between
its output and that of the float network.

This needs Chromium's Vulkan driver and the extra `qualcomm`. `browser:float16` and
`browser:float32`, WebGPU in Chromium, also need LiteRT.js (npm install @litertjs/core).
LiteRT's GPU engine ends after two minutes; on a slow machine, `--size 16x24` gives it
less to do. Results are kept by the file's checksum, so the same command continues where
it was interrupted, and measures only what has changed.
"""

import argparse
import atexit
import base64
import functools
import http.server
import json
import runpy
import shutil
import tempfile
import threading
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tfsr import files, metrics, tables
from tfsr.children import ChildError
from tfsr.data import BenchmarkFolder, GaussianNoise
from tfsr.data.embedded import photographs
from tfsr.errors import InputError
from tfsr.models import MODELS
from tfsr.scoring.evaluation import psnr
from tfsr.scoring.images import task_to_score
from tfsr.tflite.conversion import convert
from tfsr.tflite.devices import browser
from tfsr.tflite.devices import delegates as devices
from tfsr.tflite.devices.delegates import Delegate, DelegatedUpscaler, coverage
from tfsr.tflite.devices.engines import ENGINES, Engine
from tfsr.tflite.devices.verification import SMALL, small_copy
from tfsr.tflite.flatbuffer import kind_of, pack, unpack
from tfsr.tflite.metadata import with_metadata
from tfsr.tflite.runtime import TFLiteUpscaler, metadata_of
from tfsr.upscaling.upscalers import from_uint8, to_uint8
from tfsr.zoo import released
from tfsr.zoo.upscalers import load_upscaler

NPUS = ("qualcomm:SM8550", "qualcomm:SM8650", "qualcomm:SM8750")
FORMATS = ("float32", "float16", "int8", "dynamic_int8")
SECONDS = 1200  # for one cell, on a machine that does much else
PHOTOGRAPHS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
NOISE = GaussianNoise(25)  # for a network that restores, with random weights
ROOT = Path(__file__).parents[1]
WEBGPU = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
# Returns what a file gives for each input, as base64; null if it is not taken whole.
IN_BROWSER = """async ({ precision, shape, isFloat }) => {
  const { loadLiteRt, loadAndCompile, Tensor } = await import("./litert/core.js");
  await loadLiteRt(new URL("./litert/", location).href, { jspi: true });
  const load = async (name) => (await fetch(name)).arrayBuffer();
  const options = { accelerator: "webgpu", gpuOptions: { precision } };
  const content = new Uint8Array(await load("file.tflite"));
  const network = await loadAndCompile(content, options);
  if (!network.isFullyAccelerated) return null;
  const lr = new (isFloat ? Float32Array : Uint8Array)(await load("lr")), found = [];
  const length = shape.reduce((a, b) => a * b);
  for (let from = 0; from < lr.length; from += length) {
    const input = new Tensor(lr.slice(from, from + length), shape);
    const [sr] = await network.run([input]);
    const bytes = new Uint8Array((await sr.data()).slice().buffer);
    found.push(btoa(Array.from(bytes, (c) => String.fromCharCode(c)).join("")));
  }
  return found;
}"""


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("released", "networks"))
    parser.add_argument("--delegates", default=",".join(["gpu:float32", *NPUS]))
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--only", default="", help="how their names begin: a,b")
    parser.add_argument("--size", type=size, default=SMALL, help="LR height x width")
    parser.add_argument("--kept", default="device_matrix.json")
    options = parser.parse_args()
    devices.SECONDS = SECONDS
    delegates = [Delegate(name) for name in options.delegates.split(",")]
    for delegate in delegates:
        delegate.check()
    models = (of_released if options.what == "released" else of_networks)()
    begins = tuple(options.only.split(","))
    models = [model for model in models if model[0].startswith(begins)]
    formats = options.formats.split(",")
    kept = files.read_json(options.kept) if Path(options.kept).exists() else {}
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, load, scale, int8 in tqdm(models, disable=None):
            original = load_upscaler(load(), scale)
            images = small_images(original)
            for format in formats:
                plain = Path(folder) / f"{name}_{format}.tflite"
                if format == "int8" and int8:
                    plain.write_bytes(released.find(int8).read_bytes())
                else:
                    of = (original.model, original.scale, format, [None])
                    convert(*of, plain, images)
                apart = tempfile.mkdtemp(dir=folder)
                file = small_copy(opened(plain, options.size), apart, options.size)
                row = {}
                for delegate in [None, *delegates]:
                    key = f"{name} {format} {delegate.name if delegate else 'cpu'}"
                    sha256 = files.sha256(file)
                    if kept.get(key, {}).get("sha256") != sha256:
                        found = measure(file, delegate, original, images)
                        kept[key] = {"sha256": sha256, **found}
                        if found["taken"] == "failed":  # perhaps not the next time
                            kept[key].pop("sha256")
                        files.write_json(options.kept, kept)
                    row[key.split()[-1]] = kept[key]
                rows.append((name, format, row))
    head = ["model", "format", "cpu", *(delegate.name for delegate in delegates)]
    table = [[name, format, *map(cell, row.values())] for name, format, row in rows]
    print(tables.markdown(head, table))
    if options.what == "released":
        shown = [r for r in rows if r[1] == "int8"]
        losses = [
            [name, format, *map(loss, row.values())] for name, format, row in shown
        ]
        print(f"\n{tables.markdown(head, losses)}")


def of_released():
    """Returns name, a function that loads it, scale and int8 file of each model."""
    found = []
    for int8 in (name for name in released.names() if name.endswith("_int8")):
        name = int8.removesuffix("_int8")
        scale = TFLiteUpscaler(released.find(int8)).scale
        known = released.public(name)
        found.append((name, lambda known=known: known, scale, int8))
    return found


def of_networks():
    """Returns the same of every network, its int8 file converted here."""
    small = runpy.run_path(str(ROOT / "tests" / "support" / "networks.py"))["small"]
    scales = {name: 1 if name == "ffdnet" else 2 for name in MODELS}  # it restores
    return [(n, lambda n=n, s=s: small(n, s), s, None) for n, s in scales.items()]


def size(text):
    """Returns height and width of `HxW`."""
    return tuple(map(int, text.split("x")))


def opened(file, size):
    """Returns a file, one of fixed size as if it were of open size.

    An emulator needs minutes for 256x256. What is enlarged to a constant size gets the
    same share of `size`.
    """
    facts, content = metadata_of(file), file.read_bytes()
    if not facts.get("size"):
        return file
    model = unpack(content)
    graph = model.subgraphs[0]
    buffers = {
        graph.tensors[operator.inputs[1]].buffer
        for operator in graph.operators
        if kind_of(model, operator) == "RESIZE_BILINEAR"
    }
    for buffer in (model.buffers[i] for i in buffers):
        sides = np.array(buffer.data, np.uint8).view(np.int32)
        sides = sides * np.array(size) // facts["size"]
        buffer.data = sides.astype(np.int32).view(np.uint8)
    file.write_bytes(with_metadata(pack(model), {**facts, "size": None}, content))
    return file


def small_images(original):
    """Returns the photographs that calibrate and measure."""
    asked = NOISE if original.scale == 1 and not original.task else None
    task = task_to_score(original, asked).rounded()
    files = photographs(PHOTOGRAPHS)
    return BenchmarkFolder(files, original.scale, original.channels, degradation=task)


@functools.lru_cache(maxsize=1)
def samples(original, images, size):
    """Returns LR and HR of every image's middle, and what the float network makes."""
    found = []
    for pair in images.middles(size):
        lr = from_uint8(pair.lr)
        found.append((lr, pair.hr, to_uint8(original(lr))))
    return found


def measure(file, delegate, original, images):
    """Returns what a delegate, None for this CPU, takes of a file and what it loses.

    Returns:
        `taken`; where it is whole `psnr_between`, its output and the float network's,
        and `loss_db`, of PSNR against HR; else `parts` and `reason`.
    """
    upscaler = TFLiteUpscaler(file)
    found = samples(original, images, upscaler.size)
    if delegate:
        try:
            upscaler = DelegatedUpscaler(file, delegate, [lr for lr, _, _ in found])
        except InputError as error:
            answer = coverage(file, delegate)
            reason = answer["reason"] or ", ".join(answer["refused_operators"])
            if answer["taken"] == "whole":
                return {"taken": "failed", "parts": 1, "reason": str(error)}
            return {
                "taken": answer["taken"],
                "parts": answer["parts"],
                "reason": reason,
            }
    between, lost = [], []
    for lr, hr, theirs in found:
        ours = to_uint8(upscaler(lr))
        between.append(metrics.psnr(ours, theirs))
        lost.append(psnr(theirs, hr, images.border) - psnr(ours, hr, images.border))
    return {
        "taken": "whole",
        "psnr_between": float(np.mean(between)),
        "loss_db": float(np.mean(lost)),
    }


def cell(found):
    if found["taken"] == "whole":
        return f"{float(found['psnr_between']):.1f}"
    return f"{found['parts']} parts" if found["taken"] == "parts" else found["taken"]


def loss(found):
    return f"{found['loss_db']:.3f}" if found["taken"] == "whole" else found["taken"]


def run_in_browser(file, option, lr, sr, seconds):
    """Runs a file on the GPU of a page, as `gpu.run` does on that of this machine."""
    inputs = np.load(lr)
    found = _in_page(file, option, inputs)
    if found is None:
        raise ChildError(str(file), "takes it in parts", "")
    values = [np.frombuffer(base64.b64decode(one), inputs.dtype) for one in found]
    files.write_array(sr, np.stack(values))
    return {"device": "WebGPU in Chromium"}


def ask_browser(file, option, seconds):
    no_inputs = np.zeros((0, 1), np.uint8)
    whole = _in_page(file, option, no_inputs) is not None
    return {"parts": 1, "whole": whole, "refused_operators": []}


def _in_page(file, option, inputs):
    folder, page, address = _page()
    shutil.copyfile(file, folder / "file.tflite")
    (folder / "lr").write_bytes(inputs.tobytes())
    page.open(address)
    facts = {
        "precision": option.replace("float", "fp"),
        "shape": inputs.shape[1:],
        "isFloat": inputs.dtype == np.float32,
    }
    try:
        return page.run(f"({IN_BROWSER})({json.dumps(facts)})")
    except RuntimeError as error:
        raise ChildError(str(file), str(error), "") from None


@functools.cache
def _page():
    """Returns a folder that is served, a browser, and the address of a page there."""
    chromium = runpy.run_path(str(ROOT / "tests" / "support" / "browser.py"))
    folder, profile = (Path(tempfile.mkdtemp()) for _ in range(2))
    browser.copy_runtime(folder / "litert", ROOT)
    (folder / "index.html").write_text("<!doctype html><title>A file</title><body>")
    handler = functools.partial(Quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    page = chromium["Browser"](chromium["find_chromium"](), profile, WEBGPU)
    for made in (folder, profile):
        atexit.register(shutil.rmtree, made, ignore_errors=True)
    atexit.register(page.close)
    return folder, page, f"http://127.0.0.1:{server.server_port}/"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


ENGINES["browser"] = Engine(
    "browser:float16", "float(16|32)", ask_browser, run_in_browser
)

if __name__ == "__main__":
    main()
