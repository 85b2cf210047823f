"""Training that starts from the weights of another model."""

import keras

from tfsr.errors import InputError
from tfsr.models import scales
from tfsr.zoo.loading import load_model


def start_from(model: keras.Model, source: str) -> str:
    """Gives `model` the weights of `source`, layer by layer; returns a line on it.

    A layer takes the weights of the layer with its name if all shapes agree; otherwise
    it keeps its initial weights. So a x4 network starts with the body of a x2 network
    and a new upsampler.

    Args:
        model: The model to train.
        source: A run folder (for its best weights), a `.keras` file or the name of a
            released model; where each scale of that has a network of its own, the one
            of the scale of `model`.

    Returns:
        One line that lists the layers that took weights and those that did not.

    Raises:
        InputError: If `source` is no model, or if none of its layers fits.
    """
    of_model = scales(model)
    scale = of_model[0] if len(of_model) == 1 else None
    theirs = {layer.name: layer for layer in load_model(source, scale).layers}
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
