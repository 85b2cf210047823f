"""The table of operators: what is known of each type of operation in a network.

An entry has an operation's receptive field and cost, and what TFLite demands of its
quantization. An operation without an entry is opened if it is a block of layers
(`graph.inline`); otherwise it has the entry `UNKNOWN`, and its receptive field is
measured (`probe.py`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from tfsr.graph import counting
from tfsr.graph import operations as op
from tfsr.graph import receptive_field_rules as rules
from tfsr.graph.probe import probed
from tfsr.graph.receptive_field import ReceptiveField
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
        receptive_field: Function of an operation, its node and the joined
            `ReceptiveField` of its inputs; it returns the one of its outputs.
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
        pole: Index of the argument that must not be near 0, such as a divisor; None if
            there is none.
    """

    receptive_field: Callable[[Any, Any, ReceptiveField], ReceptiveField]
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

    A subclass has the entry of its parent unless it overrides the computation. A layer
    with an activation that is not one of Keras', and an operation with channels first,
    have no entry.
    """
    if getattr(operation, "data_format", "") == "channels_first":
        return None
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


def _of_convolution(operation, node, field):
    conv = operation.conv
    return operator_of(conv).receptive_field(conv, node, field)


def _mult_adds_of_convolution(operation, node):
    conv = operation.conv
    return operator_of(conv).mult_adds(conv, node)


def _probed(operation, node, field):
    return probed(node, field)


layers = keras.layers
UNKNOWN = Operator(_probed)
REARRANGED = Operator(_probed, moves=True, rearranges=True)
POINTWISE = Operator(rules.pointwise)
ELEMENTWISE = Operator(rules.elementwise)
ARITHMETIC = Operator(rules.elementwise, fuses_relu=True)
DIVISION = Operator(rules.elementwise, fuses_relu=True, pole=1)
INVERSE = Operator(rules.elementwise, pole=0)
PICKED = Operator(  # with a constant, values may be of the constant alone
    rules.elementwise, moves=lambda node: len(node.input_tensors) == 2
)
REDUCED = Operator(rules.reduced)
POOL = Operator(rules.window, moves=True, by_channel=True)
FUNCTION_POOL = Operator(rules.function_pool, moves=True, by_channel=True)
GLOBAL = Operator(rules.not_spatial)

OPERATORS: dict[type, Operator] = {
    # Convolutions
    GroupedConv2D: Operator(
        rules.grouped_window,
        counting.per_output,
        rounded=True,
        fuses_relu=True,
    ),
    layers.Conv2D: Operator(
        rules.window, counting.per_output, rounded=True, fuses_relu=True
    ),
    layers.Conv1D: Operator(rules.not_spatial, counting.per_output),
    layers.DepthwiseConv2D: Operator(
        rules.window, counting.per_output, rounded=True, fuses_relu=True
    ),
    layers.SeparableConv2D: Operator(rules.window, counting.separable),
    layers.Conv2DTranspose: Operator(
        rules.transposed_window, counting.per_input, rounded=True
    ),
    FakeQuantizedConv2D: Operator(_of_convolution, _mult_adds_of_convolution),
    op.Conv: Operator(rules.function_window, counting.function_per_output),
    op.DepthwiseConv: Operator(rules.function_window, counting.function_per_output),
    op.SeparableConv: Operator(rules.function_window, counting.function_per_output),
    op.ConvTranspose: Operator(rules.function_transposed, counting.function_per_input),
    # Products of matrices
    layers.Dense: Operator(rules.pointwise, counting.per_output),
    layers.EinsumDense: Operator(rules.whole_image, counting.einsum_layer),
    op.Einsum: Operator(rules.whole_image, counting.einsum),
    op.Matmul: Operator(rules.whole_image, counting.matmul),
    # Pooling and resizing
    layers.AveragePooling2D: POOL,
    layers.MaxPooling2D: POOL,
    op.AveragePool: FUNCTION_POOL,
    op.MaxPool: FUNCTION_POOL,
    layers.GlobalAveragePooling2D: GLOBAL,
    layers.GlobalMaxPooling2D: Operator(rules.not_spatial, moves=True),
    layers.UpSampling2D: Operator(rules.upsampling, moves=True, by_channel=True),
    BilinearResize: Operator(rules.bilinear, moves=True, by_channel=True),
    op.Resize: Operator(
        _probed,
        moves=lambda node: node.operation.interpolation in ("nearest", "bilinear"),
    ),
    BicubicEnlarge: Operator(rules.bicubic),
    # Moves
    op.DepthToSpace: Operator(rules.shuffle, moves=True),
    op.SpaceToDepth: Operator(rules.unshuffle, moves=True),
    op.Concatenate: Operator(rules.joining, moves=True),
    layers.Concatenate: Operator(rules.joining, moves=True),
    op.Split: Operator(rules.split, moves=True),
    op.Tile: Operator(rules.tile, moves=True),
    op.Repeat: Operator(rules.repeat, moves=True),
    op.GetItem: Operator(rules.slicing, moves=True),
    op.Pad: Operator(rules.padding, moves=True),
    layers.ZeroPadding2D: Operator(rules.zero_padding, moves=True, by_channel=True),
    layers.Cropping2D: Operator(rules.cropping, moves=True, by_channel=True),
    PadToMultiple: Operator(rules.pointwise, moves=True, by_channel=True),
    CropToScale: Operator(rules.pointwise, moves=True, by_channel=True),
    JoinScales: Operator(rules.pointwise, moves=True),
    SplitScales: Operator(rules.pointwise, moves=True),
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
    layers.PReLU: Operator(rules.prelu),
    layers.Softmax: Operator(rules.of_last_axis),
    layers.BatchNormalization: Operator(rules.of_last_axis),
    layers.LayerNormalization: Operator(rules.of_last_axis),
    layers.RMSNormalization: Operator(rules.of_last_axis),
    layers.UnitNormalization: Operator(rules.of_last_axis),
    op.Softmax: Operator(rules.of_last_axis, fixed_range=(0.0, 255 / 256)),
    op.Sigmoid: Operator(rules.elementwise, fixed_range=(0.0, 255 / 256)),
    op.Tanh: Operator(rules.elementwise, fixed_range=(-1.0, 127 / 128)),
    op.Where: Operator(
        rules.elementwise, moves=lambda node: len(node.input_tensors) == 3
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
        (layers.Maximum, layers.Minimum), Operator(rules.elementwise, moves=True)
    ),
    **dict.fromkeys((op.Maximum, op.Minimum), PICKED),
    **dict.fromkeys(
        (op.Amax, op.Amin, op.Max, op.Min), Operator(rules.reduced, moves=True)
    ),
}
SUMS = (op.Add, layers.Add)
CONCATENATIONS = (op.Concatenate, layers.Concatenate)
