"""A model as a graph of primitive operations, in the order of their execution."""

from collections.abc import Callable

import keras

from tfsr.layers import (
    BicubicEnlarge,
    BilinearResize,
    ChannelShift,
    CropToScale,
    FakeQuantize,
    FakeQuantizedConv2D,
    GroupedConv2D,
    JoinScales,
    Luma,
    PadToMultiple,
    SplitScales,
    WeightedAverage,
)

PRIMITIVES = (
    BicubicEnlarge,
    BilinearResize,
    ChannelShift,
    CropToScale,
    FakeQuantize,
    FakeQuantizedConv2D,
    GroupedConv2D,
    JoinScales,
    Luma,
    PadToMultiple,
    SplitScales,
    WeightedAverage,
)


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


def inline(model: keras.Model, height=None, width=None) -> Graph:
    """Returns `model` with every block replaced by the operations inside it.

    What remains are Keras' own layers and operations and `PRIMITIVES`, which share
    their weights with `model`.

    Args:
        model: A functional model.
        height: Height of the inputs, or `None` to leave it open.
        width: Width of the inputs, likewise.
    """
    graph = Graph(model.inputs, model.outputs)
    inputs = [keras.Input((height, width, x.shape[-1])) for x in model.inputs]
    while True:
        graph = Graph(inputs, graph.run(inputs, _call_inside))
        if not any(_is_block(node.operation) for node in graph.nodes):
            return graph


def _call_inside(node, *args, **kwargs):
    operation = node.operation
    return (operation.call if _is_block(operation) else operation)(*args, **kwargs)


def _is_block(operation):
    if isinstance(operation, PRIMITIVES):
        return False
    ours = type(operation).__module__.startswith("tfsr.")
    return ours or isinstance(operation, keras.Model)


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
