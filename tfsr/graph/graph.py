"""A model as a graph of primitive operations, in the order in which they run."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from tfsr.graph.operators import MOVES, operator_of
from tfsr.layers import FakeQuantizedConv2D

TRIED_SIDE = 32  # pixels of the maps that an opened block is tried on


class Graph:
    """The operations between some symbolic tensors.

    Args:
        inputs: Symbolic tensors where the graph begins.
        outputs: Symbolic tensors computed from them.

    Raises:
        ValueError: If an output is not computed by operations.

    Attributes:
        nodes: Keras' call nodes, each after those it needs. A node has `operation`,
            `input_tensors` and `outputs`; a layer called twice has two nodes.
    """

    def __init__(self, inputs: list, outputs: list):
        self.inputs = inputs
        self.outputs = outputs
        self.nodes = _in_order(inputs, outputs)

    def run(self, inputs: list, call: Callable) -> list:
        """Returns the outputs for `inputs`, running each node with `call`.

        Args:
            inputs: Tensors or symbolic tensors, one for each of the graph's inputs.
            call: Function `call(node, *args, **kwargs)` that gets a node with the
                arguments of its operation and returns the outputs, like `run_node`.
        """
        values = {id(x): y for x, y in zip(self.inputs, inputs, strict=True)}
        for node in self.nodes:
            args, kwargs = node.arguments.fill_in(values)
            results = keras.tree.flatten(call(node, *args, **kwargs))
            for x, y in zip(node.outputs, results, strict=True):
                values[id(x)] = y
        return [values[id(x)] for x in self.outputs]


def run_node(node: Any, *args, **kwargs) -> Any:
    """Returns the outputs of a node's operation: the plain `call` of `Graph.run`."""
    return node.operation(*args, **kwargs)


def convolution_in(operation: keras.Operation) -> keras.Operation:
    """Returns the convolution in a `FakeQuantizedConv2D`; else `operation` itself."""
    rounded = isinstance(operation, FakeQuantizedConv2D)
    return operation.conv if rounded else operation


def inline(
    model: keras.Model,
    height: int | None = None,
    width: int | None = None,
    opens: Callable[[keras.layers.Layer], bool] = lambda block: True,
) -> Graph:
    """Returns `model` as a graph in which the operations of each block replace it.

    The graph has operations of the table in `operators.py`, and layers that cannot be
    opened because they have weights of their own or compute with values that a graph
    would not show. The weights are shared with `model`.

    Args:
        model: A functional model.
        height: Height of the inputs, or `None` to leave it as it is.
        width: Width of the inputs, or `None` to leave it as it is.
        opens: Whether to open a block that can be opened; by default all are.
    """
    graph = Graph(model.inputs, model.outputs)
    inputs = [_input_like(x) for x in model.inputs]
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
            break
    if not (height or width):
        return graph
    inputs = [_input_like(x, height, width) for x in model.inputs]
    return Graph(inputs, graph.run(inputs, run_node))


def _input_like(x, height=None, width=None):
    _, own_height, own_width, channels = x.shape
    return keras.Input((height or own_height, width or own_width, channels))


def _is_block(operation):
    """Returns whether a layer may consist of operations and layers with its weights.

    `_inside` tells whether it does.
    """
    known = operator_of(operation) or isinstance(operation, MOVES)
    if not isinstance(operation, keras.layers.Layer) or known:
        return False
    theirs = {id(weight) for layer in operation._layers for weight in layer.weights}
    return all(id(weight) in theirs for weight in operation.weights)


def _inside(block, args, kwargs):
    """Returns a block's outputs computed by its layers; None if it does more than that.

    The blocks of this package do no more. Other blocks may compute with weights
    directly, or with TensorFlow. This shows in one of three ways: the graph lacks some
    of their weights, their call fails, or the graph's results differ.
    """
    if type(block).__module__.startswith("tfsr."):
        return block.call(*args, **kwargs)
    try:
        outputs = block.call(*args, **kwargs)
    except Exception:  # a stranger's code raises anything
        return None
    inputs = [
        x
        for x in keras.tree.flatten((args, kwargs))
        if isinstance(x, keras.KerasTensor)
    ]
    try:
        graph = Graph(inputs, keras.tree.flatten(outputs))
    except ValueError:
        return None
    shown = {
        id(weight)
        for node in graph.nodes
        for weight in getattr(node.operation, "weights", ())
    }
    same = all(id(weight) in shown for weight in block.weights)
    return outputs if same and _agree(block, args, kwargs, graph) else None


def _agree(block, args, kwargs, graph):
    """Returns whether a block and the graph of its layers give the same, on noise."""
    rng = np.random.default_rng(0)
    values = {}
    for x in graph.inputs:
        shape = [n or (1 if i == 0 else TRIED_SIDE) for i, n in enumerate(x.shape)]
        values[id(x)] = keras.ops.convert_to_tensor(rng.random(shape, np.float32))

    def known(x):
        return values.get(id(x), x)

    args, kwargs = keras.tree.map_structure(known, (args, kwargs))
    try:
        theirs = keras.tree.flatten(block(*args, **kwargs))
        ours = graph.run([values[id(x)] for x in graph.inputs], run_node)
        theirs, ours = (
            [keras.ops.convert_to_numpy(x) for x in side] for side in (theirs, ours)
        )
    except Exception:  # a stranger's code raises anything
        return False
    return [x.shape for x in ours] == [y.shape for y in theirs] and all(
        np.allclose(x, y, atol=1e-5) for x, y in zip(ours, theirs, strict=True)
    )


def _in_order(inputs, outputs):
    """Returns the nodes from `inputs` to `outputs`, each after those it depends on.

    Raises:
        ValueError: If an output is not computed by operations.
    """
    begin = {id(x) for x in inputs}
    order, seen = [], set()
    stack = [(x, False) for x in reversed(outputs)]
    while stack:
        tensor, needs_done = stack.pop()
        if id(tensor) in begin:
            continue
        history = getattr(tensor, "_keras_history", None)
        if history is None or history.operation is None:
            raise ValueError(
                f"`outputs` must be computed by operations. Received: {tensor}."
            )
        node = history.operation._inbound_nodes[history.node_index]
        if needs_done and id(node) not in seen:
            seen.add(id(node))
            order.append(node)
        elif id(node) not in seen:
            stack.append((tensor, True))
            stack.extend((x, False) for x in node.input_tensors)
    return order
