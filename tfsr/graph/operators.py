"""The table of operators: what is known of each type of operation in a network.

An entry has an operation's receptive field and cost, whether it only moves values, and
how it is written for TFLite. An operation without an entry is opened if it is a block
of layers (`graph.inline`); otherwise its receptive field is measured (`probe.py`).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from tfsr.graph import counting, writing
from tfsr.graph import operations as op
from tfsr.graph import receptive_field_rules as rules
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
        moves: Whether it only moves, picks or averages the values of its inputs. TFLite
            then requires the same quantization of inputs and outputs.
        rounded: Whether it is a convolution whose kernel TFLite keeps in 8 bits, with
            a quantization step for each output channel.
        write: Function of an operation and its arguments that returns its outputs,
            computed by TensorFlow operations that convert well. None where those of
            Keras convert well.
    """

    receptive_field: Callable[[Any, Any, ReceptiveField], ReceptiveField]
    mult_adds: Callable[[Any, Any], int] = _free
    moves: bool = False
    rounded: bool = False
    write: Callable | None = None


def operator_of(operation: keras.Operation) -> Operator | None:
    """Returns the entry of an operation in the table; None if there is none.

    A subclass has the entry of its parent unless it overrides the computation. A layer
    whose activation is not one of Keras' has no entry.
    """
    activation = getattr(operation, "activation", None)
    if activation is not None and not _is_of_keras(activation):
        return None
    own = type(operation)
    for kind in own.__mro__:
        if kind in OPERATORS:
            same = all(getattr(own, f, 0) is getattr(kind, f, 0) for f in COMPUTING)
            return OPERATORS[kind] if same else None
    return None


def is_convolution(operation: keras.Operation) -> bool:
    """Returns whether an operation is one whose kernel TFLite keeps in 8 bits."""
    known = operator_of(operation)
    return known is not None and known.rounded


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
    return OPERATORS[type(conv)].receptive_field(conv, node, field)


def _mult_adds_of_convolution(operation, node):
    conv = operation.conv
    return OPERATORS[type(conv)].mult_adds(conv, node)


layers = keras.layers
POINTWISE = Operator(rules.pointwise)
ELEMENTWISE = Operator(rules.elementwise)
REDUCED = Operator(rules.reduced)
POOL = Operator(rules.window, moves=True)
GLOBAL = Operator(rules.not_spatial)

OPERATORS: dict[type, Operator] = {
    # Convolutions
    GroupedConv2D: Operator(
        rules.grouped_window,
        counting.per_output,
        rounded=True,
        write=writing.grouped,
    ),
    layers.Conv2D: Operator(
        rules.window, counting.per_output, rounded=True, write=writing.conv
    ),
    layers.Conv1D: Operator(rules.not_spatial, counting.per_output),
    layers.DepthwiseConv2D: Operator(rules.window, counting.per_output, rounded=True),
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
    op.AveragePool: Operator(rules.function_pool, moves=True),
    op.MaxPool: Operator(rules.function_pool, moves=True),
    layers.GlobalAveragePooling2D: GLOBAL,
    layers.GlobalMaxPooling2D: Operator(rules.not_spatial, moves=True),
    layers.UpSampling2D: Operator(
        rules.upsampling, moves=True, write=writing.upsampling
    ),
    BilinearResize: Operator(rules.bilinear, moves=True, write=writing.bilinear),
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
    layers.ZeroPadding2D: Operator(rules.zero_padding, moves=True),
    layers.Cropping2D: Operator(rules.cropping, moves=True),
    PadToMultiple: Operator(rules.pointwise, moves=True),
    CropToScale: Operator(rules.pointwise, moves=True),
    JoinScales: Operator(rules.pointwise, moves=True),
    SplitScales: Operator(rules.pointwise, moves=True),
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
    op.Softmax: Operator(rules.of_last_axis),
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
    **dict.fromkeys((op.Mean, op.Std, op.Sum, op.Var), REDUCED),
    # Operations that pick the largest or smallest value
    **dict.fromkeys(
        (layers.Maximum, layers.Minimum, op.Maximum, op.Minimum),
        Operator(rules.elementwise, moves=True),
    ),
    **dict.fromkeys(
        (op.Amax, op.Amin, op.Max, op.Min), Operator(rules.reduced, moves=True)
    ),
}
SUMS = (op.Add, layers.Add)
CONCATENATIONS = (op.Concatenate, layers.Concatenate)
# Moves: their receptive field is probed, as it follows from several of them together.
MOVES = (
    layers.Flatten,
    layers.Permute,
    layers.Reshape,
    op.BroadcastTo,
    op.ExpandDims,
    op.Flip,
    op.Moveaxis,
    op.Reshape,
    op.Roll,
    op.Squeeze,
    op.Stack,
    op.Swapaxes,
    op.Transpose,
)
