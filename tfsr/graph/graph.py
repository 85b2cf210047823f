"""A model as a graph of primitive operations, in the order in which they run."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np

from tfsr.graph.operators import UNKNOWN, operator_of
from tfsr.layers import FakeQuantizedConv2D

TRIED_SIDE = 32  # side in pixels of the maps on which opened blocks are tested


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
        position: The index in `nodes` of each node, by the node's id.
        producer_index: The index in `nodes` of what computes a tensor, by its id.
    """

    def __init__(self, inputs: list, outputs: list):
        self.inputs = inputs
        self.outputs = outputs
        self.nodes = _in_order(inputs, outputs)
        self.position = {id(node): i for i, node in enumerate(self.nodes)}
        self.producer_index = {
            id(x): i for i, node in enumerate(self.nodes) for x in node.outputs
        }

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

    def map(self, call: Callable) -> "Graph":
        """Returns a graph of what `call` computes for each node, as in `run`."""
        inputs = [keras.Input(batch_shape=x.shape, dtype=x.dtype) for x in self.inputs]
        return Graph(inputs, self.run(inputs, call))


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
    """Returns `model` as a graph in which blocks are replaced by their operations.

    The graph has operations of the table in `operators.py`, and layers that cannot be
    opened because a graph would not show all that they compute. Layers share their
    weights with `model`; a block's own weights become constants.

    Args:
        model: A functional model.
        height: Height of the inputs, or `None` to leave it as it is.
        width: Width of the inputs, or `None` to leave it as it is.
        opens: Function of a block that returns whether to open it; by default all are.
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
    """Returns whether a layer may consist of operations and other layers.

    `_inside` finds out whether it does. Keras' own layers that have weights stay whole.
    """
    known = operator_of(operation) is not UNKNOWN
    if known or not isinstance(operation, keras.layers.Layer):
        return False
    of_keras = type(operation).__module__.startswith("keras.")
    return not of_keras or not any(w.trainable for w in own_weights(operation))


def own_weights(block: keras.layers.Layer) -> list:
    """Returns the weights of a layer without those of the layers inside it."""
    theirs = {id(weight) for layer in block._layers for weight in layer.weights}
    return [weight for weight in block.weights if id(weight) not in theirs]


def _inside(block, args, kwargs):
    """Returns a block's outputs computed by operations; None if they cannot be shown.

    The blocks of this package consist of layers alone. Other blocks may call
    TensorFlow, which shows in one of three ways: the graph lacks some of their weights,
    their call fails, or the graph's results differ.
    """
    if type(block).__module__.startswith("tfsr."):
        return None if own_weights(block) else block.call(*args, **kwargs)
    inputs = [
        x
        for x in keras.tree.flatten((args, kwargs))
        if isinstance(x, keras.KerasTensor)
    ]
    try:
        with _as_constants(block, own_weights(block)):
            outputs = block.call(*args, **kwargs)
        graph = Graph(inputs, keras.tree.flatten(outputs))
    except Exception:  # a stranger's code raises anything
        return None
    shown = {
        id(weight)
        for node in graph.nodes
        for weight in getattr(node.operation, "weights", ())
    }
    same = all(id(w) in shown for layer in block._layers for w in layer.weights)
    return outputs if same and _agree(block, args, kwargs, graph) else None


class _Constant(np.ndarray):
    """An array that symbolic tensors accept as either operand."""

    def __array_ufunc__(self, ufunc, method, *inputs, **options):
        inputs = [x.view(np.ndarray) if isinstance(x, _Constant) else x for x in inputs]
        if any(isinstance(x, keras.KerasTensor) for x in inputs):
            return getattr(keras.ops, ufunc.__name__)(*inputs)
        outputs = getattr(ufunc, method)(*inputs, **options)
        return np.asarray(outputs).view(_Constant)


@contextlib.contextmanager
def _as_constants(block: keras.layers.Layer, weights: list) -> Iterator[None]:
    """Replaces weights among a layer's attributes by arrays of their values."""
    values = {
        id(weight): keras.ops.convert_to_numpy(weight).view(_Constant)
        for weight in weights
    }
    before, during = {}, {}
    for name, x in vars(block).items():
        held = x if isinstance(x, list) else [x]
        if any(id(item) in values for item in held):
            constants = [values.get(id(item), item) for item in held]
            before[name] = x
            during[name] = constants if isinstance(x, list) else constants[0]
    vars(block).update(during)
    try:
        yield
    finally:
        vars(block).update(before)


def _agree(block, args, kwargs, graph):
    """Returns whether a block and the graph of its layers agree on random input."""
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
