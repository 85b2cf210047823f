"""Rewrites a model's graph by the rules in `rules.py`, and helps to write rules.

A rule is a function of one operation and its symbolic arguments. It returns the tensor
that replaces the operation's output, or None where it does not apply. `producer` tells
what an argument was computed from, so a rule matches a pattern backwards from its last
operation. Operations that the new output does not need drop out of the graph. A rule
with `**kwargs` gets the call's keyword arguments. Other rules are skipped where one of
these is a tensor, and all are skipped where channels come first.
"""

import inspect
from collections import Counter
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfsr.graph.graph import Graph, inline
from tfsr.graph.operators import is_convolution
from tfsr.layers import GroupedConv2D, JoinScales, PadToMultiple


def lower(
    model: keras.Model,
    rules: tuple[Callable, ...],
    height: int | None = None,
    width: int | None = None,
) -> Graph:
    """Returns the graph of `model`, rewritten for inference.

    Args:
        model: A model of one input, such as `single_scale` returns.
        rules: One of the tuples of `rules.py`, such as `FLOAT_RULES`.
        height: Height of the input, or `None` to leave it open.
        width: Width of the input, or `None` to leave it open.
    """
    graph = inline(model, height, width)
    for rule in rules:
        graph = rewrite(graph, rule)
    return graph


def rewrite(graph: Graph, rule: Callable) -> Graph:
    """Returns `graph` with `rule` applied wherever it fits; if nowhere, itself."""

    readers = Counter(id(x) for x in graph.outputs)
    for node in graph.nodes:
        readers.update({id(x) for x in node.input_tensors})

    calls = Counter(name_of(node.operation) for node in graph.nodes)

    parameters = inspect.signature(rule).parameters.values()
    takes_keywords = any(p.kind is p.VAR_KEYWORD for p in parameters)

    def replaced(node, args, kwargs):
        if not args or getattr(node.operation, "data_format", "") == "channels_first":
            return None
        if takes_keywords:
            return rule(node.operation, *args, **kwargs)
        if any(hasattr(x, "shape") for x in keras.tree.flatten(kwargs)):
            return None
        return rule(node.operation, *args)

    def counted(node, results):
        for before, x in zip(node.outputs, keras.tree.flatten(results), strict=True):
            x._tfsr_readers = max(readers[id(before)], getattr(x, "_tfsr_readers", 0))
            x._tfsr_calls = calls
        return results

    def call(node, *args, **kwargs):
        replacement = replaced(node, args, kwargs)
        if replacement is None:
            replacement = node.operation(*args, **kwargs)
        return counted(node, replacement)

    fits = False

    def look(node, *args, **kwargs):
        nonlocal fits
        counted(node, node.outputs)
        fits = fits or replaced(node, args, kwargs) is not None
        return node.outputs

    graph.run(graph.inputs, look)
    if not fits:  # most rules: a copy of each layer call costs more than a look
        return graph
    return graph.map(call)


def read_once(x: keras.KerasTensor) -> bool:
    """Returns whether one operation alone reads `x`, so that it can replace `x`."""
    return getattr(x, "_tfsr_readers", 1) == 1


def is_shared(x: keras.KerasTensor, operation: keras.Operation) -> bool:
    """Returns whether `operation` or the producer of `x` is called more than once.

    `operation` reads `x`. Levels that share weights call a layer several times.
    """
    of_both = (operation, producer(x)[0])
    return any(x._tfsr_calls[name_of(operation)] > 1 for operation in of_both)


def add_to_last_bias(graph: Graph, addition: np.ndarray) -> Graph:
    """Returns `graph` with `addition`, `(filters,)`, added to its last bias."""
    last = last_convolution(graph)
    kernel, bias = weights_of(last)

    def move(operation, *args):
        if operation is not last:
            return None
        moved = type(last).from_config(last.get_config())
        return built(moved, args[0], [kernel, bias + addition])(*args)

    return rewrite(graph, move)


def last_convolution(graph: Graph) -> keras.layers.Layer | None:
    """Returns the last convolution, dense or transposed; None if there is none.

    Convolutions without a bias, which cannot be corrected, and copies do not count.
    """
    for operation in reversed([node.operation for node in graph.nodes]):
        if not is_convolution(operation) or operation.bias is None:
            continue
        by_channel = isinstance(operation, keras.layers.DepthwiseConv2D)
        if not by_channel and not copies_channels(operation):
            return operation
    return None


