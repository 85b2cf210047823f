"""A model for training that keeps the groups of grouped convolutions separate."""

import functools
from collections.abc import Callable

import keras
from keras import ops

from tfsr.graph import operations as op
from tfsr.graph.graph import inline, own_weights, run_node
from tfsr.graph.operators import CONCATENATIONS, is_relu
from tfsr.layers import GroupedConv2D


@keras.saving.register_keras_serializable(package="tfsr")
class UnjoinedGroups(keras.Model):
    """A functional model that concatenates convolution groups only where needed.

    Between two grouped convolutions, or one and a pixel shuffle of its groups, a
    network concatenates the groups and splits them again. This model keeps them
    separate, with the same layers, weights and results. On the CPU it shortens CARN-M's
    training step by 8% (`benchmarks/unjoined_groups.py` on `carn_m_x4_hour.toml`).
    """

    teacher: Callable | None = None  # if set, computes the targets from the inputs

    def __init__(self, inputs, outputs, **kwargs):
        super().__init__(inputs, outputs, **kwargs)
        self.graph = inline(self, opens=_has_groups)

    def call(self, inputs, training=None, mask=None):
        outputs = self.graph.run(keras.tree.flatten(inputs), _run_apart)
        return keras.tree.pack_sequence_as(self.output, [_join(x) for x in outputs])

    def compute_loss(
        self, x=None, y=None, y_pred=None, sample_weight=None, training=True
    ):
        if self.teacher is not None:
            y = self.teacher(x)
        if isinstance(y_pred, dict) and not isinstance(y, dict):
            y = dict.fromkeys(y_pred, y)  # all stages of a cascade have the same target
        return super().compute_loss(x, y, y_pred, sample_weight, training)


class _Groups:
    """A feature map split along its channels into equal parts, in order."""

    def __init__(self, parts):
        self.parts = list(parts)

    @functools.cached_property
    def joined(self):
        return ops.concatenate(self.parts, axis=-1)


def _has_groups(block):
    """Returns whether a block that consists of layers has a grouped convolution."""
    return not own_weights(block) and any(
        isinstance(layer, GroupedConv2D) and layer.groups > 1
        for layer in block._flatten_layers()
    )


def _run_apart(node, *args, **kwargs):
    if not args:  # all by keyword, unlike operations between grouped convolutions
        return run_node(node, **keras.tree.map_structure(_join, kwargs))
    operation, x = node.operation, args[0]
    if isinstance(operation, GroupedConv2D) and operation.groups > 1:
        if not (isinstance(x, _Groups) and len(x.parts) == operation.groups):
            x = _Groups(ops.split(_join(x), operation.groups, axis=-1))
        return _Groups(operation.convolve_groups(x.parts))
    if isinstance(x, _Groups) and is_relu(operation):
        return _Groups([operation(part) for part in x.parts])
    if isinstance(x, _Groups) and isinstance(operation, op.Split):
        sections = (operation.indices_or_sections, operation.axis)
        if sections == (len(x.parts), -1):
            return x.parts
    if isinstance(operation, CONCATENATIONS) and operation.axis == -1:
        parts = [_join(part) for part in x]
        if len({part.shape[-1] for part in parts}) == 1:
            return _Groups(parts)
    args, kwargs = keras.tree.map_structure(_join, (args, kwargs))
    return run_node(node, *args, **kwargs)


def _join(x):
    return x.joined if isinstance(x, _Groups) else x
