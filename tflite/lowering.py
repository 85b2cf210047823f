"""Exact rewrites of a model's graph into an equal one that runs faster.

Each rule is a short function from one operation and its symbolic arguments to what
replaces its output, or None. A rule sees what its arguments were computed from, so a
pattern is read backwards from its last operation. What a rule leaves unused falls out
of the graph.
"""

import keras
import numpy as np

from tfsr.graph import Graph, inline
from tfsr.layers import ChannelShift, GroupedConv2D


def lower(model: keras.Model, rules: tuple, height=None, width=None) -> Graph:
    """Returns the graph of `model`, rewritten for inference.

    Args:
        model: A model of one input, such as `single_scale` returns.
        rules: `EXACT`, or `FOR_INT8`.
        height: Height of the input, or `None` to leave it open.
        width: Width of the input, likewise.
    """
    graph = inline(model, height, width)
    for rule in rules:
        graph = rewrite(graph, rule)
    return graph


def rewrite(graph: Graph, rule) -> Graph:
    """Returns `graph` with `rule` applied wherever it fits."""

    def call(node, *args, **kwargs):
        replacement = rule(node.operation, *args)
        if replacement is None:
            return node.operation(*args, **kwargs)
        return replacement

    inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype) for x in graph.inputs]
    return Graph(inputs, graph.run(inputs, call))


def shift_into_bias(operation, *args):
    """(k * x + b) + s = k * x + (b + s), for a constant s after a convolution."""
    if not isinstance(operation, ChannelShift):
        return None
    conv, x = _producer(args[0])
    if not isinstance(conv, GroupedConv2D):
        return None
    kernel, bias = _weights(conv)
    return convolution(kernel, bias + np.array(operation.offset), conv.groups)(x)


