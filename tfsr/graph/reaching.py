"""How far each kind of operation sees: from the reach of its inputs to its outputs'.

Each function takes an operation, its node and the joined reach of its inputs.
"""

import inspect
from fractions import Fraction
from typing import Any

import keras

from tfsr.graph import operations as op
from tfsr.graph.reach import NO_MAP, Reach

INTERPOLATED = {"nearest": 0, "bilinear": 1, "bicubic": 2, "lanczos3": 3, "lanczos5": 5}


def same(operation: Any, node: Any, reach: Reach) -> Reach:
    """An output pixel reads the input pixel at its place."""
    return reach


def everywhere(operation: Any, node: Any, reach: Reach) -> Reach:
    """An output pixel may read the whole image."""
    return reach.unbounded()


def no_map(operation: Any, node: Any, reach: Reach) -> Reach:
    """The output is no map: it tells of the whole image."""
    return NO_MAP


def elementwise(operation: Any, node: Any, reach: Reach) -> Reach:
    """As `same`, unless a constant operand differs from place to place."""
    for value in arguments_of(node):
        shape = getattr(value, "shape", ())
        if isinstance(value, keras.KerasTensor):
            if _is_spread(value, node.outputs[0]):
                return reach.unbounded()
        elif any(side != 1 for side in tuple(shape)[:-1]):
            return reach.unbounded()
    return reach


def _is_spread(x, output):
    """Returns whether one row or column of a map meets all of a larger one."""
    if len(x.shape) != 4 or len(output.shape) != 4:
        return False
    return any(_side(x, axis) == 1 != output.shape[axis] for axis in (1, 2))


def of_last_axis(operation: Any, node: Any, reach: Reach) -> Reach:
    """As `same` if the operation's axes are the channels alone."""
    axes = _axes(getattr(operation, "axis", None), node)
    return reach if axes <= {3} else reach.unbounded()


def reduced(operation: Any, node: Any, reach: Reach) -> Reach:
    """As `of_last_axis`, for operations that reduce their axes to one value."""
    axes = _axes(getattr(operation, "axis", None), node)
    if not axes <= {3}:
        return NO_MAP if {1, 2} <= axes else reach.unbounded()
    return reach if len(node.outputs[0].shape) == 4 else NO_MAP


def _axes(axis, node):
    """Returns the set of an operation's axes, counted from 0; all if `axis` is None."""
    rank = len(node.input_tensors[0].shape)
    if axis is None:
        return set(range(rank))
    axes = axis if isinstance(axis, tuple | list) else [axis]
    return {a % rank for a in axes}


def window(operation: Any, node: Any, reach: Reach) -> Reach:
    """An output pixel reads the window of a convolution or pooling layer."""
    size = getattr(operation, "kernel_size", None) or operation.pool_size
    dilation = getattr(operation, "dilation_rate", 1)
    return _windowed(reach, size, operation.strides, dilation, operation.padding)


def _windowed(reach, size, strides, dilation, padding):
    """Returns the reach of windows of `size` pixels `dilation` apart.

    With padding "same" and stride 1 a window is centered on its output pixel. Otherwise
    it begins at the first of the `stride` input pixels there, or earlier by as many
    pixels as are padded.
    """
    sizes, strides, dilations = map(_pair, (size, strides, dilation))
    if strides[0] != strides[1]:
        return reach.unbounded()
    stride = strides[0]
    side = max((n - 1) * d + 1 for n, d in zip(sizes, dilations, strict=True))
    around = padding == "same" and stride == 1
    beyond = side // 2 if around else max(0, side - stride)
    return reach.with_neighbours(beyond).resized(Fraction(1, stride))


def transposed_window(operation: Any, node: Any, reach: Reach) -> Reach:
    """An output pixel of a transposed convolution reads inputs whose windows cover it.

    With kernel size k, stride s and padding "same", output o reads input i if
    0 <= o + p - i s < k, where p = (k - s) // 2 pixels are cut off at the beginning.
    """
    return _spread(
        reach,
        operation.kernel_size,
        operation.strides,
        operation.dilation_rate,
        operation.padding,
    )


