"""Exact rewrites of a graph into an equal one that runs faster, in their order.

`engine.py` says what a rule is, and applies them. Each rule's docstring begins with its
identity: * is convolution, k and b are kernel and bias.
"""

from tfsr.tflite.lowering.affine import (
    affine_after_convolution,
    affine_as_depthwise,
    affine_before_convolution,
    affine_before_shuffle,
    factor_before_moves,
)
from tfsr.tflite.lowering.canonicalize import CANONICAL, hard_silu_as_gate
from tfsr.tflite.lowering.convolutions import (
    pointwise_after_convolution,
    pointwise_before_convolution,
    prune_unused_channels,
    slopes_as_one,
    slopes_as_two_relus,
    transposed_as_shuffle,
)
from tfsr.tflite.lowering.input_shift import (
    center_input,
    shift_after_blocks,
    shift_of_input,
    shift_out_of_convolution,
)
from tfsr.tflite.lowering.joins import (
    cancel_add_subtract,
    concatenate_onto,
    copies_as_convolution,
    split_as_slices,
)
from tfsr.tflite.lowering.own_layers import (
    colors_as_convolution,
    enlarge_as_convolution,
    fold_kernels,
    fold_weighted_average,
    resize_as_enlarge,
)
from tfsr.tflite.lowering.pooling import (
    pool_as_convolution,
    pool_as_dense_convolution,
    pool_in_convolution,
)
from tfsr.tflite.lowering.shuffles import (
    activation_before_shuffle,
    convolve_before_shuffle,
    convolve_in_blocks,
    shuffle_at_once,
    stride_in_convolution,
)

_RULES = (
    slopes_as_one,  # before those that look for a ReLU
    activation_before_shuffle,
    fold_kernels,  # before those that change kernels
    factor_before_moves,
    affine_before_shuffle,  # so that the next one finds the convolution
    affine_after_convolution,
    affine_before_convolution,
    fold_weighted_average,
    cancel_add_subtract,
    colors_as_convolution,
    copies_as_convolution,
    resize_as_enlarge,  # makes what the next one looks for
    enlarge_as_convolution,
    transposed_as_shuffle,
    prune_unused_channels,
    pointwise_after_convolution,
    pointwise_before_convolution,
    pool_as_convolution,
    stride_in_convolution,
    convolve_before_shuffle,
    convolve_in_blocks,
    shuffle_at_once,
    concatenate_onto,
    split_as_slices,  # after those that look for splits
)
FLOAT_RULES = (*CANONICAL, *_RULES)
INT16_RULES = (
    *CANONICAL,
    hard_silu_as_gate,  # TFLite has no HARD_SWISH in 16 bits
    *_RULES,
    affine_as_depthwise,  # nor NEG
)
INT8_RULES = (
    *CANONICAL,
    hard_silu_as_gate,
    shift_of_input,  # makes what `center_input` looks for
    affine_before_convolution,
    center_input,  # before the two that move its shift on
    shift_after_blocks,
    shift_out_of_convolution,
    pool_in_convolution,  # both before `pool_as_convolution`
    pool_as_dense_convolution,
    *_RULES,
    slopes_as_two_relus,
    affine_as_depthwise,  # what no convolution has taken
)
