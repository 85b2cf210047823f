"""Every way by which a file comes in, and damaged files for each.

python tests/support/hostile_files.py --cases 20000 --out found.json  damages files by
the thousand and tells what came of it: no crash, no traceback, no answer after more
than 20 s, no more than 2 GB. Each kind of file is read in a process of its own, which
begins anew where a case ends it. `--only KIND --first N --cases 1` makes case N once
more.
"""

import argparse
import contextlib
import importlib.util
import io
import json
import os
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import unicodedata
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, features

from fuzzing import mutate, mutate_graph, mutate_value

ROOT = Path(__file__).parents[2]
MOST_SECONDS, MOST_MB = 20, 2048
START_S = 600
MOST_DATA = 2**32  # of a worker, so that a case takes no machine down

Use = Callable[[bytes], None]
Way = Callable[[bytes, np.random.Generator], bytes]


@dataclass(frozen=True)
class Entry:
    """One kind of file.

    Attributes:
        prepare: Gets a folder that is its own; returns sound files, and what uses the
            bytes of one. That raises an `InputError` of one line for what is refused.
        share: How many cases of 20,000.
        ways: How files are damaged, each as often as the others.
    """

    prepare: Callable[[Path], tuple[list[bytes], Use]]
    share: int
    ways: tuple[Way, ...] = (mutate,)

    def case(self, corpus: list[bytes], number: int, seed: int) -> bytes:
        """Returns the damaged file of a number."""
        rng = np.random.default_rng((seed, number))
        way = self.ways[rng.integers(len(self.ways))]
        return way(corpus[rng.integers(len(corpus))], rng)


def command(*arguments) -> None:
    """Runs `tfsr`, which must end well or by one line that nothing is hidden in.

    Raises:
        InputError: If it says what is wrong.
    """
    from tfsr.cli import main
    from tfsr.errors import InputError

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*map(str, arguments)])
    printed = out.getvalue() + err.getvalue()
    hidden = [c for c in printed if unicodedata.category(c) == "Cc" and c not in "\n\r"]
    if hidden:
        raise AssertionError(f"printed {hidden}")
    lines = [line for line in err.getvalue().splitlines() if line]
    if code not in (0, 2) or (code and not lines[-1].startswith("tfsr: ")):
        raise AssertionError(f"exit code {code}: {lines}")
    if code:
        raise InputError(lines[-1])


