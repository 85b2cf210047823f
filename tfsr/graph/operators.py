"""The table of operators: what is known of each type of operation in a network.

An entry says how far an operation's outputs see, what it costs, and what TFLite demands
of its quantization. An operation without an entry is opened if it is a block of other
layers (`graph.inline`); otherwise it has the entry `UNKNOWN`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from tfsr.graph import counting, reaching
from tfsr.graph import operations as op
from tfsr.graph.probe import probed
from tfsr.graph.reach import Reach
from tfsr.layers import (
    BicubicEnlarge,
    BilinearResize,
    ChannelShift,
    ColorDifferences,
    CropToScale,
    FakeQuantize,
    FakeQuantizedConv2D,
    GroupedConv2D,
    JoinScales,
    Luma,
    PadToMultiple,
    SplitScales,
    SquareRoot,
    WeightedAverage,
)

COMPUTING = ("call", "convolution_op")  # methods that a subclass may override


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
        moves: Whether outputs hold values of the inputs, moved, picked or averaged; or
            a function of a node that tells. TFLite then demands the same quantization
            of inputs and outputs.
        rearranges: Whether it has one input and outputs the same values in another
            order or shape.
        by_channel: Whether each output channel is computed from the input channel of
            the same number, and is scaled with it.
        rounded: Whether it is a convolution whose kernel TFLite keeps in 8 bits, with
            a quantization step for each output channel.
        fuses_relu: Whether TFLite fuses it with a ReLU that alone reads it.
        fixed_range: The only range that TFLite allows its output in 8 bits; None for
            any.
        pole: Position of the argument near 0 of which 8 bits are too coarse; None if
            it has none.
    """

    reach: Callable[[Any, Any, Reach], Reach]
    mult_adds: Callable[[Any, Any], int] = _free
    moves: bool | Callable[[Any], bool] = False
    rearranges: bool = False
    by_channel: bool = False
    rounded: bool = False
    fuses_relu: bool = False
    fixed_range: tuple[float, float] | None = None
    pole: int | None = None


def operator_of(operation: keras.Operation) -> Operator:
    """Returns the entry of an operation in the table; `UNKNOWN` if there is none."""
    return entry_of(operation, OPERATORS) or UNKNOWN


def entry_of(operation: keras.Operation, table: dict[type, Any]) -> Any:
    """Returns the entry of an operation in a table by type; None if there is none.

    A subclass has the entry of its parent, unless it computes in its own way. A layer
    with an activation that is not Keras' own has no entry.
    """
    activation = getattr(operation, "activation", None)
    if activation is not None and not _is_of_keras(activation):
        return None
    own = type(operation)
    for kind in own.__mro__:
        if kind in table:
            same = all(getattr(own, f, 0) is getattr(kind, f, 0) for f in COMPUTING)
            return table[kind] if same else None
    return None


def moves(node: Any) -> bool:
    """Returns whether a node's operation moves values, as `Operator.moves` has it."""
    moved = operator_of(node.operation).moves
    return moved(node) if callable(moved) else moved


def is_convolution(operation: keras.Operation) -> bool:
    """Returns whether an operation is one whose kernel TFLite keeps in 8 bits."""
    return operator_of(operation).rounded


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


def _of_convolution(operation, node, reach):
    conv = operation.conv
    return OPERATORS[type(conv)].reach(conv, node, reach)


def _mult_adds_of_convolution(operation, node):
    conv = operation.conv
    return OPERATORS[type(conv)].mult_adds(conv, node)


def _probed(operation, node, reach):
    return probed(node, reach)


layers = keras.layers
UNKNOWN = Operator(_probed)
REARRANGED = Operator(_probed, moves=True, rearranges=True)
POINTWISE = Operator(reaching.same)
ELEMENTWISE = Operator(reaching.elementwise)
ARITHMETIC = Operator(reaching.elementwise, fuses_relu=True)
DIVISION = Operator(reaching.elementwise, fuses_relu=True, pole=1)
INVERSE = Operator(reaching.elementwise, pole=0)
PICKED = Operator(  # with a constant, values may be of the constant alone
    reaching.elementwise, moves=lambda node: len(node.input_tensors) == 2
)
REDUCED = Operator(reaching.reduced)
POOL = Operator(reaching.window, moves=True, by_channel=True)
FUNCTION_POOL = Operator(reaching.function_pool, moves=True, by_channel=True)
GLOBAL = Operator(reaching.no_map)

