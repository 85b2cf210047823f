"""The table of operators: what is known of each type of operation in a network.

An entry says how far an operation's outputs see, what it costs, whether it only moves
values, and how it is written for TFLite. An operation without an entry is opened if it
is a block of other layers (`graph.inline`); otherwise it is probed (`probe.py`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import keras

from tfsr.graph import operations as op
from tfsr.graph.reach import NO_MAP, Reach
from tfsr.layers import (
    BicubicEnlarge,
    BilinearResize,
    ChannelShift,
    CropToScale,
    FakeQuantize,
    FakeQuantizedConv2D,
    GroupedConv2D,
    JoinScales,
    Luma,
    PadToMultiple,
    SplitScales,
    WeightedAverage,
)

INTERPOLATED = {"nearest": 0, "bilinear": 1, "bicubic": 2, "lanczos3": 3, "lanczos5": 5}


def _free(operation, node):
    return 0


@dataclass(frozen=True)
class Operator:
    """What is known of one type of operation.

    Attributes:
        reach: Function of an operation, its node and the joined `Reach` of its inputs;
            it returns the `Reach` of its outputs.
        mult_adds: Function of an operation and its node, whose sizes are known; it
            returns the multiply-accumulates of one image. Biases, activations and sums
            are free, as in the CARN paper.
        moves: Whether outputs hold values of the inputs, moved, picked or averaged.
            TFLite then demands the same quantization of inputs and outputs.
        rounded: Whether it is a convolution whose kernel TFLite keeps in 8 bits, with
            a quantization step for each output channel.
        write: Function of an operation and its arguments; it returns its outputs,
            computed by TensorFlow operations that convert well. None where the
            operations that Keras runs do.
    """

    reach: Callable[[Any, Any, Reach], Reach]
    mult_adds: Callable[[Any, Any], int] = _free
    moves: bool = False
    rounded: bool = False
    write: Callable | None = None


def operator_of(operation: keras.Operation) -> Operator | None:
    """Returns the entry of an operation in the table; None if there is none.

    A subclass has the entry of its parent, unless it overrides `call`. A layer with an
    activation that is not Keras' own has no entry.
    """
    activation = getattr(operation, "activation", None)
    if activation is not None and not _is_of_keras(activation):
        return None
    for kind in type(operation).__mro__:
        if kind in OPERATORS:
            same = getattr(type(operation), "call", None) is getattr(kind, "call", None)
            return OPERATORS[kind] if same else None
    return None


def is_relu(operation: keras.Operation) -> bool:
    """Returns whether an operation is max(x, 0) and nothing else."""
    if isinstance(operation, keras.layers.ReLU):
        plain = not operation.threshold and not operation.negative_slope
        return plain and operation.max_value is None
    return isinstance(operation, op.Relu)


def clip_bounds(operation: keras.Operation) -> tuple[float, float] | None:
    """Returns a and b if an operation is min(max(x, a), b) and nothing else.

    None for other operations, and where a > 0 or b < 0: a quantized range holds 0, so
    it cannot do what these do. b is infinite for a ReLU.
    """
    low, high = 0.0, math.inf
    if isinstance(operation, keras.layers.ReLU):
        if operation.threshold or operation.negative_slope:
            return None
        high = math.inf if operation.max_value is None else float(operation.max_value)
    elif isinstance(operation, op.Relu6):
        high = 6.0
    elif isinstance(operation, op.HardTanh):
        low, high = -1.0, 1.0
    elif isinstance(operation, op.Clip):
        low, high = operation.x_min, operation.x_max
        if not all(isinstance(bound, int | float) for bound in (low, high)):
            return None
    elif not is_relu(operation):
        return None
    return (float(low), float(high)) if low <= 0 <= high else None


def _is_of_keras(activation):
    home = getattr(activation, "__module__", None) or type(activation).__module__
    return home.partition(".")[0] == "keras"


# Reach


def _same(operation, node, reach):
    """An output pixel reads the input pixel at its place."""
    return reach


def _everywhere(operation, node, reach):
    """An output pixel may read the whole image."""
    return reach.unbounded()


def _no_map(operation, node, reach):
    return NO_MAP


def _elementwise(operation, node, reach):
    """As `_same`, unless a constant operand differs from place to place."""
    for value in _arguments(node):
        shape = getattr(value, "shape", ())
        constant = not isinstance(value, keras.KerasTensor)
        if constant and len(shape) >= 3 and tuple(shape[-3:-1]) != (1, 1):
            return reach.unbounded()
    return reach


def _of_last_axis(operation, node, reach):
    """As `_same` if the operation's axes are the channels alone."""
    axes = _axes(getattr(operation, "axis", None), node)
    return reach if axes <= {3} else reach.unbounded()


