"""Ranges of a model's activations, observed by running it."""

from collections.abc import Iterable

import keras
import numpy as np

from tfsr.graph import Graph, inline

# By the position of the node in the inlined graph.
Ranges = dict[int, tuple[float, float]]

# These only move values: TFLite demands one quantization of their inputs and outputs.
MOVES = ("Concatenate", "DepthToSpace", "Split")


def observe(model: keras.Model, patches: Iterable[np.ndarray]) -> Ranges:
    """Returns the smallest and largest value that each activation takes.

    Runs the float model, so any number and size of patches is quick, and the ranges
    hold for any exported size. What TFLite runs as one operation has one range: an
    operation followed by ReLU alone has it after the ReLU. Tensors that meet in a
    concatenation share a range. The output's range is [0, 1].

    Args:
        model: A model of one input, such as `single_scale` returns.
        patches: LR images, float32 `(H, W, C)` in [0, 1].
    """
    graph = inline(model)
    ranges = {}

    def call(node, *args, **kwargs):
        outputs = node.operation(*args, **kwargs)
        if not _moves(node):
            i = position[id(node)]
            low, high = ranges.get(i, (0.0, 0.0))
            ranges[i] = (
                min(low, float(keras.ops.min(outputs))),
                max(high, float(keras.ops.max(outputs))),
            )
        return outputs

    position = {id(node): i for i, node in enumerate(graph.nodes)}
    for patch in patches:
        graph.run([keras.ops.convert_to_tensor(patch[None])], call)
    for i in _fused_into_relu(graph):
        del ranges[i]
    for together in _same_range(graph):
        members = [i for i in together if i in ranges]
        if len(graph.nodes) - 1 in together:
            shared = (0.0, 1.0)
        else:
            low = min((ranges[i][0] for i in members), default=0.0)
            shared = (low, max((ranges[i][1] for i in members), default=0.0))
        ranges.update(dict.fromkeys(members, shared))
    return ranges


def _moves(node):
    return type(node.operation).__name__ in MOVES


def _fused_into_relu(graph: Graph):
    """Returns the positions of nodes whose output goes into a ReLU and nowhere else."""
    consumers = {}
    for node in graph.nodes:
        for x in node.input_tensors:
            consumers.setdefault(id(x), []).append(node)
    return [
        i
        for i, node in enumerate(graph.nodes)
        if [
            type(c.operation).__name__.lower()
            for c in consumers.get(id(node.outputs[0]), [])
        ]
        == ["relu"]
    ]


def _same_range(graph: Graph):
    """Returns groups of positions, each linked by operations that only move values."""
    producer = {id(x): i for i, node in enumerate(graph.nodes) for x in node.outputs}
    group = {i: {i} for i in range(len(graph.nodes))}
    for i, node in enumerate(graph.nodes):
        if _moves(node):
            for x in node.input_tensors:
                merged = group[i] | group[producer[id(x)]]
                group.update(dict.fromkeys(merged, merged))
    return list({id(g): g for g in group.values()}.values())