OPERATORS: dict[type, Operator] = {
    # Convolutions
    GroupedConv2D: Operator(
        reaching.grouped_window,
        counting.per_output,
        rounded=True,
        fuses_relu=True,
    ),
    layers.Conv2D: Operator(
        reaching.window, counting.per_output, rounded=True, fuses_relu=True
    ),
    layers.Conv1D: Operator(reaching.no_map, counting.per_output),
    layers.DepthwiseConv2D: Operator(
        reaching.window, counting.per_output, rounded=True, fuses_relu=True
    ),
    layers.SeparableConv2D: Operator(reaching.window, counting.separable),
    layers.Conv2DTranspose: Operator(
        reaching.transposed_window, counting.per_input, rounded=True
    ),
    FakeQuantizedConv2D: Operator(_of_convolution, _mult_adds_of_convolution),
    op.Conv: Operator(reaching.function_window, counting.function_per_output),
    op.DepthwiseConv: Operator(reaching.function_window, counting.function_per_output),
    op.SeparableConv: Operator(reaching.function_window, counting.function_per_output),
    op.ConvTranspose: Operator(reaching.function_spread, counting.function_per_input),
    # Products of matrices
    layers.Dense: Operator(reaching.same, counting.per_output),
    layers.EinsumDense: Operator(reaching.everywhere, counting.einsum_layer),
    op.Einsum: Operator(reaching.everywhere, counting.einsum),
    op.Matmul: Operator(reaching.everywhere, counting.matmul),
    # Pooling and resizing
    layers.AveragePooling2D: POOL,
    layers.MaxPooling2D: POOL,
    op.AveragePool: FUNCTION_POOL,
    op.MaxPool: FUNCTION_POOL,
    layers.GlobalAveragePooling2D: GLOBAL,
    layers.GlobalMaxPooling2D: Operator(reaching.no_map, moves=True),
    layers.UpSampling2D: Operator(reaching.upsampling, moves=True, by_channel=True),
    BilinearResize: Operator(reaching.bilinear, moves=True, by_channel=True),
    op.Resize: Operator(
        _probed,
        moves=lambda node: node.operation.interpolation in ("nearest", "bilinear"),
    ),
    BicubicEnlarge: Operator(reaching.bicubic),
    # Moves
    op.DepthToSpace: Operator(reaching.shuffle, moves=True),
    op.SpaceToDepth: Operator(reaching.unshuffle, moves=True),
    op.Concatenate: Operator(reaching.joining, moves=True),
    layers.Concatenate: Operator(reaching.joining, moves=True),
    op.Split: Operator(reaching.split, moves=True),
    op.Tile: Operator(reaching.tile, moves=True),
    op.Repeat: Operator(reaching.repeat, moves=True),
    op.GetItem: Operator(reaching.slicing, moves=True),
    op.Pad: Operator(reaching.padding, moves=True),
    layers.ZeroPadding2D: Operator(reaching.zero_padding, moves=True, by_channel=True),
    layers.Cropping2D: Operator(reaching.cropping, moves=True, by_channel=True),
    PadToMultiple: Operator(reaching.same, moves=True, by_channel=True),
    CropToScale: Operator(reaching.same, moves=True, by_channel=True),
    JoinScales: Operator(reaching.same, moves=True),
    SplitScales: Operator(reaching.same, moves=True),
    op.BroadcastTo: Operator(_probed, moves=True),
    op.Stack: Operator(_probed, moves=True),
    **dict.fromkeys(
        (
            layers.Flatten,
            layers.Permute,
            layers.Reshape,
            op.ExpandDims,
            op.Flip,
            op.Moveaxis,
            op.Reshape,
            op.Roll,
            op.Squeeze,
            op.Swapaxes,
            op.Transpose,
        ),
        REARRANGED,
    ),
    # Each pixel by itself
    ChannelShift: POINTWISE,
    FakeQuantize: POINTWISE,
    SquareRoot: ELEMENTWISE,
    ColorDifferences: POINTWISE,
    Luma: POINTWISE,
    WeightedAverage: POINTWISE,
    layers.PReLU: Operator(reaching.alphas),
    layers.Softmax: Operator(reaching.of_last_axis),
    layers.BatchNormalization: Operator(reaching.of_last_axis),
    layers.LayerNormalization: Operator(reaching.of_last_axis),
    layers.RMSNormalization: Operator(reaching.of_last_axis),
    layers.UnitNormalization: Operator(reaching.of_last_axis),
    op.Softmax: Operator(reaching.of_last_axis, fixed_range=(0.0, 255 / 256)),
    op.Sigmoid: Operator(reaching.elementwise, fixed_range=(0.0, 255 / 256)),
    op.Tanh: Operator(reaching.elementwise, fixed_range=(-1.0, 127 / 128)),
    op.Where: Operator(
        reaching.elementwise, moves=lambda node: len(node.input_tensors) == 3
    ),
    **dict.fromkeys((op.Add, op.Multiply, op.Subtract), ARITHMETIC),
    **dict.fromkeys((op.Divide, op.TrueDivide), DIVISION),
    **dict.fromkeys((op.Log, op.Reciprocal, op.Rsqrt), INVERSE),
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
            layers.Multiply,
            layers.Subtract,
            op.Abs,
            op.Absolute,
            op.Cast,
            op.Ceil,
            op.Celu,
            op.Clip,
            op.Elu,
            op.Erf,
            op.Exp,
            op.Floor,
            op.Gelu,
            op.HardSigmoid,
            op.HardSilu,
            op.HardTanh,
            op.LeakyRelu,
            op.LogSigmoid,
            op.Negative,
            op.Power,
            op.Relu,
            op.Relu6,
            op.Round,
            op.Selu,
            op.Sign,
            op.Silu,
            op.Softplus,
            op.Softsign,
            op.Sqrt,
            op.Square,
            op.StopGradient,
            op.Threshold,
        ),
        ELEMENTWISE,
    ),
    **dict.fromkeys((op.Mean, op.Std, op.Sum, op.Var), REDUCED),
    # Which pick the largest or smallest value
    **dict.fromkeys(
        (layers.Maximum, layers.Minimum), Operator(reaching.elementwise, moves=True)
    ),
    **dict.fromkeys((op.Maximum, op.Minimum), PICKED),
    **dict.fromkeys(
        (op.Amax, op.Amin, op.Max, op.Min), Operator(reaching.reduced, moves=True)
    ),
}
SUMS = (op.Add, layers.Add)
CONCATENATIONS = (op.Concatenate, layers.Concatenate)
