"""Measures the CPU time that a training step saves by keeping groups apart, in turns.

CPU time is that of all threads, which other work on the machine disturbs least.

python benchmarks/unjoined_groups.py configs/carn/carn_m_x4_hour.toml [--rounds 8]
"""

import argparse
import time

import keras
import numpy as np

from tfsr.training import build_model, read_config
from tfsr.training.compiling import compile_model
from tfsr.training.estimate import FixedBatch, noise
from tfsr.training.pipeline import Batches
from tfsr.training.unjoined_groups import UnjoinedGroups


def main():
    """Prints the median of each, and the median ratio of a round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    config = read_config(options.config)
    model = build_model(config.model, config.source)
    networks = {
        "as written": keras.Model(model.input, model.output),
        "unjoined groups": UnjoinedGroups(model.input, model.output),
    }
    batches = Batches(FixedBatch(noise(model, config.train)))
    times = {name: [] for name in networks}
    for network in networks.values():
        compile_model(network, config)
        network.fit(batches, steps_per_epoch=1, verbose=0)
    for _ in range(options.rounds):
        for name, network in networks.items():
            cpu, wall = time.process_time(), time.perf_counter()
            network.fit(batches, steps_per_epoch=2, shuffle=False, verbose=0)
            times[name].append(
                ((time.process_time() - cpu) / 2, (time.perf_counter() - wall) / 2)
            )
    for name, values in times.items():
        cpu, wall = np.median(values, axis=0)
        print(f"{name:14}{cpu:7.2f} s of CPU a step, {wall:.2f} s passed")
    before, after = (np.array(values) for values in times.values())
    cpu, wall = np.median(after / before, axis=0)
    print(f"{'ratio':14}{cpu:7.2f} of CPU, {wall:.2f} of time passed")


if __name__ == "__main__":
    main()