def _reduced(operation, node, reach):
    """As `_of_last_axis`, for operations that reduce their axes to one value."""
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


def _window(operation, node, reach):
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


def _transposed_window(operation, node, reach):
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


def _grouped_window(operation, node, reach):
    return reach.with_neighbours(operation.kernel_size // 2)


def _function_window(operation, node, reach):
    """As `_window`, for a convolution called as a function of input and kernel."""
    _, kernel, *_ = _arguments(node)
    size = kernel.shape[:2]
    return _windowed(
        reach, size, operation.strides, operation.dilation_rate, operation.padding
    )


def _function_pool(operation, node, reach):
    strides = operation.strides or operation.pool_size
    return _windowed(reach, operation.pool_size, strides, 1, operation.padding)


def _function_spread(operation, node, reach):
    _, kernel, *_ = _arguments(node)
    return _spread(
        reach,
        kernel.shape[:2],
        operation.strides,
        operation.dilation_rate,
        operation.padding,
    )


def _arguments(node):
    """Returns all arguments of a call: the positional ones, then those with names."""
    return [*node.arguments.args, *node.arguments.kwargs.values()]


def _bicubic(operation, node, reach):
    return reach.with_neighbours(2).resized(operation.scale)


def _shuffle(operation, node, reach):
    return reach.resized(operation.block_size)


def _unshuffle(operation, node, reach):
    return reach.resized(Fraction(1, operation.block_size))


def _upsampling(operation, node, reach):
    factor, other = _pair(operation.size)
    if factor != other:
        return reach.unbounded()
    beside = INTERPOLATED[operation.interpolation]
    return reach.with_neighbours(beside).resized(factor)


def _bilinear(operation, node, reach):
    return reach.interpolated(operation.fraction)


def _joining(operation, node, reach):
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
    if not part or not isinstance(part.stop, int) or part.stop < 0:
        return None
    return part.stop - (part.start or 0)


def _split(operation, node, reach):
    return reach if operation.axis % 4 in (0, 3) else reach.unbounded()


def _tile(operation, node, reach):
    repeats = operation.repeats
    spatial = repeats[-3:-1] if isinstance(repeats, tuple | list) else ()
    return reach if set(spatial) <= {1} else reach.unbounded()


def _slice(operation, node, reach):
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
    _, key = _arguments(node)
    parts = list(key) if isinstance(key, tuple | list) else [key]  # once loaded
    if Ellipsis in parts:
        at = parts.index(Ellipsis)
        parts[at : at + 1] = [slice(None)] * (5 - len(parts))
    parts += [slice(None)] * (4 - len(parts))
    return parts[1:3] if all(isinstance(part, slice) for part in parts) else None


def _padding(operation, node, reach):
    return reach.with_neighbours(max(before for before, _ in operation.pad_width[1:3]))


def _zero_padding(operation, node, reach):
    return reach.with_neighbours(max(before for before, _ in operation.padding))


def _cropping(operation, node, reach):
    return reach.with_neighbours(max(before for before, _ in operation.cropping))


def _alphas(operation, node, reach):
    """As `_same`, unless the slopes of a PReLU differ from place to place."""
    return reach if tuple(operation.alpha.shape[:2]) == (1, 1) else reach.unbounded()


def _of_convolution(operation, node, reach):
    conv = operation.conv
    return OPERATORS[type(conv)].reach(conv, node, reach)


# Mult-adds


def _positions(x):
    """Returns the number of positions in one image, such as H * W of `(B, H, W, C)`."""
    return math.prod(x.shape[1:-1])


def _per_output(operation, node):
    """Returns the kernel's size times the number of output pixels."""
    return math.prod(operation.kernel.shape) * _positions(node.outputs[0])


def _per_input(operation, node):
    """Returns the kernel's size times the number of input pixels."""
    return math.prod(operation.kernel.shape) * _positions(node.input_tensors[0])


def _separable(operation, node):
    kernels = operation.depthwise_kernel, operation.pointwise_kernel
    sizes = (math.prod(kernel.shape) for kernel in kernels)
    return sum(sizes) * _positions(node.outputs[0])


def _function_per_output(operation, node):
    _, *kernels = _arguments(node)
    kernels = [k for k in kernels if hasattr(k, "shape")]
    sizes = (math.prod(kernel.shape) for kernel in kernels)
    return sum(sizes) * _positions(node.outputs[0])


def _function_per_input(operation, node):
    _, kernel, *_ = _arguments(node)
    return math.prod(kernel.shape) * _positions(node.input_tensors[0])


def _matmul(operation, node):
    left, _ = _arguments(node)
    return math.prod(node.outputs[0].shape[1:]) * left.shape[-1]


def _einsum(operation, node):
    shapes = [x.shape for x in _arguments(node)]
    return _contraction(operation.subscripts, shapes)


def _einsum_layer(operation, node):
    shapes = [node.input_tensors[0].shape, operation.kernel.shape]
    return _contraction(operation.equation, shapes)


def _contraction(equation, shapes):
    """Returns the mult-adds of an Einstein sum for one image.

    They are the product of the ranges of all indices; unknown ones (the batch) are left
    out.
    """
    terms = equation.replace(" ", "").split("->")[0].split(",")
    sides: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        if "..." in term:
            before, after = term.split("...")
            count = len(shape) - len(before) - len(after)
            term = before + "".join(map(str, range(10 - count, 10))) + after
        sides.update(zip(term, shape, strict=True))
    return math.prod(side for side in sides.values() if side is not None)


def _mult_adds_of_convolution(operation, node):
    conv = operation.conv
    return OPERATORS[type(conv)].mult_adds(conv, node)


# How the converter gets them


def _write_grouped(operation, x):
    """Runs a grouped convolution by `tf.nn`; Keras' XLA call cannot be converted."""
    import tensorflow as tf

    x = tf.nn.conv2d(x, operation.kernel, strides=1, padding="SAME")
    return tf.nn.bias_add(x, _unequal(operation.bias))


def _write_conv(operation, x):
    import tensorflow as tf

    x = tf.nn.conv2d(
        x,
        operation.kernel,
        operation.strides,
        operation.padding.upper(),
        dilations=operation.dilation_rate,
    )
    if operation.bias is not None:
        x = tf.nn.bias_add(x, _unequal(operation.bias))
    return operation.activation(x)


def _unequal(bias):
    """Returns a bias with its first value changed by one last bit if all are equal.

    TensorFlow's converter (2.21) stores equal values as a single integer in the first
    filter's quantization steps, though each filter has steps of its own.
    """
    import numpy as np
    import tensorflow as tf

    with tf.init_scope():  # the graph being built has no values yet
        values = keras.ops.convert_to_numpy(bias)
    if len(values) > 1 and (values == values[0]).all():
        values = values.copy()
        values[0] = np.nextafter(values[0], np.float32(np.inf))
    return values


def _write_upsampling(operation, x):
    """Runs nearest upsampling by a power of two as pixel shuffles of copied channels.

    Keras' own upsampling would become five-dimensional tiles, which no delegate takes.
    After a 1x1 convolution, one transposed convolution gives the same, but is slower.
    """
    import tensorflow as tf

    factor, other = operation.size
    steps = factor.bit_length() - 1
    if operation.interpolation != "nearest" or (factor, other) != (2**steps, 2**steps):
        return operation(x)
    for _ in range(steps):
        x = tf.nn.depth_to_space(tf.concat([x] * 4, axis=-1), 2)
    return x


def _write_bilinear(operation, x):
    """Runs bilinear resizing by `tf.image.resize`; Keras' own needs known sizes."""
    import tensorflow as tf

    return operation.resize_by(tf.image.resize, x)


layers = keras.layers
POINTWISE = Operator(_same)
ELEMENTWISE = Operator(_elementwise)
REDUCED = Operator(_reduced)
POOL = Operator(_window, moves=True)
GLOBAL = Operator(_no_map)

OPERATORS: dict[type, Operator] = {
    # Convolutions
    GroupedConv2D: Operator(
        _grouped_window, _per_output, rounded=True, write=_write_grouped
    ),
    layers.Conv2D: Operator(_window, _per_output, rounded=True, write=_write_conv),
    layers.DepthwiseConv2D: Operator(_window, _per_output, rounded=True),
    layers.SeparableConv2D: Operator(_window, _separable),
    layers.Conv2DTranspose: Operator(_transposed_window, _per_input),
    FakeQuantizedConv2D: Operator(_of_convolution, _mult_adds_of_convolution),
    op.Conv: Operator(_function_window, _function_per_output),
    op.DepthwiseConv: Operator(_function_window, _function_per_output),
    op.SeparableConv: Operator(_function_window, _function_per_output),
    op.ConvTranspose: Operator(_function_spread, _function_per_input),
    # Products of matrices
    layers.Dense: Operator(_same, _per_output),
    layers.EinsumDense: Operator(_everywhere, _einsum_layer),
    op.Einsum: Operator(_everywhere, _einsum),
    op.Matmul: Operator(_everywhere, _matmul),
    # Pooling and resizing
    layers.AveragePooling2D: POOL,
    layers.MaxPooling2D: POOL,
    op.AveragePool: Operator(_function_pool, moves=True),
    op.MaxPool: Operator(_function_pool, moves=True),
    layers.GlobalAveragePooling2D: GLOBAL,
    layers.GlobalMaxPooling2D: GLOBAL,
    layers.UpSampling2D: Operator(_upsampling, moves=True, write=_write_upsampling),
    BilinearResize: Operator(_bilinear, moves=True, write=_write_bilinear),
    BicubicEnlarge: Operator(_bicubic),
    # Moves
    op.DepthToSpace: Operator(_shuffle, moves=True),
    op.SpaceToDepth: Operator(_unshuffle, moves=True),
    op.Concatenate: Operator(_joining, moves=True),
    layers.Concatenate: Operator(_joining, moves=True),
    op.Split: Operator(_split, moves=True),
    op.Tile: Operator(_tile, moves=True),
    op.GetItem: Operator(_slice, moves=True),
    op.Pad: Operator(_padding, moves=True),
    layers.ZeroPadding2D: Operator(_zero_padding, moves=True),
    layers.Cropping2D: Operator(_cropping, moves=True),
    PadToMultiple: Operator(_same, moves=True),
    CropToScale: Operator(_same, moves=True),
    JoinScales: Operator(_same, moves=True),
    SplitScales: Operator(_same, moves=True),
    # Each pixel by itself
    ChannelShift: POINTWISE,
    FakeQuantize: POINTWISE,
    Luma: POINTWISE,
    WeightedAverage: POINTWISE,
    layers.PReLU: Operator(_alphas),
    layers.Softmax: Operator(_of_last_axis),
    layers.BatchNormalization: Operator(_of_last_axis),
    layers.LayerNormalization: Operator(_of_last_axis),
    layers.RMSNormalization: Operator(_of_last_axis),
    layers.UnitNormalization: Operator(_of_last_axis),
    op.Softmax: Operator(_of_last_axis),
    **dict.fromkeys(
        (
            layers.Activation,
            layers.AlphaDropout,
            layers.Dropout,
            layers.ELU,
            layers.GaussianDropout,
            layers.GaussianNoise,
            layers.Identity,
            layers.LeakyReLU,
            layers.ReLU,
            layers.Rescaling,
            layers.SpatialDropout2D,
        ),
        POINTWISE,
    ),
    **dict.fromkeys(
        (
            layers.Add,
            layers.Average,
            layers.Maximum,
            layers.Minimum,
            layers.Multiply,
            layers.Subtract,
            op.Abs,
            op.Absolute,
            op.Add,
            op.Cast,
            op.Ceil,
            op.Celu,
            op.Clip,
            op.Divide,
            op.Elu,
            op.Erf,
            op.Exp,
            op.Floor,
            op.Gelu,
            op.HardSigmoid,
            op.HardSilu,
            op.HardTanh,
            op.LeakyRelu,
            op.Log,
            op.LogSigmoid,
            op.Maximum,
            op.Minimum,
            op.Multiply,
            op.Negative,
            op.Power,
            op.Reciprocal,
            op.Relu,
            op.Relu6,
            op.Round,
            op.Rsqrt,
            op.Selu,
            op.Sigmoid,
            op.Sign,
            op.Silu,
            op.Softplus,
            op.Softsign,
            op.Sqrt,
            op.Square,
            op.StopGradient,
            op.Subtract,
            op.Tanh,
            op.Threshold,
            op.TrueDivide,
            op.Where,
        ),
        ELEMENTWISE,
    ),
    **dict.fromkeys(
        (op.Amax, op.Amin, op.Max, op.Mean, op.Min, op.Std, op.Sum, op.Var), REDUCED
    ),
}
SUMS = (op.Add, layers.Add)
CONCATENATIONS = (op.Concatenate, layers.Concatenate)
CONVOLUTIONS: tuple[Any, ...] = tuple(
    kind for kind, known in OPERATORS.items() if known.rounded
)
