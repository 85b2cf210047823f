"""Rules that give the receptive field of each kind of operation.

Each function takes an operation, its node and the joined receptive field of its inputs,
and returns the receptive field of its outputs.
"""

import inspect
from fractions import Fraction
from typing import Any

import keras

from tfsr.graph import operations as op
from tfsr.graph.receptive_field import NOT_SPATIAL
from tfsr.graph.receptive_field import ReceptiveField as Field

INTERPOLATED = {"nearest": 0, "bilinear": 1, "bicubic": 2, "lanczos3": 3, "lanczos5": 5}


def pointwise(operation: Any, node: Any, field: Field) -> Field:
    """An output pixel reads the input pixel at the same position."""
    return field


def whole_image(operation: Any, node: Any, field: Field) -> Field:
    """An output pixel may read the whole image."""
    return field.unbounded()


def not_spatial(operation: Any, node: Any, field: Field) -> Field:
    """The output has no spatial axes: it describes the whole image."""
    return NOT_SPATIAL


def elementwise(operation: Any, node: Any, field: Field) -> Field:
    """As `pointwise`, unless a constant operand varies over positions."""
    for value in arguments_of(node):
        shape = getattr(value, "shape", ())
        if isinstance(value, keras.KerasTensor):
            if _is_broadcast(value, node.outputs[0]):
                return field.unbounded()
        elif any(side != 1 for side in tuple(shape)[:-1]):
            return field.unbounded()
    return field


def _is_broadcast(x, output):
    """Returns whether one row or column of a map is broadcast over a larger map."""
    if len(x.shape) != 4 or len(output.shape) != 4:
        return False
    return any(_side(x, axis) == 1 != output.shape[axis] for axis in (1, 2))


def of_last_axis(operation: Any, node: Any, field: Field) -> Field:
    """As `pointwise` if the operation's axes are the channels alone."""
    axes = _axes(getattr(operation, "axis", None), node)
    return field if axes <= {3} else field.unbounded()


def reduced(operation: Any, node: Any, field: Field) -> Field:
    """As `of_last_axis`, for operations that reduce their axes to one value."""
    axes = _axes(getattr(operation, "axis", None), node)
    if not axes <= {3}:
        return NOT_SPATIAL if {1, 2} <= axes else field.unbounded()
    return field if len(node.outputs[0].shape) == 4 else NOT_SPATIAL


def _axes(axis, node):
    """Returns the set of an operation's axes, counted from 0; all if `axis` is None."""
    rank = len(node.input_tensors[0].shape)
    if axis is None:
        return set(range(rank))
    axes = axis if isinstance(axis, tuple | list) else [axis]
    return {a % rank for a in axes}


def window(operation: Any, node: Any, field: Field) -> Field:
    """An output pixel reads the window of a convolution or pooling layer."""
    size = getattr(operation, "kernel_size", None) or operation.pool_size
    dilation = getattr(operation, "dilation_rate", 1)
    return _windowed(field, size, operation.strides, dilation, operation.padding)


def _windowed(field, size, strides, dilation, padding):
    """Returns the receptive field of windows of `size` pixels `dilation` apart.

    With padding "same" and stride 1 a window is centered on its output pixel. Otherwise
    it begins at the first of the `stride` input pixels there, or earlier by as many
    pixels as are padded.
    """
    sizes, strides, dilations = map(_pair, (size, strides, dilation))
    if strides[0] != strides[1]:
        return field.unbounded()
    stride = strides[0]
    side = max((n - 1) * d + 1 for n, d in zip(sizes, dilations, strict=True))
    around = padding == "same" and stride == 1
    beyond = side // 2 if around else max(0, side - stride)
    return field.with_neighbours(beyond).resized(Fraction(1, stride))


def transposed_window(operation: Any, node: Any, field: Field) -> Field:
    """An output pixel of a transposed convolution reads inputs whose windows cover it.

    With kernel size k, stride s and padding "same", output o reads input i if
    0 <= o + p - i s < k, where p = (k - s) // 2 pixels are cut off at the beginning.
    """
    return _transposed(
        field,
        operation.kernel_size,
        operation.strides,
        operation.dilation_rate,
        operation.padding,
    )


