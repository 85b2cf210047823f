"""Rules that move a shift of the input, x + s, to where 8 bits lose nothing by it."""

import keras
import numpy as np

from tfsr.graph import operations as op
from tfsr.layers import ChannelShift, GroupedConv2D
from tfsr.tflite.lowering.affine import affine_in
from tfsr.tflite.lowering.engine import is_input, producer, weights_of, with_weights
from tfsr.tflite.lowering.pooling import is_block_mean

MOST_AT_BORDER = 0.05  # that a shift of the input may add to the zeros around it


def shift_of_input(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """x + s of the input is a `ChannelShift`, which `center_input` looks for."""
    found = affine_in(operation, args)
    if found is None or isinstance(operation, ChannelShift):
        return None
    x, factor, shift = found
    if not is_input(x) or (factor != 1).any():
        return None
    return ChannelShift(shift.tolist())(x)


def center_input(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """x + s = (x + m) + (s - m), where m is the same for all channels.

    In 8 bits, the shift s of each channel would cost up to half a quantization step. m
    is the mean of s in whole steps of 1 / 255, which costs nothing. Two other rules,
    `shift_after_blocks` and `shift_out_of_convolution`, move s - m on.
    """
    if not isinstance(operation, ChannelShift) or not is_input(args[0]):
        return None
    center = float(np.rint(255 * np.mean(operation.offset)) / 255)
    rest = np.array(operation.offset) - center
    centered = ChannelShift((center,) * len(rest))(args[0])
    return ChannelShift(rest.tolist())(centered)


def shift_after_blocks(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """mean(x + s) = mean(x) + s; space_to_depth(x + s) = space_to_depth(x) + [s, s].

    That is s once for each pixel of a block.
    """
    pixels = _pixels_as_channels(operation)
    if pixels is None:
        return None
    shift, x = producer(args[0])
    if not isinstance(shift, ChannelShift):
        return None
    return ChannelShift(list(shift.offset) * pixels)(operation(x))


def shift_out_of_convolution(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """k * (x + s) + b = k * x + (b + sum(k s)) for the shift s of `center_input`.

    This is the only inexact rule: at the outermost pixels, where the convolution reads
    zeros beyond the border, it adds s to these zeros too. With CARN's means s is at
    most 0.027; more than `MOST_AT_BORDER` stays.
    """
    if not isinstance(operation, GroupedConv2D):
        return None
    shift, x = producer(args[0])
    if not isinstance(shift, ChannelShift) or not _is_shifted_input(x):
        return None
    if np.abs(shift.offset).max() > MOST_AT_BORDER:
        return None
    kernel, bias = weights_of(operation)
    bias = bias + np.einsum("yxcf,c->f", kernel, np.array(shift.offset))
    return with_weights(operation, kernel, bias)(x)


def _is_shifted_input(x):
    """Returns whether `x` is the input shifted by `center_input`, perhaps in blocks."""
    operation, before = producer(x)
    if _pixels_as_channels(operation) is not None:
        return _is_shifted_input(before)
    return isinstance(operation, ChannelShift) and is_input(before)


def _pixels_as_channels(operation):
    """Returns how many pixels' channels a block has: of a mean 1. Else None."""
    if is_block_mean(operation):
        return 1
    is_moved = isinstance(operation, op.SpaceToDepth)
    return operation.block_size**2 if is_moved else None
