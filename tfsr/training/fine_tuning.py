"""Initializes a model with the weights of another one."""

import operator

import keras

from tfsr.errors import InputError
from tfsr.layers import GroupedConv2D
from tfsr.models import scales
from tfsr.zoo.loading import load_model


def start_from(model: keras.Model, source: str) -> str:
    """Gives `model` the weights of `source`, layer by layer; returns a line on it.

    A layer takes the weights of the layer with the same name if all shapes agree. So an
    x4 network starts with the body of an x2 network and a new upsampler. A wider
    convolution takes them for its first channels, which get nothing from its other
    channels yet: a wide chain first computes what the narrow one does (as in Chen et
    al., Net2Net, ICLR 2016). Other layers keep their initial weights.

    Args:
        model: The model to train.
        source: A run folder (for its best weights), a `.keras` file or the name of a
            released model. If each of its scales is a separate network, the one for
            the scale of `model` is used.

    Returns:
        One line that lists the layers that took weights, took them for some of their
        channels, or took none.

    Raises:
        InputError: If `source` is not a model, or if none of its layers fits.
    """
    of_model = scales(model)
    scale = of_model[0] if len(of_model) == 1 else None
    theirs = {layer.name: layer for layer in load_model(source, scale).layers}
    taken, widened, new = [], [], []
    for layer in model.layers:
        if not layer.weights:
            continue
        other = theirs.get(layer.name)
        if other is None:
            new.append(f"{layer.name} (not there)")
        elif _shapes(layer) == _shapes(other):
            layer.set_weights(other.get_weights())
            taken.append(layer.name)
        elif _is_wider(layer, other):
            pairs = zip(layer.get_weights(), other.get_weights(), strict=True)
            layer.set_weights([_widened(*pair) for pair in pairs])
            widened.append(layer.name)
        else:
            new.append(f"{layer.name} (other shapes)")
    if not taken and not widened:
        raise InputError(
            f"init_from {source}: no layer matches this model in name and shapes: "
            f"{', '.join(new)}."
        )
    names = {"taken": taken, "widened": widened, "new": new}
    lists = [f"{what} {', '.join(names[what])}" for what in names if names[what]]
    return f"init_from {source}: {'; '.join(lists)}."


def _shapes(layer):
    return [(weight.path, weight.shape) for weight in layer.weights]


def _is_wider(layer, other):
    """Returns whether `layer` is the convolution `other` with more channels."""
    is_plain = isinstance(layer, GroupedConv2D) and layer.groups == 1
    if not is_plain or type(layer) is not type(other) or other.groups != 1:
        return False
    if len(layer.weights) != len(other.weights):
        return False
    pairs = zip(layer.weights, other.weights, strict=True)
    return all(
        ours.shape[:-2] == theirs.shape[:-2]
        and all(map(operator.ge, ours.shape, theirs.shape))
        for ours, theirs in pairs
    )


def _widened(ours, theirs):
    """Returns the initial weights `ours` with `theirs` as their first channels."""
    wide = ours.copy()
    if theirs.ndim > 1:
        wide[..., theirs.shape[-2] :, : theirs.shape[-1]] = 0
    wide[tuple(map(slice, theirs.shape))] = theirs
    return wide
