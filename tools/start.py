"""Shows how networks start, before any training: `python tools/start.py scn carn_m`.

For each network, it prints the loss beside that of the images' mean colour, the share
of channels that a ReLU leaves at 0 everywhere, the norm of the gradient, and the
standard deviation of each convolution's map. A name is that of a network or a config;
the default is all networks.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from skimage import data

from tfsr.data.resize import imresize
from tfsr.graph.graph import convolution_in, inline
from tfsr.graph.operators import is_relu
from tfsr.layers import GroupedConv2D
from tfsr.metrics import luma
from tfsr.models import MODELS, luminance_scales, training_scales
from tfsr.training import build_model, read_config

SIDE = 16  # LR pixels
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee")


@dataclass(frozen=True)
class Start:
    """A network before its first step.

    Attributes:
        loss: Mean absolute error of all outputs.
        mean_loss: That of the mean colour of each image in place of each output.
        dead: Share of the channels after a ReLU that are 0 at every pixel.
        maps: Standard deviation of what each convolution gives, in the order of the
            network; a convolution that several levels share comes once for each.
    """

    loss: float
    mean_loss: float
    dead: float
    maps: list[tuple[str, float]]


def start_of(model: keras.Model) -> Start:
    """Returns what `model` does to three photographs before any training."""
    inputs, targets = examples(model)
    seen: list = []

    def call(node, *args, **kwargs):
        outputs = node.operation(*args, **kwargs)
        seen.append((convolution_in(node.operation), outputs))
        return outputs

    inline(model).run(inputs, call)
    after_relu = [
        np.asarray(x).max((0, 1, 2)) == 0 for operation, x in seen if is_relu(operation)
    ]
    losses = [
        [np.abs(hr - y).mean() for y in (sr, hr.mean((1, 2), keepdims=True))]
        for sr, hr in zip(outputs_of(model, inputs), targets, strict=True)
    ]
    loss, mean_loss = np.mean(losses, axis=0)
    maps = [
        (operation.name, float(np.std(x)))
        for operation, x in seen
        if isinstance(operation, GroupedConv2D)
    ]
    dead = float(np.mean(np.concatenate(after_relu))) if after_relu else 0.0
    return Start(float(loss), float(mean_loss), dead, maps)


def outputs_of(model: keras.Model, inputs: list) -> list:
    """Returns the outputs of `model` as a step of training sees them."""
    given = dict(zip((x.name for x in model.inputs), inputs, strict=True))
    outputs = model(given if len(given) > 1 else inputs[0], training=True)
    return keras.tree.flatten(outputs)


def examples(model: keras.Model) -> tuple[list, list]:
    """Returns an array for each input of `model` and one for each of its outputs."""
    on_luma = luminance_scales(model)
    scales = on_luma[-1:] or training_scales(model)
    channels = model.inputs[0].shape[-1]
    inputs, targets = [], []
    for scale in scales:
        hr = np.stack([_shrunk(name, SIDE * scale, channels) for name in PHOTOGRAPHS])
        lr = np.stack([imresize(x, 1 / scale) for x in hr]) if scale > 1 else hr
        if on_luma:
            lr = np.stack([imresize(x, scale) for x in lr])
        inputs.append(lr)
        targets += [hr] * (len(model.outputs) // len(scales))
    return inputs, targets


def gradient_norm(model: keras.Model) -> float:
    """Returns the norm of all gradients of the loss together, under TensorFlow."""
    import tensorflow as tf

    inputs, targets = examples(model)
    with tf.GradientTape() as tape:
        pairs = zip(outputs_of(model, inputs), targets, strict=True)
        loss = sum(tf.reduce_mean(tf.abs(sr - hr)) for sr, hr in pairs)
    return float(tf.linalg.global_norm(tape.gradient(loss, model.trainable_weights)))


def main(names: Sequence[str]) -> None:
    for name in names or MODELS:
        keras.utils.set_random_seed(0)
        if Path(name).suffix == ".toml":
            config = read_config(name)
            model = build_model(config.model, config.source)
        else:
            model = MODELS[name]()
        start = start_of(model)
        print(
            f"{name}: loss {start.loss:.3f} (mean colour {start.mean_loss:.3f}), "
            f"dead {start.dead:.1%}, gradient {gradient_norm(model):.2f}"
        )
        for layer, deviation in start.maps:
            print(f"    {layer:24} {deviation:.3f}")


def _shrunk(name, side, channels):
    """Returns the middle of a photograph, `(side, side, channels)` in [0, 1]."""
    image = getattr(data, name)().astype(np.float32)
    if channels == 1:
        image = luma(image).astype(np.float32)
    image = imresize(image, side / min(image.shape[:2]))
    top, left = ((n - side) // 2 for n in image.shape[:2])
    return image[top : top + side, left : left + side] / 255


if __name__ == "__main__":
    main(sys.argv[1:])
