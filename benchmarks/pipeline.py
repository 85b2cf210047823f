"""Times the input pipeline alone, the training step alone, and both together.

"Cold" is what an image costs without a cache, when it is read, decoded and shrunk.
"Cached" is what a patch costs from the cache, with one thread and with the threads that
training has. Then a config's model is trained in turns on its patches and on one fixed
batch: the time by which the patches take longer is spent waiting. Last comes the memory
once every image has been used: that of the process, and the pages of the cache, which
the system may drop.

python benchmarks/pipeline.py CONFIG [--steps 40] [--images 16] [--set KEY=VALUE ...]
"""

import argparse
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from tfsr.data import imresize, list_images, read_image
from tfsr.data.pairs import crop_to_multiple
from tfsr.models import scales
from tfsr.training import build_model, read_config
from tfsr.training.compiling import build_trainee
from tfsr.training.distribution import Replicas
from tfsr.training.estimate import FixedBatch
from tfsr.training.images import training_patches, unpacked
from tfsr.training.pipeline import Batches

ROUNDS = 3


def main():
    """Prints rates, times of a step, the share of waiting, and memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--images", type=int, default=16, help="decoded for cold")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    config = unpacked(read_config(options.config, options.set))
    model = build_model(config.model, options.config)
    time_cold(config.data, scales(model), options.images)
    before = memory_mb()
    sampler = training_patches(model, config)
    images = sampler.images
    seconds = time_cached(sampler, options.steps)
    for i in range(len(images)):
        images.pair(i, images.scales[0]).hr.sum()
    print_memory(images, before)
    time_steps(build_trainee(model, config), sampler, options.steps, seconds)


def time_cold(data, model_scales, count):
    files = [f for folder in data.train for f in list_images(folder)][:count]
    pixels, started = 0, time.perf_counter()
    for file in files:
        hr = read_image(file, data.channels)
        pixels += hr.shape[0] * hr.shape[1]
        for s in set(model_scales) - {1}:
            imresize(crop_to_multiple(hr, s), 1 / s)
    rate = len(files) / (time.perf_counter() - started)
    print(f"cold        {rate:9.1f} images/s of {pixels / len(files) / 1e6:.2f} MP")


def time_cached(sampler, steps):
    """Returns how many seconds a batch takes one thread."""
    patches = sampler.batch * len(sampler.usable) * steps
    rates = {}
    for threads in (1, Batches(sampler).workers):
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(sampler.__getitem__, range(threads)))
            started = time.perf_counter()
            list(pool.map(sampler.__getitem__, range(steps)))
            rates[threads] = patches / (time.perf_counter() - started)
    print(
        f"cached      {rates[1]:9.1f} patches/s by one thread, "
        f"{rates[threads]:.1f} by {threads}"
    )
    return patches / steps / rates[1]


def time_steps(trainee, sampler, steps, batch_seconds):
    sources = {"patches": sampler, "fixed batch": FixedBatch(sampler.draw(0, 0, 1))}

    def fit(source, steps):
        started = time.perf_counter()
        batches = Replicas().distribute(Batches(source))
        trainee.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0)
        return (time.perf_counter() - started) / steps * 1e3

    for source in sources.values():
        fit(source, 2)
    times = {name: [] for name in sources}
    for _ in range(ROUNDS):
        for name, source in sources.items():
            times[name].append(fit(source, steps))
    fastest = {name: min(t) for name, t in times.items()}
    for name, ms in fastest.items():
        print(f"{name:12}{ms:9.1f} ms a step, rounds {np.round(times[name], 1)}")
    share = 1 - fastest["fixed batch"] / fastest["patches"]
    bound = batch_seconds * 1e3 / fastest["patches"]
    print(f"waiting     {share:9.1%}, at most {bound:.1%}: the time to make a batch")


def print_memory(images, before):
    size = (images.folder / "pixels.bin").stat().st_size / 2**20
    own, mapped = np.subtract(memory_mb(), before)
    print(
        f"memory      {own:9.1f} MB more of its own and {mapped:.0f} MB more mapped, "
        f"with a cache of {size:.0f} MB"
    )


def memory_mb():
    """Returns what belongs to this process and what it maps from files (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return [int(status[key].split()[0]) / 2**10 for key in ("RssAnon", "RssFile")]


if __name__ == "__main__":
    main()
