"""A training that begins with the weights of another."""

import keras

from tfsr.errors import InputError
from tfsr.zoo.loading import load_model


def start_from(model: keras.Model, source: str) -> str:
    """Gives `model` the weights of `source`, layer by layer; returns what was done.

    A layer takes those of the layer of its name if all their shapes agree, and keeps
    its initial ones otherwise: x4 begins with the body of x2 and an upsampler of its
    own.

    Args:
        model: The model to train.
        source: A run folder (its best), a `.keras` file or a released name.

    Raises:
        InputError: If there is no such model or no layer fits.
    """
    theirs = {layer.name: layer for layer in load_model(source).layers}
    taken, new = [], []
    for layer in model.layers:
        if not layer.weights:
            continue
        other = theirs.get(layer.name)
        if other is None:
            new.append(f"{layer.name} (not there)")
        elif _shapes(layer) != _shapes(other):
            new.append(f"{layer.name} (other shapes)")
        else:
            layer.set_weights(other.get_weights())
            taken.append(layer.name)
    if not taken:
        raise InputError(
            f"init_from {source}: no layer has a name and shapes of this model's: "
            f"{', '.join(new)}."
        )
    return f"init_from {source}: taken {', '.join(taken)}; new {', '.join(new) or '-'}."


def _shapes(layer):
    return [(weight.path, weight.shape) for weight in layer.weights]
