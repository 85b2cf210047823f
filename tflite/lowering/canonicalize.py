"""Canonicalization: rules that write Keras' layers as the few that other rules know.

After them a convolution is linear, and a `GroupedConv2D` if it has stride 1, no
dilation and "same" padding; activations, sums and gates are operations of their own. So
every rule fits the networks that users bring, and each tensor that 8 bits round has a
range.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from tfsr.graph import operations as op
from tfsr.graph.operators import UNKNOWN, operator_of
from tfsr.tflite.lowering.engine import (
    built,
    convolution,
    is_linear,
    name_of,
    node_of,
    producer,
    values_of,
    weights_of,
)

HIDDEN = -1e9  # which a softmax maps to 0
CONVOLUTIONS = (
    layers.Conv1D,
    layers.Conv2D,
    layers.Conv2DTranspose,
    layers.DepthwiseConv2D,
    layers.SeparableConv2D,
    layers.Dense,
    layers.EinsumDense,
)


def _joined(function):
    return lambda layer, inputs: functools.reduce(function, inputs)


def _same(layer, x):
    return x


def _softmax(layer, x):
    axes = np.ravel(layer.axis)
    return ops.softmax(x, int(axes[0])) if len(axes) == 1 else None


def _mean_and_var(operation, x):
    axes, keepdims = operation.axes, operation.keepdims
    return ops.mean(x, axes, keepdims), _variance(x, axes, keepdims)


def _variance(x, axis, keepdims):
    difference = x - ops.mean(x, axis, keepdims=True)
    return ops.mean(difference * difference, axis, keepdims)


def _hard_sigmoid(x):
    return ops.clip(x * (1 / 6) + 0.5, 0.0, 1.0)


def _resized(layer, x):
    if layer.crop_to_aspect_ratio or layer.pad_to_aspect_ratio or layer.antialias:
        return None
    return ops.image.resize(x, (layer.height, layer.width), layer.interpolation)


AS_OPERATIONS: dict[type, Callable] = {
    layers.Add: _joined(ops.add),
    layers.Multiply: _joined(ops.multiply),
    layers.Maximum: _joined(ops.maximum),
    layers.Minimum: _joined(ops.minimum),
    layers.Subtract: lambda layer, inputs: ops.subtract(*inputs),
    layers.Average: lambda layer, inputs: (
        functools.reduce(ops.add, inputs) * (1 / len(inputs))
    ),
    layers.Activation: lambda layer, x: _activated(layer.activation, x),
    layers.LeakyReLU: lambda layer, x: ops.leaky_relu(x, layer.negative_slope),
    layers.Resizing: _resized,
    layers.Softmax: _softmax,
    op.Moments: _mean_and_var,
    op.Silu: lambda operation, x: x * ops.sigmoid(x),
    op.Square: lambda operation, x: x * x,
    op.Std: lambda operation, x: ops.sqrt(
        _variance(x, operation.axis, operation.keepdims)
    ),
    op.Var: lambda operation, x: _variance(x, operation.axis, operation.keepdims),
    op.HardSigmoid: lambda operation, x: _hard_sigmoid(x),
    **dict.fromkeys(  # they do something in training alone
        (
            layers.AlphaDropout,
            layers.Dropout,
            layers.GaussianDropout,
            layers.GaussianNoise,
            layers.Identity,
            layers.SpatialDropout2D,
        ),
        _same,
    ),
}


def layer_as_operations(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """A layer without weights, called with its input alone, is as in `AS_OPERATIONS`.

    silu(x) = x sigmoid(x), hard_sigmoid(x) = clip(x / 6 + 1/2, 0, 1), and var(x) =
    mean((x - mean(x))^2); dropout and noise do nothing after training.
    """
    write = AS_OPERATIONS.get(type(operation))
    if write is None or len(args) > 1 or _has_foreign_activation(operation):
        return None
    return write(operation, *args)


def bounds_as_clip(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """max(x, 0) = relu(x), and min(max(x, a), b) = clip(x, a, b), in either order."""
    bound = _bound(operation, args)
    if bound is None:
        return None
    x, value = bound
    before = node_of(x)
    other = _bound(before.operation, before.arguments.args)
    if isinstance(before.operation, op.Relu):
        other = before.input_tensors[0], 0.0
    if isinstance(operation, op.Minimum):
        if other and not isinstance(before.operation, op.Minimum) and other[1] <= value:
            return ops.clip(other[0], other[1], value)
        return None
    if other and isinstance(before.operation, op.Minimum) and value <= other[1]:
        return ops.clip(other[0], value, other[1])
    return None if value else ops.relu(x)


def _bound(operation, args):
    """Returns x and the number that it is compared with; None if there is none."""
    if not isinstance(operation, op.Maximum | op.Minimum):
        return None
    numbers = [x for x in args if isinstance(x, int | float)]
    tensors = [x for x in args if isinstance(x, keras.KerasTensor)]
    return (tensors[0], float(numbers[0])) if numbers and tensors else None


def activation_apart(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """a(k * x + b) is a convolution, and an activation a of it."""
    if type(operation) not in CONVOLUTIONS or is_linear(operation):
        return None
    if _has_foreign_activation(operation):
        return None
    config = {**operation.get_config(), "activation": None, "name": name_of(operation)}
    layer = type(operation).from_config(config)
    layer = built(layer, args[0], operation.get_weights())
    return _activated(operation.activation, layer(*args))


def function_as_layer(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """`ops.conv` and `ops.depthwise_conv` with a constant kernel are layers with it."""
    if not isinstance(operation, op.Conv | op.DepthwiseConv) or len(args) != 2:
        return None
    x, kernel = args
    if isinstance(kernel, keras.KerasTensor | keras.Variable) or len(kernel.shape) != 4:
        return None
    kernel = values_of(kernel)
    options = {
        "kernel_size": kernel.shape[:2],
        "strides": operation.strides,
        "padding": operation.padding,
        "dilation_rate": operation.dilation_rate,
        "use_bias": False,
        "trainable": False,
        "name": name_of(operation),
    }
    if isinstance(operation, op.DepthwiseConv):
        layer = layers.DepthwiseConv2D(depth_multiplier=kernel.shape[3], **options)
    else:
        groups = x.shape[-1] // kernel.shape[2]
        layer = layers.Conv2D(kernel.shape[3], groups=groups, **options)
    return built(layer, x, [kernel])(x)


def product_as_convolution(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """x k = k * x for a constant matrix k and the channels of a map, by 1x1."""
    if isinstance(operation, op.Einsum):
        letters = _letters(operation)
        if letters is None:
            return None
        inputs, kernel, output = letters
        if kernel != inputs[-1:] + output[-1:] or inputs[:-1] != output[:-1]:
            return None
    elif isinstance(operation, op.Tensordot):
        if operation.axes not in (1, [[-1], [0]], [[3], [0]]):
            return None
    elif not isinstance(operation, op.Matmul):
        return None
    x, kernel, *_ = args
    if not isinstance(x, keras.KerasTensor) or len(x.shape) not in (3, 4):
        return None
    if isinstance(kernel, keras.KerasTensor | keras.Variable) or len(kernel.shape) != 2:
        return None
    kernel = values_of(kernel)
    conv = convolution(name_of(operation), kernel[None, None], 0 * kernel[0])
    conv.trainable = False
    return conv(x) if len(x.shape) == 4 else _of_row(conv, x)


def _of_row(conv, x):
    """Returns a convolution of a row of pixels, `(B, N, C)`, or of one, `(B, C)`."""
    if len(x.shape) == 2:
        return ops.squeeze(_of_row(conv, ops.expand_dims(x, 1)), 1)
    return ops.squeeze(conv(ops.expand_dims(x, 1)), 1)


def einsum_layer_as_dense(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """A product with a kernel over the last axes is that of one axis, reshaped."""
    if type(operation) is not layers.EinsumDense or not is_linear(operation):
        return None
    before, of_kernel, after = operation.equation.replace("->", ",").split(",")
    before, after = before.removeprefix("..."), after.removeprefix("...")
    read = "".join(letter for letter in before if letter not in after)
    kept = before.removesuffix(read)
    new = after.removeprefix(kept)
    if (before, of_kernel, after) != (kept + read, read + new, kept + new):
        return None
    (x,) = args
    kernel = values_of(operation.kernel)
    filters = kernel.shape[len(read) :]
    positions = x.shape[1 : len(x.shape) - len(read)]
    if len(read + new) > 2 and None in positions:
        return None
    weights = [kernel.reshape(-1, math.prod(filters))]
    if operation.bias is not None:
        bias = values_of(operation.bias)
        if bias.ndim > len(new):
            return None
        weights.append(np.broadcast_to(bias, filters).ravel())
    dense = layers.Dense(
        math.prod(filters), use_bias=len(weights) > 1, name=name_of(operation)
    )
    if len(read) > 1:
        x = ops.reshape(x, (-1, *positions, len(weights[0])))
    y = built(dense, x, weights)(x)
    return ops.reshape(y, (-1, *positions, *filters)) if len(new) > 1 else y


def attention_as_products(
    operation: keras.Operation,
    *args,
    scale: float | None = None,
    mask: Any = None,
    flash_attention: bool | None = None,
    **others: Any,
) -> keras.KerasTensor | None:
    """Attention is softmax(s q k^T) v, head by head; maps are `(B, N, heads, C)`.

    Where a constant or causal mask hides a product, it is `HIDDEN` before the softmax.
    """
    if not isinstance(operation, op.DotProductAttention) or len(args) != 3:
        return None
    special = operation.attn_logits_soft_cap, *others.values()
    if any(option is not None and option is not False for option in special):
        return None
    query, key, value = args
    sides = query.shape[1], key.shape[1]
    masks = [] if mask is None else [mask]
    if operation.is_causal:
        masks += [None if None in sides else np.tri(*sides, dtype=bool)]
    if any(mask is None or isinstance(mask, keras.KerasTensor) for mask in masks):
        return None
    scale = query.shape[-1] ** -0.5 if scale is None else float(scale)
    query = ops.transpose(query * scale, (0, 2, 1, 3))
    logits = ops.matmul(query, ops.transpose(key, (0, 2, 3, 1)))
    for mask in masks:
        seen = np.asarray(keras.ops.convert_to_numpy(mask), bool)
        logits = ops.where(seen, logits, HIDDEN)
    heads = ops.matmul(ops.softmax(logits), ops.transpose(value, (0, 2, 1, 3)))
    return ops.transpose(heads, (0, 2, 1, 3))


def einsum_as_product(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """A sum over one index of two tensors is a product of matrices, transposed."""
    letters = _letters(operation) if isinstance(operation, op.Einsum) else None
    if letters is None or not all(isinstance(x, keras.KerasTensor) for x in args):
        return None
    left, right, output = letters
    if "." in left + right:
        return None
    batch = "".join(x for x in output if x in left and x in right)
    inner = {*left} & {*right} - {*output}
    rows, columns = ({*x} - {*batch} - inner for x in (left, right))
    one_each = [len(x) for x in (inner, rows, columns)] == [1, 1, 1]
    if not one_each or len(left + right) != 2 * len(batch) + 4:
        return None
    if {*output} != ({*left} | {*right}) - inner:
        return None
    (i,), (m,), (n,) = inner, rows, columns
    (a, b) = args
    if output == batch + n + m:
        (a, left, m), (b, right, n) = (b, right, n), (a, left, m)
    a = _transposed(a, left, batch + m + i)
    b = _transposed(b, right, batch + i + n)
    return _transposed(ops.matmul(a, b), batch + m + n, output)


def _letters(einsum):
    """Returns the letters of two operands and of their product; None for other sums."""
    operands, arrow, output = einsum.subscripts.replace(" ", "").partition("->")
    left, comma, right = operands.partition(",")
    return (left, right, output) if arrow and comma and "," not in right else None


def _transposed(x, letters, wanted):
    """Returns a tensor with its axes, which letters name, in another order."""
    if letters == wanted:
        return x
    return ops.transpose(x, [letters.index(letter) for letter in wanted])


def separable_apart(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """A separable convolution is a depthwise one, and a 1x1 one of its output."""
    if type(operation) is not layers.SeparableConv2D or not is_linear(operation):
        return None
    name = name_of(operation)
    depthwise = layers.DepthwiseConv2D(
        operation.kernel_size,
        operation.strides,
        operation.padding,
        operation.depth_multiplier,
        dilation_rate=operation.dilation_rate,
        use_bias=False,
        name=f"{name}.depthwise",
    )
    x = built(depthwise, args[0], [values_of(operation.depthwise_kernel)])(args[0])
    kernel = values_of(operation.pointwise_kernel)
    bias = values_of(operation.bias) if operation.use_bias else 0 * kernel[0, 0, 0]
    return convolution(name, kernel, bias)(x)


def row_as_map(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """A convolution of a row is one of a map of one row, by a kernel of one."""
    if type(operation) is not layers.Conv1D or not is_linear(operation):
        return None
    if operation.padding == "causal":
        return None
    config = {"name": name_of(operation), "trainable": operation.trainable}
    for key in ("filters", "padding", "groups", "use_bias"):
        config[key] = getattr(operation, key)
    for key in ("kernel_size", "strides", "dilation_rate"):
        config[key] = (1, *getattr(operation, key))
    kernel, *bias = map(values_of, operation.weights)
    (x,) = args
    conv = built(layers.Conv2D(**config), ops.expand_dims(x, 1), [kernel[None], *bias])
    return _of_row(conv, x)


def convolution_as_grouped(
    operation: keras.Operation, *args
) -> keras.KerasTensor | None:
    """k * x + b of stride 1 and "same" padding is a `GroupedConv2D`, as is `Dense`.

    Without a bias, b = 0.
    """
    kind = type(operation)
    if kind not in (layers.Conv2D, layers.Dense) or not is_linear(operation):
        return None
    if kind is layers.Dense:
        if len(args[0].shape) in (2, 3):
            return _of_row(functools.partial(convolution_as_grouped, operation), *args)
        if len(args[0].shape) != 4:
            return None
        kernel, bias = weights_of(operation)
        kernel, groups = kernel[None, None], 1
    else:
        height, width = operation.kernel_size
        plain = {*operation.strides, *operation.dilation_rate} == {1}
        same = operation.padding == "same" or height == width == 1
        if height != width or not plain or not same:
            return None
        kernel, bias = weights_of(operation)
        groups = operation.groups
    conv = convolution(name_of(operation), kernel, bias, groups)
    conv.trainable = operation.trainable
    return conv(*args)


# Keras activations that fail on symbolic tensors or, as relu does, give an operation of
# another class there.
SYMBOLIC: dict[Callable, Callable] = {
    keras.activations.relu: ops.relu,
    keras.activations.hard_silu: ops.hard_silu,
    keras.activations.mish: lambda x: x * ops.tanh(ops.softplus(x)),
    keras.activations.sparsemax: layers.Activation("sparsemax"),
}


def _activated(activation, x):
    y = SYMBOLIC.get(activation, activation)(x)
    operation, before = producer(y)
    write = None if y is x else AS_OPERATIONS.get(type(operation))
    return write(operation, before) if write else y


def hard_silu_as_gate(operation: keras.Operation, *args) -> keras.KerasTensor | None:
    """hard_silu(x) = x clip(x / 6 + 1/2, 0, 1).

    The 8-bit delegate takes these and no hard swish, and LiteRT's own needs an output
    step of more than 1/128 of the input's.
    """
    if not isinstance(operation, op.HardSilu):
        return None
    (x,) = args
    return x * _hard_sigmoid(x)


def _has_foreign_activation(operation):
    """Returns whether an activation is not Keras' own, so it may do anything."""
    return hasattr(operation, "activation") and operator_of(operation) is UNKNOWN


CANONICAL = (
    activation_apart,
    layer_as_operations,
    bounds_as_clip,
    function_as_layer,
    product_as_convolution,
    einsum_as_product,
    einsum_layer_as_dense,
    attention_as_products,  # of products by kernels, whose sides are known then
    separable_apart,
    row_as_map,
    convolution_as_grouped,
)