def saved(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def images(height=24, width=20):
    """Photographs of every kind that is read, with metadata and without."""
    from PIL import ImageCms

    from tfsr.photos import Photo, write_photo

    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (height, width, 4), np.uint8)
    smooth = np.linspace(0, 255, height * width * 4).astype(np.uint8)
    rgba = Image.fromarray(noise // 4 + smooth.reshape(noise.shape) // 2)
    rgb = rgba.convert("RGB")
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    facts = {"exif": exif.tobytes(), "icc_profile": profile}
    corpus = [
        saved(rgb.convert(mode), kind, **options)
        for kind, modes, options in (
            ("PNG", ("L", "LA", "RGBA", "P", "1", "I;16"), {}),
            ("JPEG", ("L", "CMYK"), {}),
            ("JPEG", ("RGB",), {"progressive": True}),
            ("BMP", ("L", "RGB", "P"), {}),
            ("TIFF", ("L", "RGBA", "P", "I;16", "CMYK"), {}),
            ("TIFF", ("RGB",), {"compression": "tiff_lzw"}),
            ("TIFF", ("RGB",), {"compression": "jpeg"}),
            ("TIFF", ("1",), {"compression": "group4"}),
            ("WEBP", ("RGBA",), {"lossless": True}),
            ("GIF", ("P",), {}),
            *((kind, ("RGB",), facts) for kind in ("PNG", "JPEG", "TIFF", "WEBP")),
        )
        for mode in modes
    ]
    if features.check("avif"):
        corpus.append(saved(rgb, "AVIF"))
    deep = np.asarray(rgba).astype(np.uint16) * 257
    deep = Photo(np.ascontiguousarray(deep[..., :3]), deep[..., 3])
    with tempfile.TemporaryDirectory() as folder:
        for name in ("deep.png", "deep.tif"):
            write_photo(Path(folder) / name, deep)
            corpus.append((Path(folder) / name).read_bytes())
    return corpus


def image_trained_on(folder):
    from tfsr.data import ImageCache, ImageSurvey

    (folder / "images").mkdir()

    def use(data):
        (folder / "images/a.png").write_bytes(data)
        try:
            ImageSurvey([folder / "images"], (2,))
            ImageCache([folder / "images"], (2,), folder / "cache").pair(0, 2)
        finally:
            shutil.rmtree(folder / "cache", ignore_errors=True)

    return images(), use


def image_scored(folder):
    (folder / "images").mkdir()

    def use(data):
        (folder / "images/a.png").write_bytes(data)
        scores = ("--scale", 2, "--metrics", "psnr", "--json", folder / "scores.json")
        command("evaluate", "bicubic", folder / "images", *scores)
        json.loads((folder / "scores.json").read_text())

    return images(), use


def image_upscaled(folder):
    def use(data):
        (folder / "a.img").write_bytes(data)
        for ending in ("png", "tif", "jpg"):
            target = folder / f"sr.{ending}"
            options = ("--model", "bicubic", "--scale", 2, "--overwrite")
            command("upscale", folder / "a.img", "-o", target, *options)
            with Image.open(target) as image:
                image.load()

    return images(), use


def tflite_files():
    from tfsr.zoo import released

    names = [f"{name}.tflite" for name in ("sesr_m_x2_int8", "carn_m_x2_int8")]
    return [(released.FOLDER / name).read_bytes() for name in names]


def graph_checked(folder):
    """The check that stands before the runtime, alone: thousands of graphs."""
    from tfsr.tflite.checking import check
    from tfsr.tflite.flatbuffer import pack

    return tflite_files()[:1], lambda data: (pack(check(data, "m.tflite")), None)[1]


def graph_run(folder):
    """What passes the check is run, in the process that is there for it."""
    file = folder / "m.tflite"
    Image.fromarray(np.asarray(Image.effect_noise((48, 40), 60))).save(folder / "a.png")

    def use(data):
        file.write_bytes(data)
        command(
            *("upscale", folder / "a.png", "-o", folder / "sr.png", "--overwrite"),
            *("--model", file),
        )

    return tflite_files(), use


def metadata_of_tflite(folder):
    """The graph is sound, and so is the checksum; what is said of it is not."""
    from tfsr import children
    from tfsr.tflite.runtime import TFLiteUpscaler

    file = folder / "m.tflite"
    children.is_child = True  # where it would be run: in a process of its own
    lr = np.zeros((9, 8, 3), np.float32)

    def use(data):
        file.write_bytes(data)
        upscaler = TFLiteUpscaler(file, threads=1)
        _ = upscaler.task, upscaler.radius, upscaler.working_bytes, upscaler.far_seeing
        assert upscaler(lr).shape == (9 * upscaler.scale, 8 * upscaler.scale, 3)

    return tflite_files()[:1], use


def mutate_metadata(content, rng):
    from tfsr.tflite import metadata

    begin = content.find(metadata.BEGIN)
    end = content.find(metadata.DIGEST, begin) + len(metadata.DIGEST) + 66
    facts = json.loads(content[begin:end])
    mutate_value(facts["tfsr"], rng)
    return metadata.with_metadata(content, facts["tfsr"])


def tiny():
    import keras

    keras.utils.set_random_seed(0)
    x = keras.Input((None, None, 3), name="lr")
    y = keras.layers.Conv2D(12, 3, padding="same", activation="relu", name="head")(x)
    y = keras.layers.UpSampling2D(2, interpolation="bilinear", name="up")(y)
    y = keras.layers.Conv2D(3, 3, padding="same", name="tail")(y)
    model = keras.Model(x, y)
    model.compile("adam", "mse")
    model.optimizer.build(model.trainable_variables)
    return model


def keras_file(folder):
    from tfsr.models import sesr
    from tfsr.zoo.upscalers import load_upscaler

    corpus = []
    for model in (tiny(), sesr(2, filters=4, blocks=1, expanded=8)):
        model.save(folder / "whole.keras")
        corpus.append((folder / "whole.keras").read_bytes())
    lr = np.zeros((9, 8, 3), np.float32)

    def use(data):
        (folder / "m.keras").write_bytes(data)
        upscaler = load_upscaler(folder / "m.keras")
        sr = upscaler(lr)
        assert sr.shape == (9 * upscaler.scale, 8 * upscaler.scale, 3), sr.shape

    return corpus, use


def mutate_entry(data, rng):
    """Damages one entry of a zip; of JSON, one value."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(changed, "w") as new:
        names = old.namelist()
        damaged = names[rng.integers(len(names))]
        for name in names:
            content = old.read(name)
            if name == damaged:
                change = mutate_json if "json" in name else mutate
                content = change(content, rng)
            new.writestr(name, content)
    return changed.getvalue()


def mutate_json(data, rng):
    value = json.loads(data)
    mutate_value(value, rng)
    return json.dumps(value).encode()


CONFIG = """
[model]
name = "vdsr"
scale = 2
layers = 2
filters = 4

[data]
train = ["a"]
val = "b"
degradation = [{ name = "blur", sigma = [0.2, 2.0] }, { name = "bicubic" }]

[train]
epochs = 3
steps_per_epoch = 2
batch = 2
patch = 8
learning_rate = 1e-4
schedule = { name = "step", every = 2, factor = 0.5 }
clip_norm = 1.0

[quantize]
weight_bits = 8
learn_ranges = 0.5
"""


def arrays(folder):
    """A `.npz` is a model with the config beside it."""
    import tfsr
    from tfsr.training import read_config
    from tfsr.zoo.loading import save_arrays

    (folder / "m.toml").write_text(CONFIG.partition("[quantize]")[0])
    save_arrays(read_config(folder / "m.toml").build(), folder / "whole.npz")

    def use(data):
        (folder / "m.npz").write_bytes(data)
        tfsr.load_model(folder / "m.npz")

    return [(folder / "whole.npz").read_bytes()], use


def checkpoint(folder):
    import torch

    from tfsr.zoo.carn_checkpoints import import_carn

    rng = np.random.default_rng(0)
    shapes = {"entry.weight": (8, 3, 3, 3), "entry.bias": (8,)}
    shapes |= {"b1.b1.body.0.weight": (8, 8, 3, 3), "c1.body.0.weight": (8, 16, 1, 1)}
    state = {
        name: torch.tensor(rng.random(shape), dtype=torch.float32)
        for name, shape in shapes.items()
    }
    torch.save(state, folder / "whole.pth")

    def use(data):
        (folder / "m.pth").write_bytes(data)
        import_carn(folder / "m.pth")

    return [(folder / "whole.pth").read_bytes()], use


def config(folder):
    def use(data):
        (folder / "c.toml").write_bytes(data)
        command("summary", folder / "c.toml")

    return [CONFIG.encode()], use


def shipped_config(folder):
    """Read, and no network built of it, which takes long."""
    from tfsr.training import read_config

    def use(data):
        (folder / "c.toml").write_bytes(data)
        read_config(folder / "c.toml")

    files = sorted((ROOT / "configs").rglob("*.toml"))
    return [file.read_bytes() for file in files], use


def mutate_toml(data, rng):
    import tomllib

    import tomli_w

    value = tomllib.loads(data.decode())
    mutate_value(value, rng, without=(None, "\udcff"))
    return tomli_w.dumps(value).encode()


def log(folder):
    from tfsr import pictures
    from tfsr.training.callbacks import RunLog

    names = ("epoch", "loss", "val_psnr_x2", "val_psnr", "learning_rate")
    rows = [(n, 0.1 / n, 30 + n, 30 + n, 1e-4) for n in (1, 2, 3)]
    table = "\n".join(",".join(map(str, row)) for row in (names, *rows)) + "\n"

    def use(data):
        (folder / "log.csv").write_bytes(data)
        read = RunLog(folder, 3, "bicubic", {"x2": 30.0})
        assert [row["epoch"] for row in read.rows] == [1, 2, 3]
        line = ([1, 2, 3], [row["val_psnr"] for row in read.rows])
        pictures.curves(folder / "curves.png", "x", "y", {"a": [line]})

    return [table.encode()], use


def mutate_cell(data, rng):
    """Puts something else into one cell of a CSV."""
    rows = [line.split(",") for line in data.decode().splitlines()]
    row = rows[rng.integers(len(rows))]
    odd = ("", "nan", "inf", "-inf", "-1", "1e999", "0x1", "1_0", '"', "\0", "x", "1,1")
    row[rng.integers(len(row))] = odd[rng.integers(len(odd))]
    return "\n".join(map(",".join, rows)).encode()


def results(folder):
    """What a study or a report keeps: what was made, or made anew, never another."""
    from tfsr import files

    made = {"mean": {"psnr_y": 31.5}, "images": [{"name": "a", "psnr_y": 31.5}]}
    file, subject = folder / "kept.json", {"weights": "0123"}

    def use(data):
        file.write_bytes(data)
        kept = files.cached_json(file, subject, lambda: made)
        assert {key: kept[key] for key in made} == made

    files.cached_json(file, subject, lambda: made)
    return [file.read_bytes()], use


def study(folder):
    from tfsr.report.loading import load_models

    runs = folder / "study"
    for name in ("narrow", "wide"):
        (runs / name / "seed_0").mkdir(parents=True)
        tiny().save(runs / name / "seed_0/model.keras")
    networks = [{"name": name, "seeds": [0]} for name in ("narrow", "wide")]
    facts = json.dumps({"scale": 2, "networks": networks}).encode()

    def use(data):
        (runs / "study.json").write_bytes(data)
        load_models([str(runs)])

    return [facts], use


def cache_index(folder):
    from tfsr.data import ImageCache

    (folder / "images").mkdir()
    for name, content in zip("ab", images()[2:4], strict=True):
        (folder / f"images/{name}.png").write_bytes(content)
    arguments = [folder / "images"], (2, 3), folder / "cache"
    index = ImageCache(*arguments).folder / "index.json"

    def use(data):
        index.write_bytes(data)
        cache = ImageCache(*arguments)
        for number in range(len(cache)):
            for scale in cache.scales:
                pair = cache.pair(number, scale)
                assert pair.hr.shape[0] == scale * pair.lr.shape[0]

    return [index.read_bytes()], use


def state(folder):
    """What is loaded is what was saved."""
    from tfsr.training.checkpoints import load_state, save_state

    model = tiny()
    save_state(folder, model, 1)
    (file,) = (folder / "backup").iterdir()
    saved_weights = model.get_weights()

    def use(data):
        file.write_bytes(data)
        load_state(folder, model)
        for ours, theirs in zip(model.get_weights(), saved_weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)

    return [file.read_bytes()], use


ENTRIES = {
    "image trained on": Entry(image_trained_on, 3000),
    "image scored": Entry(image_scored, 1500),
    "image upscaled": Entry(image_upscaled, 800),
    "graph checked": Entry(graph_checked, 1800, (mutate, mutate_graph)),
    "graph run": Entry(graph_run, 200, (mutate_graph,)),
    "metadata": Entry(metadata_of_tflite, 2500, (mutate_metadata,)),
    "keras": Entry(keras_file, 700, (mutate, mutate_entry, mutate_entry)),
    "npz": Entry(arrays, 1000, (mutate, mutate_entry)),
    "pth": Entry(checkpoint, 1000, (mutate, mutate_entry)),
    "toml": Entry(config, 700, (mutate, mutate_toml)),
    "shipped toml": Entry(shipped_config, 2500, (mutate, mutate_toml)),
    "csv": Entry(log, 1000, (mutate, mutate_cell)),
    "json": Entry(results, 1500, (mutate, mutate_json)),
    "study": Entry(study, 400, (mutate, mutate_json)),
    "cache index": Entry(cache_index, 2000, (mutate, mutate_json)),
    "hdf5 state": Entry(state, 600),
}


def attempt(use: Use, data: bytes) -> str:
    """Returns "accepted" or "refused"; whatever else `use` raises passes through."""
    from tfsr.errors import InputError

    try:
        use(data)
    except InputError as error:
        if "\n" in str(error):
            raise AssertionError(f"more than one line: {error}") from error
        return "refused"
    return "accepted"


def work(name: str, seed: int, first: int, last: int) -> None:
    """Uses cases `first` to `last` of an entry; prints a line of JSON for each."""
    from tfsr.memory import peak_memory_mb

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_DATA, MOST_DATA))
    entry = ENTRIES[name]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a command prints is no answer

    def answer(**facts):
        answers.write(json.dumps(facts) + "\n")
        answers.flush()

    with tempfile.TemporaryDirectory() as folder:
        corpus, use = entry.prepare(Path(folder))
        for data in corpus:
            attempt(use, data)  # as they are
        answer(ready=True)
        for number in range(first, last):
            data = entry.case(corpus, number, seed)
            started = time.perf_counter()
            try:
                outcome, what = attempt(use, data), ""
            except BaseException:
                outcome, what = "failed", traceback.format_exc()
            seconds = time.perf_counter() - started
            children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
            answer(
                **{"number": number, "outcome": outcome, "what": what},
                **{"seconds": seconds, "peak_mb": max(peak_memory_mb(), children)},
            )


class Worker:
    """A process that does `work`, whose answers come one by one."""

    def __init__(self, name, seed, first, last):
        self.printed = tempfile.TemporaryFile()  # noqa: SIM115
        command = [sys.executable, __file__, "--work", name]
        command += map(str, (seed, first, last))
        pipes = {"stdout": subprocess.PIPE, "stderr": self.printed}
        self.process = subprocess.Popen(command, text=True, bufsize=1, **pipes)
        if self.answer(START_S) is None:
            raise RuntimeError(f"{name}: did not begin: {self.log()}")

    def answer(self, seconds):
        """Returns the next answer; None if the process ends or it is too late."""
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if ready else ""
        return json.loads(line) if line else None

    def log(self):
        self.process.kill()
        code = self.process.wait()
        self.printed.seek(0)
        return code, self.printed.read().decode(errors="replace")[-2000:]


def survey(name: str, seed: int, first: int, cases: int) -> dict:
    """Returns what came of the cases of an entry."""
    found = {"accepted": 0, "refused": 0, "slowest_s": 0.0, "peak_mb": 0.0}
    failures, number, last = [], first, first + cases
    started = time.perf_counter()
    while number < last:
        worker = Worker(name, seed, number, last)
        while number < last:
            answer = worker.answer(MOST_SECONDS + 5)
            if answer is None:
                code, log = worker.log()
                failures.append({"number": number, "what": f"ended by {code}: {log}"})
                number += 1
                break
            number += 1
            if answer["seconds"] > found["slowest_s"]:
                found |= {"slowest_s": answer["seconds"], "slowest": answer["number"]}
            if answer["peak_mb"] > found["peak_mb"]:
                found |= {"peak_mb": answer["peak_mb"], "largest": answer["number"]}
            late = answer["seconds"] > MOST_SECONDS
            if answer["outcome"] == "failed" or late:
                what = answer["what"] or f"took {answer['seconds']:.1f} s"
                failures.append({"number": answer["number"], "what": what})
            else:
                found[answer["outcome"]] += 1
        worker.log()
    found["seconds"] = time.perf_counter() - started
    return {**found, "cases": cases, "failures": failures}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=20_000, help="of all kinds")
    parser.add_argument("--only", choices=ENTRIES, nargs="+", default=list(ENTRIES))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a file for all of it as JSON")
    parser.add_argument("--work", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        name, *numbers = options.work
        work(name, *map(int, numbers))
        return 0
    if "pth" in options.only and importlib.util.find_spec("torch") is None:
        print("pth: left out, for want of PyTorch")
        options.only.remove("pth")
    total = sum(ENTRIES[name].share for name in options.only)
    found = {}
    for name in options.only:
        cases = -(-ENTRIES[name].share * options.cases // total)
        of_one = found[name] = survey(name, options.seed, options.first, cases)
        print(
            f"{name}: {cases} cases, {of_one['accepted']} accepted, "
            f"{of_one['refused']} refused, {len(of_one['failures'])} failed, "
            f"slowest {of_one['slowest_s']:.2f} s, peak {of_one['peak_mb']:.0f} MB, "
            f"{of_one['seconds']:.0f} s in all",
            flush=True,
        )
        for failure in of_one["failures"][:5]:
            print(f"  {failure['number']}: {failure['what']}", flush=True)
        if options.out:
            options.out.write_text(json.dumps(found, indent=2) + "\n")
    failed = any(one["failures"] or one["peak_mb"] > MOST_MB for one in found.values())
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
