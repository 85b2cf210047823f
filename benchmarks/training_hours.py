"""Calculates the hours of configs' trainings at a rate of mult-adds per second.

A step costs three times the mult-adds of its patches: once forward, twice backward.
Validation, everything but convolutions, and waiting for patches are left out.

python benchmarks/training_hours.py configs/carn/*.toml [--rate 1e13] [--set KEY=VALUE]
"""

import argparse

from tfsr.config import Config, read_config
from tfsr.graph.complexity import mult_adds
from tfsr.models import luminance_scales, scales, single_scale

PASSES = 3


def mult_adds_of_step(config: Config) -> int:
    """Returns the multiply-accumulates of one step of a training."""
    model, options = config.build(), config.train
    if luminance_scales(model):
        networks = [model]  # which sees patches of all scales, enlarged
    else:
        networks = [single_scale(model, scale) for scale in scales(model)]
    patches = PASSES * options.batch * options.accumulate
    return patches * sum(mult_adds(n, options.patch, options.patch) for n in networks)


def main():
    """Prints mult-adds a step, steps and hours of each config."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", nargs="+")
    parser.add_argument("--rate", type=float, default=1e13, help="a second")
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    for name in options.configs:
        config = read_config(name, options.set)
        step, steps = mult_adds_of_step(config), config.train.steps
        hours = step * steps / options.rate / 3600
        print(f"{name}: {step / 1e9:.1f} G a step, {steps} steps, {hours:.2g} hours")


if __name__ == "__main__":
    main()
