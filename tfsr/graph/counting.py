"""Mult-adds of each kind of operation for one image.

Each function takes an operation and its node, whose tensors have known sizes.
"""

import math
from typing import Any

from tfsr.graph.receptive_field_rules import arguments_of


def _positions(x):
    """Returns the number of positions in one image, such as H * W of `(B, H, W, C)`."""
    return math.prod(x.shape[1:-1])


def per_output(operation: Any, node: Any) -> int:
    """Returns the kernel's size times the number of output pixels."""
    return math.prod(operation.kernel.shape) * _positions(node.outputs[0])


def per_input(operation: Any, node: Any) -> int:
    """Returns the kernel's size times the number of input pixels."""
    return math.prod(operation.kernel.shape) * _positions(node.input_tensors[0])


def separable(operation: Any, node: Any) -> int:
    """Returns the sizes of both kernels times the number of output pixels."""
    kernels = operation.depthwise_kernel, operation.pointwise_kernel
    sizes = (math.prod(kernel.shape) for kernel in kernels)
    return sum(sizes) * _positions(node.outputs[0])


def function_per_output(operation: Any, node: Any) -> int:
    """Returns the same as `per_output` for a convolution called with its kernels."""
    _, *kernels = arguments_of(node)
    kernels = [k for k in kernels if hasattr(k, "shape")]
    sizes = (math.prod(kernel.shape) for kernel in kernels)
    return sum(sizes) * _positions(node.outputs[0])


def function_per_input(operation: Any, node: Any) -> int:
    """Returns the same as `per_input` for a convolution called with its kernel."""
    _, kernel, *_ = arguments_of(node)
    return math.prod(kernel.shape) * _positions(node.input_tensors[0])


def matmul(operation: Any, node: Any) -> int:
    """Returns the inner length of the product times the number of its values."""
    left, _ = arguments_of(node)
    return math.prod(node.outputs[0].shape[1:]) * left.shape[-1]


def einsum(operation: Any, node: Any) -> int:
    """Returns the product of all index ranges."""
    shapes = [x.shape for x in arguments_of(node)]
    return _contraction(operation.subscripts, shapes)


def einsum_layer(operation: Any, node: Any) -> int:
    """Returns the product of all index ranges."""
    shapes = [node.input_tensors[0].shape, operation.kernel.shape]
    return _contraction(operation.equation, shapes)


def _contraction(equation, shapes):
    """Returns the mult-adds of an Einstein sum for one image.

    They are the product of the ranges of all indices except unknown ones (the batch).
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
