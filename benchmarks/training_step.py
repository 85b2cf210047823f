"""Times what a training step costs beyond the arithmetic of the network.

The bare step is loss, gradients and optimizer on one fixed batch in a `tf.function`. It
is timed in turns with:

- `fit` on one fixed batch, which adds what Keras does around a step;
- `fit` as `tfsr train` runs it, which adds the patches and the callbacks of a batch;
- the same with Keras' adapter of a `PyDataset` and float32 patches, which
  `pipeline.dataset` replaces;
- the bare step with plain convolutions in place of collapsible ones.

CPU time is that of all threads, which other work disturbs least.

python benchmarks/training_step.py CONFIG [--steps 40] [--set KEY=VALUE ...]
"""

import argparse
import time

import keras
import numpy as np
import tensorflow as tf

from tfsr.layers import CollapsibleConv2D, GroupedConv2D
from tfsr.training import build_model, read_config
from tfsr.training.callbacks import StopOnNaN, TimeEstimate
from tfsr.training.compiling import build_trainee, compile_model
from tfsr.training.distribution import Replicas
from tfsr.training.estimate import FixedBatch
from tfsr.training.images import training_patches, unpacked
from tfsr.training.pipeline import Batches


def main():
    """Prints the time of a step, and its ratio to the bare one of the same round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[])
    options = parser.parse_args()
    config = unpacked(read_config(options.config, options.set))
    model = build_model(config.model, options.config)
    sampler = training_patches(model, config)
    trainee = build_trainee(model, config)
    fixed = FixedBatch(sampler.draw(0, 0, 1))
    ways = {
        "bare": bare(trainee, sampler[0]),
        "fixed batch": fit(trainee, Replicas().distribute(Batches(fixed))),
        "training": fit(trainee, Replicas().distribute(Batches(sampler))),
        "adapter": fit(trainee, Batches(sampler)),
        "plain": bare(plain(trainee, config), sampler[0]),
    }
    for way in ways.values():
        way(2 * config.train.steps_per_execution)
    times = {name: [] for name in ways}
    for _ in range(options.rounds):
        for name, way in ways.items():
            wall, cpu = time.perf_counter(), time.process_time()
            way(options.steps)
            took = time.perf_counter() - wall, time.process_time() - cpu
            times[name].append(np.divide(took, options.steps) * 1e3)
    for name, values in times.items():
        wall, cpu = np.median(values, axis=0)
        more, more_cpu = np.median(np.divide(values, times["bare"]), axis=0)
        print(
            f"{name:12}{wall:8.1f} ms, {more:5.2f} of the bare step; "
            f"{cpu:8.1f} ms of all cores, {more_cpu:5.2f}"
        )


def bare(trainee, batch):
    """Returns a function that takes so many steps on one batch."""
    lr, hr = (tf.constant(side) for side in batch)
    loss_of = keras.losses.MeanAbsoluteError()

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            loss = loss_of(hr, trainee(lr, training=True))
        gradients = tape.gradient(loss, trainee.trainable_variables)
        trainee.optimizer.apply(gradients, trainee.trainable_variables)
        return loss

    def run(steps):
        for _ in range(steps):
            step()

    return run


def plain(trainee, config):
    """Returns the network as it is after collapsing, to train."""

    def collapsed(layer):
        if isinstance(layer, CollapsibleConv2D):
            policy = layer.dtype_policy
            return GroupedConv2D(layer.filters, 3, name=layer.name, dtype=policy)
        return type(layer).from_config(layer.get_config())

    network = keras.Model(trainee.input, trainee.output)
    network = keras.models.clone_model(network, clone_function=collapsed)
    compile_model(network, config)
    return network


def fit(trainee, batches):
    """Returns a function that takes so many steps as `tfsr train` takes them."""

    def run(steps):
        trainee.fit(
            batches,
            steps_per_epoch=steps,
            callbacks=[StopOnNaN(), TimeEstimate()],
            shuffle=False,
            verbose=1,
        )

    return run


if __name__ == "__main__":
    main()
