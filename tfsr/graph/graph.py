"""A model as a graph of primitive operations, in the order of their execution."""

from collections.abc import Callable

import keras
import numpy as np

from tfsr.graph.operators import operator_of
from tfsr.layers import FakeQuantizedConv2D

TRIED_SIDE = 32  # pixels of the maps that an opened block is tried on


class Graph:
    """The operations between some symbolic tensors.

    Args:
        inputs: Symbolic tensors where the graph begins.
        outputs: Symbolic tensors computed from them.

    Attributes:
        nodes: Keras' call nodes, each after those it needs. A node has `operation`,
            `input_tensors` and `outputs`; a layer called twice has two nodes.
    """

    def __init__(self, inputs: list, outputs: list):
        self.inputs = inputs
        self.outputs = outputs
        self.nodes = _in_order(inputs, outputs)

    def run(self, inputs: list, call: Callable) -> list:
        """Returns the outputs for other inputs, each node run by `call(node, ...)`.

        `call` gets the node and the arguments of its operation.
        """
        values = {id(x): y for x, y in zip(self.inputs, inputs, strict=True)}
        for node in self.nodes:
            args, kwargs = node.arguments.fill_in(values)
            results = keras.tree.flatten(call(node, *args, **kwargs))
            for x, y in zip(node.outputs, results, strict=True):
                values[id(x)] = y
        return [values[id(x)] for x in self.outputs]


def run_node(node, *args, **kwargs):
    """Runs a node as it is: the plain `call` of `Graph.run`."""
    return node.operation(*args, **kwargs)


def convolution_in(operation):
    """Returns the convolution that `operation` rounds the kernel of, or itself."""
    rounded = isinstance(operation, FakeQuantizedConv2D)
    return operation.conv if rounded else operation


def inline(
    model: keras.Model,
    height: int | None = None,
    width: int | None = None,
    opens: Callable[[keras.layers.Layer], bool] = lambda block: True,
) -> Graph:
    """Returns `model` with every block replaced by the operations inside it.

    What remains are operations of the table in `operators.py`, and those that cannot be
    opened: a layer with weights of its own, or one that computes with what the graph
    would not show. They share their weights with `model`.

    Args:
        model: A functional model.
        height: Height of the inputs, or `None` to leave it as it is.
        width: Width of the inputs, likewise.
        opens: Which blocks to open, of those that can be.
    """
    graph = Graph(model.inputs, model.outputs)
    inputs = [_input_like(x, height, width) for x in model.inputs]
    closed: set[int] = set()

    def is_open(operation):
        return _is_block(operation) and id(operation) not in closed and opens(operation)

    def call(node, *args, **kwargs):
        if is_open(node.operation):
            inside = _inside(node.operation, args, kwargs)
            if inside is not None:
                return inside
            closed.add(id(node.operation))
        return node.operation(*args, **kwargs)

    while True:
        graph = Graph(inputs, graph.run(inputs, call))
        if not any(is_open(node.operation) for node in graph.nodes):
            return graph


def _input_like(x, height, width):
    _, own_height, own_width, channels = x.shape
    return keras.Input((height or own_height, width or own_width, channels))


def _is_block(operation):
    """Returns whether an operation is made of layers, and has no weights but theirs."""
    if not isinstance(operation, keras.layers.Layer) or operator_of(operation):
        return False
    inside = operation._layers
    theirs = {id(weight) for layer in inside for weight in layer.weights}
    return bool(inside) and all(id(weight) in theirs for weight in operation.weights)


def _inside(block, args, kwargs):
    """Returns the outputs of what a block calls, or None if that is not all it does.

    A block of ours is known to be no more. One of a stranger's may compute with weights
    directly, or with TensorFlow: then its weights are not all in the graph, its call
    fails, or its results differ.
    """
    if type(block).__module__.startswith("tfsr."):
        return block.call(*args, **kwargs)
    try:
        outputs = block.call(*args, **kwargs)
        inputs = [
            x
            for x in keras.tree.flatten((args, kwargs))
            if isinstance(x, keras.KerasTensor)
        ]
        graph = Graph(inputs, keras.tree.flatten(outputs))
        shown = {
            id(weight)
            for node in graph.nodes
            for weight in getattr(node.operation, "weights", ())
        }
        same = all(id(weight) in shown for weight in block.weights)
        same = same and _agree(block, args, kwargs, graph)
    except Exception:  # a stranger's code raises anything
        return None
    return outputs if same else None


def _agree(block, args, kwargs, graph):
    """Returns whether a block gives what the graph of its inside gives, on noise."""
    rng = np.random.default_rng(0)
    values = {}
    for x in graph.inputs:
        shape = [n or (1 if i == 0 else TRIED_SIDE) for i, n in enumerate(x.shape)]
        values[id(x)] = keras.ops.convert_to_tensor(rng.random(shape, np.float32))

    def known(x):
        return values.get(id(x), x)

    args, kwargs = keras.tree.map_structure(known, (args, kwargs))
    theirs = keras.tree.flatten(block(*args, **kwargs))
    ours = graph.run(list(values.values()), run_node)
    return all(
        np.allclose(*map(keras.ops.convert_to_numpy, pair), atol=1e-5)
        for pair in zip(ours, theirs, strict=True)
    )


def _in_order(inputs, outputs):
    begin = {id(x) for x in inputs}
    order, seen = [], set()
    stack = [(x, False) for x in reversed(outputs)]
    while stack:
        tensor, needs_done = stack.pop()
        if id(tensor) in begin:
            continue
        history = tensor._keras_history
        node = history.operation._inbound_nodes[history.node_index]
        if needs_done and id(node) not in seen:
            seen.add(id(node))
            order.append(node)
        elif id(node) not in seen:
            stack.append((tensor, True))
            stack.extend((x, False) for x in node.input_tensors)
    return order