def _spread(reach, size, strides, dilation, padding):
    sizes, strides, dilations = map(_pair, (size, strides, dilation))
    if strides[0] != strides[1]:
        return reach.unbounded()
    s = strides[0]
    beyond = 0
    for n, d in zip(sizes, dilations, strict=True):
        side = (n - 1) * d + 1
        cut = max(0, side - s) // 2 if padding == "same" else 0
        for o in range(s):
            first, last = -(-(o + cut - side + 1) // s), (o + cut) // s
            beyond = max(beyond, -first, last)
    return reach.with_neighbours(beyond).resized(s)


def _pair(value):
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


def grouped_window(operation: Any, node: Any, reach: Reach) -> Reach:
    """The window of a `GroupedConv2D`, which has stride 1."""
    return reach.with_neighbours(operation.kernel_size // 2)


def function_window(operation: Any, node: Any, reach: Reach) -> Reach:
    """As `window`, for a convolution called as a function of input and kernel."""
    _, kernel, *_ = arguments_of(node)
    if len(kernel.shape) != 4:
        return NO_MAP
    size = tuple(kernel.shape[:2])
    return _windowed(
        reach, size, operation.strides, operation.dilation_rate, operation.padding
    )


def function_pool(operation: Any, node: Any, reach: Reach) -> Reach:
    """The window of a pooling called as a function."""
    strides = operation.strides or operation.pool_size
    return _windowed(reach, operation.pool_size, strides, 1, operation.padding)


def function_spread(operation: Any, node: Any, reach: Reach) -> Reach:
    """As `transposed_window`, of a convolution called as a function."""
    _, kernel, *_ = arguments_of(node)
    return _spread(
        reach,
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


def bicubic(operation: Any, node: Any, reach: Reach) -> Reach:
    """Two pixels on each side of a pixel, then a pixel shuffle."""
    return reach.with_neighbours(2).resized(operation.scale)


def shuffle(operation: Any, node: Any, reach: Reach) -> Reach:
    """Each pixel becomes a block of pixels."""
    return reach.resized(operation.block_size)


def unshuffle(operation: Any, node: Any, reach: Reach) -> Reach:
    """Each block of pixels becomes one pixel."""
    return reach.resized(Fraction(1, operation.block_size))


def upsampling(operation: Any, node: Any, reach: Reach) -> Reach:
    """Each pixel becomes a block, interpolated from its neighbours."""
    factor, other = _pair(operation.size)
    if factor != other:
        return reach.unbounded()
    beside = INTERPOLATED[operation.interpolation]
    return reach.with_neighbours(beside).resized(factor)


def bilinear(operation: Any, node: Any, reach: Reach) -> Reach:
    """Resizing by a fraction, bilinear with half-pixel centers."""
    return reach.interpolated(operation.fraction)


def joining(operation: Any, node: Any, reach: Reach) -> Reach:
    """Concatenating along rows or columns moves a map by the sizes of those before."""
    axis = operation.axis % 4
    if axis in (0, 3):
        return reach
    sides = [_side(x, axis) for x in node.input_tensors]
    if sides.count(None) > 1:
        return reach.unbounded()
    return reach.with_neighbours(sum(side for side in sides if side is not None))


def _side(x, axis):
    """Returns the length of an axis, or of the part cut from one of open length."""
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


def split(operation: Any, node: Any, reach: Reach) -> Reach:
    """As `same` along the channels."""
    return reach if operation.axis % 4 in (0, 3) else reach.unbounded()


def tile(operation: Any, node: Any, reach: Reach) -> Reach:
    """As `same` along the channels."""
    repeats = operation.repeats
    spatial = repeats[-3:-1] if isinstance(repeats, tuple | list) else ()
    return reach if set(spatial) <= {1} else reach.unbounded()


def repeat(operation: Any, node: Any, reach: Reach) -> Reach:
    """As `same` along the channels."""
    return reach if operation.axis in (-1, 3) else reach.unbounded()


def slicing(operation: Any, node: Any, reach: Reach) -> Reach:
    """Slicing moves pixels by the slice's start; its step lowers the resolution."""
    slices = _slices(node)
    if slices is None:
        return reach.unbounded()
    steps = {part.step or 1 for part in slices}
    if len(steps) > 1 or min(steps) < 1:
        return reach.unbounded()
    begin = max(abs(part.start or 0) for part in slices)
    return reach.with_neighbours(begin).resized(Fraction(1, steps.pop()))


def _slices(node):
    """Returns the slices of rows and columns; None if an index is no slice."""
    _, key = arguments_of(node)
    parts = list(key) if isinstance(key, tuple | list) else [key]  # once loaded
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts[at : at + 1] = [slice(None)] * (5 - len(parts))
    parts += [slice(None)] * (4 - len(parts))
    return parts[1:3] if all(isinstance(part, slice) for part in parts) else None


def padding(operation: Any, node: Any, reach: Reach) -> Reach:
    """Padding moves pixels by what comes before them."""
    return reach.with_neighbours(max(before for before, _ in operation.pad_width[1:3]))


def zero_padding(operation: Any, node: Any, reach: Reach) -> Reach:
    """As `padding`, of the layer."""
    return reach.with_neighbours(max(before for before, _ in operation.padding))


def cropping(operation: Any, node: Any, reach: Reach) -> Reach:
    """Cropping moves pixels by what is cut off before them."""
    return reach.with_neighbours(max(before for before, _ in operation.cropping))


def alphas(operation: Any, node: Any, reach: Reach) -> Reach:
    """As `same`, unless the slopes of a PReLU differ from place to place."""
    return reach if tuple(operation.alpha.shape[:2]) == (1, 1) else reach.unbounded()