def copies_channels(operation: keras.Operation) -> bool:
    """Returns whether an operation is a 1x1 convolution that copies channels."""
    if not isinstance(operation, GroupedConv2D) or operation.kernel_size > 1:
        return False
    kernel, bias = weights_of(operation)
    one_each = np.isin(kernel, (0, 1)).all() and (kernel.sum(axis=2) == 1).all()
    return bool(one_each and not bias.any())


def convolution(
    name: str, kernel: np.ndarray, bias: np.ndarray | None, groups: int = 1
) -> GroupedConv2D:
    """Returns a built convolution of any image size with these weights.

    Args:
        name: Name of the layer.
        kernel: `(k, k, C / groups, filters)`.
        bias: `(filters,)`, or None for a convolution that keeps zeros.
        groups: Number of groups.
    """
    size, _, channels, filters = kernel.shape
    given = bias is not None
    layer = GroupedConv2D(filters, size, groups, use_bias=given, name=name)
    weights = [kernel, bias] if given else [kernel]
    return built(layer, keras.Input((None, None, channels * groups)), weights)


def name_of(operation: keras.Operation) -> str:
    """Returns a layer's name after those of the layers around it: `block_0.conv_1`.

    Rules give it to the layers that replace this one. An operation without weights has
    no path, so its name is that of its class.
    """
    path = getattr(operation, "path", None)
    return (path or type(operation).__name__).replace("/", ".")


def is_input(x: keras.KerasTensor) -> bool:
    """Returns whether `x` is a model's input, perhaps padded or joined over scales."""
    operation, before = producer(x)
    if isinstance(operation, JoinScales | PadToMultiple):
        return is_input(before)
    return before is None


def node_of(x: keras.KerasTensor) -> Any:
    """Returns the node, a call of an operation, that computed `x`."""
    history = x._keras_history
    return history.operation._inbound_nodes[history.node_index]


def producer(
    x: keras.KerasTensor,
) -> tuple[keras.Operation, keras.KerasTensor | None]:
    """Returns the operation that computed `x` and its first argument, None if none."""
    node = node_of(x)
    return node.operation, node.input_tensors[0] if node.input_tensors else None


def built(
    layer: keras.layers.Layer, x: keras.KerasTensor, weights: list
) -> keras.layers.Layer:
    """Returns `layer` after building it for the input `x` and setting its weights."""
    layer.build(x.shape)
    layer.set_weights(weights)
    return layer


def with_weights(
    conv: keras.layers.Layer, kernel: np.ndarray, bias: np.ndarray
) -> keras.layers.Layer:
    """Returns a copy of a built convolution `conv` with other weights.

    If `bias` is 0, a `GroupedConv2D` without a bias gets none, because training would
    change it.
    """
    if isinstance(conv, GroupedConv2D):
        keeps_zeros = conv.bias is None and not np.any(bias)
        kept = None if keeps_zeros else bias
        layer = convolution(name_of(conv), kernel, kept, conv.groups)
        layer.trainable = conv.trainable
        return layer
    config = {**conv.get_config(), "use_bias": True, "name": name_of(conv)}
    if "filters" in config:
        config["filters"] = len(bias)
    channels = conv.input_spec.axes[-1]
    layer = type(conv).from_config(config)
    return built(layer, keras.Input((None, None, channels)), [kernel, bias])


def weights_of(conv: keras.layers.Layer) -> list[np.ndarray]:
    """Returns kernel and bias of a convolution in float64; 0 where it has no bias."""
    kernel = values_of(conv.kernel)
    if conv.bias is not None:
        return [kernel, values_of(conv.bias)]
    filters = kernel.shape[-1]
    if isinstance(conv, keras.layers.DepthwiseConv2D):
        filters *= kernel.shape[-2]
    elif isinstance(conv, keras.layers.Conv2DTranspose):
        filters = kernel.shape[-2]
    return [kernel, np.zeros(filters)]


def is_linear(layer: keras.layers.Layer) -> bool:
    """Returns whether a layer with weights has no activation of its own."""
    activation = getattr(layer, "activation", None)
    return activation is None or activation is keras.activations.linear


def values_of(weight: Any) -> np.ndarray:
    """Returns the values of a weight, in float64."""
    return np.asarray(keras.ops.convert_to_numpy(weight), np.float64)