def _transposed(field, size, strides, dilation, padding):
    sizes, strides, dilations = map(_pair, (size, strides, dilation))
    if strides[0] != strides[1]:
        return field.unbounded()
    s = strides[0]
    beyond = 0
    for n, d in zip(sizes, dilations, strict=True):
        side = (n - 1) * d + 1
        cut = max(0, side - s) // 2 if padding == "same" else 0
        for o in range(s):
            first, last = -(-(o + cut - side + 1) // s), (o + cut) // s
            beyond = max(beyond, -first, last)
    return field.with_neighbours(beyond).resized(s)


def _pair(value):
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


def grouped_window(operation: Any, node: Any, field: Field) -> Field:
    """The window of a `GroupedConv2D`, which has stride 1."""
    return field.with_neighbours(operation.kernel_size // 2)


def function_window(operation: Any, node: Any, field: Field) -> Field:
    """As `window`, for a convolution called as a function of input and kernel."""
    _, kernel, *_ = arguments_of(node)
    if len(kernel.shape) != 4:
        return NOT_SPATIAL
    size = tuple(kernel.shape[:2])
    return _windowed(
        field, size, operation.strides, operation.dilation_rate, operation.padding
    )


def function_pool(operation: Any, node: Any, field: Field) -> Field:
    """The window of a pooling called as a function."""
    strides = operation.strides or operation.pool_size
    return _windowed(field, operation.pool_size, strides, 1, operation.padding)


def function_transposed(operation: Any, node: Any, field: Field) -> Field:
    """As `transposed_window`, of a convolution called as a function."""
    _, kernel, *_ = arguments_of(node)
    return _transposed(
        field,
        tuple(kernel.shape[:2]),
        operation.strides,
        operation.dilation_rate,
        operation.padding,
    )


def arguments_of(node: Any) -> list:
    """Returns all arguments of a call in the order of its signature."""
    signature = inspect.signature(node.operation.call)
    bound = signature.bind(*node.arguments.args, **node.arguments.kwargs)
    return [*bound.args, *bound.kwargs.values()]


def bicubic(operation: Any, node: Any, field: Field) -> Field:
    """Two pixels on each side of a pixel, then a pixel shuffle."""
    return field.with_neighbours(2).resized(operation.scale)


def shuffle(operation: Any, node: Any, field: Field) -> Field:
    """Each pixel becomes a block of pixels."""
    return field.resized(operation.block_size)


def unshuffle(operation: Any, node: Any, field: Field) -> Field:
    """Each block of pixels becomes one pixel."""
    return field.resized(Fraction(1, operation.block_size))


def upsampling(operation: Any, node: Any, field: Field) -> Field:
    """Each pixel becomes a block, interpolated from its neighbours."""
    factor, other = _pair(operation.size)
    if factor != other:
        return field.unbounded()
    beside = INTERPOLATED[operation.interpolation]
    return field.with_neighbours(beside).resized(factor)


def bilinear(operation: Any, node: Any, field: Field) -> Field:
    """Resizing by a fraction, bilinear with half-pixel centers."""
    return field.interpolated(operation.fraction)


def joining(operation: Any, node: Any, field: Field) -> Field:
    """Concatenation along rows or columns shifts a map by the sizes of earlier ones."""
    axis = operation.axis % 4
    if axis in (0, 3):
        return field
    sides = [_side(x, axis) for x in node.input_tensors]
    if sides.count(None) > 1:
        return field.unbounded()
    return field.with_neighbours(sum(side for side in sides if side is not None))


def _side(x, axis):
    """Returns the length of an axis, or of the slice taken from an open axis."""
    history = x._keras_history
    if x.shape[axis] is not None or not isinstance(history.operation, op.GetItem):
        return x.shape[axis]
    slices = _slices(history.operation._inbound_nodes[history.node_index])
    part = slices and slices[axis - 1]
    if not part:
        return None
    begin, end = part.start or 0, part.stop
    if end is None and begin < 0:
        return -begin
    return end - begin if isinstance(end, int) and 0 <= begin <= end else None


def split(operation: Any, node: Any, field: Field) -> Field:
    """As `pointwise` along the channels."""
    return field if operation.axis % 4 in (0, 3) else field.unbounded()


def tile(operation: Any, node: Any, field: Field) -> Field:
    """As `pointwise` along the channels."""
    repeats = operation.repeats
    spatial = repeats[-3:-1] if isinstance(repeats, tuple | list) else ()
    return field if set(spatial) <= {1} else field.unbounded()


def repeat(operation: Any, node: Any, field: Field) -> Field:
    """As `pointwise` along the channels."""
    return field if operation.axis in (-1, 3) else field.unbounded()


def slicing(operation: Any, node: Any, field: Field) -> Field:
    """Slicing shifts pixels by the slice's start; its step lowers the resolution."""
    slices = _slices(node)
    if slices is None:
        return field.unbounded()
    steps = {part.step or 1 for part in slices}
    if len(steps) > 1 or min(steps) < 1:
        return field.unbounded()
    begin = max(abs(part.start or 0) for part in slices)
    return field.with_neighbours(begin).resized(Fraction(1, steps.pop()))


def _slices(node):
    """Returns the slices of rows and columns; None if an index is no slice."""
    _, key = arguments_of(node)
    # Loaded models have a list where a tuple was given.
    parts = list(key) if isinstance(key, tuple | list) else [key]
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts[at : at + 1] = [slice(None)] * (5 - len(parts))
    parts += [slice(None)] * (4 - len(parts))
    return parts[1:3] if all(isinstance(part, slice) for part in parts) else None


def padding(operation: Any, node: Any, field: Field) -> Field:
    """Padding shifts pixels by what is put before them."""
    return field.with_neighbours(max(before for before, _ in operation.pad_width[1:3]))


def zero_padding(operation: Any, node: Any, field: Field) -> Field:
    """As `padding`, for the layer."""
    return field.with_neighbours(max(before for before, _ in operation.padding))


def cropping(operation: Any, node: Any, field: Field) -> Field:
    """Cropping shifts pixels by what is cut off before them."""
    return field.with_neighbours(max(before for before, _ in operation.cropping))


def prelu(operation: Any, node: Any, field: Field) -> Field:
    """As `pointwise`, unless the slopes of a PReLU vary over positions."""
    return field if tuple(operation.alpha.shape[:2]) == (1, 1) else field.unbounded()
