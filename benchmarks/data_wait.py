"""Measures the share of a training step that waits for data.

Trains a config's model by turns on its patches and on one fixed batch; what the first
takes longer is waiting. The time to make a batch bounds it from above: that much would
be waited for if nothing were prefetched.

python benchmarks/data_wait.py configs/carn/carn_m_x4_hour.toml [--steps 40]
"""

import argparse
import time

import numpy as np

from tfsr.data import ImageCache, PatchSampler
from tfsr.models import scales
from tfsr.training import build_model, read_config
from tfsr.training.fit import Batches, compile_model

ROUNDS = 3


class FixedBatch:
    """Stands in for a sampler that costs nothing."""

    def __init__(self, batch):
        self.batch = batch

    def __getitem__(self, step):
        return self.batch


def main():
    """Prints the time of a step of each kind and the share of waiting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    config = read_config(options.config)
    model = build_model(config.model, options.config)
    compile_model(model, config)
    images = ImageCache(config.data.train, scales(model), config.data.cache)
    sampler = PatchSampler(images, config.train.patch, config.train.batch)
    sources = {"patches": sampler, "fixed batch": FixedBatch(sampler[0])}

    def fit(source, steps):
        started = time.perf_counter()
        model.fit(Batches(source), steps_per_epoch=steps, shuffle=False, verbose=0)
        return (time.perf_counter() - started) / steps * 1e3

    for source in sources.values():
        fit(source, 2)
    times = {name: [] for name in sources}
    for _ in range(ROUNDS):
        for name, source in sources.items():
            times[name].append(fit(source, options.steps))
    fastest = {name: min(t) for name, t in times.items()}
    for name, ms in fastest.items():
        print(f"{name:12}{ms:9.1f} ms a step, rounds {np.round(times[name], 1)}")
    started = time.perf_counter()
    for step in range(options.steps):
        sampler[step]
    batch_ms = (time.perf_counter() - started) / options.steps * 1e3
    share = 1 - fastest["fixed batch"] / fastest["patches"]
    print(f"waiting     {share:9.1%}")
    bound = batch_ms / fastest["patches"]
    print(f"a batch     {batch_ms:9.1f} ms to make, {bound:.1%} of a step")


if __name__ == "__main__":
    main()