def convolve_before_shuffle(operation, *args):
    """k * shuffle(y) = shuffle(k' * y): the convolution moves to the lower resolution.

    Pixel (r p + i) of shuffle(y) along an axis is channel block i of y at p. Its tap u
    reads pixel r p + i + u, which is block (i + u) mod r at p + floor((i + u) / r). So
    k' has the taps of k at those places, zeros elsewhere, and r^2 times the filters:
    worth it where a wide map at the higher resolution costs more than the zeros.
    """
    if not isinstance(operation, GroupedConv2D) or operation.groups > 1:
        return None
    found = _shuffled(args[0])
    if found is None or operation.filters >= args[0].shape[-1]:
        return None
    y, r, groups = found
    kernel, bias = _weights(operation)
    size, _, channels, filters = kernel.shape
    half, reach = size // 2, -(-(size // 2) // r)
    low = np.zeros(
        (2 * reach + 1, 2 * reach + 1, groups, r, r, channels // groups, r, r, filters)
    )
    grouped = kernel.reshape(size, size, groups, channels // groups, filters)
    for i, j, u, v in np.ndindex(r, r, size, size):
        (dy, a), (dx, b) = divmod(i + u - half, r), divmod(j + v - half, r)
        low[reach + dy, reach + dx, :, a, b, :, i, j] = grouped[u, v]
    low = low.reshape(2 * reach + 1, 2 * reach + 1, channels * r**2, filters * r**2)
    return keras.ops.depth_to_space(convolution(low, np.tile(bias, r**2))(y), r)


def shuffle_at_once(operation, *args):
    """A shuffle within g groups as one shuffle after a convolution for each position.

    Filters (g, i, j, c) of a grouped convolution, shuffled by group and concatenated,
    are (i, j, g, c) shuffled at once: one grouped convolution for each (i, j), whose
    outputs lie in that order. One copy at the low resolution replaces three.
    """
    if type(operation).__name__ != "Concatenate":
        return None
    y, r, groups = _shuffled_by_group(args[0]) or (None, 0, 1)
    if groups == 1:
        return None
    relu, z = _producer(y)
    if type(relu).__name__ != "Relu":
        return None
    conv, x = _producer(z)
    if not isinstance(conv, GroupedConv2D) or conv.groups != groups:
        return None
    kernel, bias = _weights(conv)
    kernel = kernel.reshape(*kernel.shape[:3], groups, r**2, -1)
    bias = bias.reshape(groups, r**2, -1)
    parts = [
        keras.ops.relu(
            convolution(
                kernel[..., i, :].reshape(*kernel.shape[:3], -1),
                bias[:, i].reshape(-1),
                groups,
            )(x)
        )
        for i in range(r**2)
    ]
    return keras.ops.depth_to_space(keras.ops.concatenate(parts, axis=-1), r)


def center_input(operation, *args):
    """k * (x + s) + b = k * (x + m) + (b + sum of k (s - m)), one m for all channels.

    For 8 bits only: with m = -110 / 255 the shifted pixels are whole steps of 1 / 255
    and nothing is lost, while shifts of their own cost each channel up to half a step.
    Where the convolution reads zeros beyond the image's border, s - m, at most 0.027,
    is added there too, which makes this rule alone inexact, at the outermost pixels.
    """
    if not isinstance(operation, GroupedConv2D):
        return None
    shift, x = _producer(args[0])
    if not isinstance(shift, ChannelShift) or _producer(x)[1] is not None:
        return None
    kernel, bias = _weights(operation)
    rest = np.array(shift.offset) - CENTER
    bias = bias + np.einsum("yxcf,c->f", kernel, rest)
    centered = ChannelShift((CENTER,) * len(rest))(x)
    return convolution(kernel, bias, operation.groups)(centered)


def add_to_last_bias(graph: Graph, addition: np.ndarray) -> Graph:
    """Returns `graph` with `addition`, one number a filter, on its last convolution."""
    *_, last = (n for n in graph.nodes if isinstance(n.operation, GroupedConv2D))

    def rule(operation, *args):
        if operation is not last.operation:
            return None
        kernel, bias = _weights(operation)
        return convolution(kernel, bias + addition, operation.groups)(*args)

    return rewrite(graph, rule)


CENTER = -110 / 255  # close to the negative mean of photographs
EXACT = (shift_into_bias, convolve_before_shuffle, shuffle_at_once)
FOR_INT8 = (*EXACT, center_input)


def convolution(kernel: np.ndarray, bias: np.ndarray, groups: int = 1) -> GroupedConv2D:
    """Returns a built convolution with these weights."""
    size, _, channels, filters = kernel.shape
    layer = GroupedConv2D(filters, size, groups)
    layer.build((None, None, None, channels * groups))
    layer.set_weights([kernel, bias])
    return layer


def _producer(x):
    """Returns the operation that computed `x`, and its first argument."""
    history = x._keras_history
    node = history.operation._inbound_nodes[history.node_index]
    return history.operation, node.input_tensors[0] if node.input_tensors else None


def _weights(conv):
    return [np.asarray(keras.ops.convert_to_numpy(w), np.float64) for w in conv.weights]


def _shuffled(x):
    """Returns y, block size and groups if x is y after a pixel shuffle, else None."""
    operation, y = _producer(x)
    if type(operation).__name__ == "DepthToSpace":
        return y, operation.block_size, 1
    if type(operation).__name__ == "Concatenate":
        history = x._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        return _shuffled_by_group(node.input_tensors)
    return None


def _shuffled_by_group(parts):
    """The same for the concatenated `parts` of a shuffle within groups."""
    blocks, sources = set(), set()
    for part in parts:
        shuffle, piece = _producer(part)
        if type(shuffle).__name__ != "DepthToSpace":
            return None
        split, y = _producer(piece)
        if type(split).__name__ != "Split":
            return None
        blocks.add(shuffle.block_size)
        sources.add(id(y))
    if len(blocks) != 1 or len(sources) != 1:
        return None
    return y, blocks.pop(), len(parts)
