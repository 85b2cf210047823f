"""Converts the checkpoints of the CARN authors to Keras models."""

from pathlib import Path

import keras

from tfsr.errors import InputError, reason_of
from tfsr.models import carn


def import_carn(file: str | Path) -> keras.Model:
    """Returns the Keras model with the weights of a CARN authors' `.pth`.

    Reads multi-scale checkpoints of CARN and CARN-M
    (https://github.com/nmhkahn/CARN-pytorch); needs PyTorch. Groups and recursion
    follow from the weights. Only tensors are unpickled, no code.

    Raises:
        InputError: If the file is not such a checkpoint.
    """
    import torch

    if not Path(file).is_file():
        raise InputError(f"{file}: no such file.")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        tensors = {str(name): tensor.float().numpy() for name, tensor in state.items()}
    except Exception:  # on damaged files PyTorch raises nearly anything
        raise InputError(f"{file}: not a PyTorch checkpoint of tensors.") from None
    try:
        if empty := [name for name, tensor in tensors.items() if not tensor.size]:
            raise ValueError(f"{empty[0]} is empty")
        filters, group_channels = tensors["b1.b1.body.0.weight"].shape[:2]
        # The sizes of all further tensors follow from these.
        if tensors["c1.body.0.weight"].shape != (filters, 2 * filters, 1, 1):
            raise ValueError("its widths do not fit")
        efficient = "b1.b1.body.4.weight" in tensors
        model = carn(
            filters=filters,
            groups=filters // group_channels if efficient else None,
            recursive="b1.b2.body.0.weight" not in tensors,
        )
        for layer, name, shuffle in _carn_layers(model):
            _copy(
                layer,
                tensors.pop(f"{name}.weight"),
                tensors.pop(f"{name}.bias"),
                shuffle,
            )
    except (KeyError, ValueError) as error:
        raise InputError(
            f"{file}: not a multi-scale CARN or CARN-M checkpoint ({reason_of(error)})."
        ) from None
    left = {name for name in tensors if not name.startswith(("sub_mean", "add_mean"))}
    if left:
        raise InputError(
            f"{file}: not a multi-scale CARN or CARN-M checkpoint "
            f"({min(left)} has no counterpart)."
        )
    return model


def _carn_layers(model):
    """Yields every convolution, its name in the checkpoint and its pixel shuffle."""
    yield model.get_layer("head"), "entry", 1
    yield model.get_layer("tail"), "exit", 1
    for b in (1, 2, 3):
        yield model.get_layer(f"fuse_{b - 1}"), f"c{b}.body.0", 1
        block = model.get_layer(f"block_{b - 1}")
        for u, fuse in enumerate(block.fuses, 1):
            yield fuse, f"b{b}.c{u}.body.0", 1
        for u, unit in enumerate(block.residuals, 1):
            yield unit.conv_0, f"b{b}.b{u}.body.0", 1
            yield unit.conv_1, f"b{b}.b{u}.body.2", 1
            if block.groups is not None:
                yield unit.pointwise, f"b{b}.b{u}.body.4", 1
    for s in (2, 3, 4):
        upsampler = model.get_layer(f"upsampler_x{s}")
        for i, (conv, step) in enumerate(
            zip(upsampler.convs, upsampler.steps, strict=True)
        ):
            yield conv, f"upsample.up{s}.body.{3 * i}", step


def _copy(layer, weight, bias, shuffle):
    """Assigns PyTorch's (C_out, C_in, k, k) weights, for a channels-first shuffle."""

    def reorder(x):  # within a group: (c, i * s + j) to (i * s + j, c)
        grouped = x.reshape(layer.groups, -1, shuffle**2, *x.shape[1:])
        return grouped.swapaxes(1, 2).reshape(x.shape)

    layer.kernel.assign(reorder(weight).transpose(2, 3, 1, 0))
    layer.bias.assign(reorder(bias))
