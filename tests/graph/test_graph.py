import keras
import numpy as np
import pytest
import tensorflow as tf

from tfsr.graph.graph import Graph, inline
from tfsr.graph.operators import UNKNOWN, operator_of
from tfsr.models import carn, carn_m


def build(builder, scale, **kwargs):
    keras.utils.set_random_seed(0)
    return builder(scale, filters=8, blocks=2, units=2, **kwargs)


@pytest.fixture
def lr():
    return np.random.default_rng(0).random((1, 5, 7, 3), dtype="float32")


def run(node, *args, **kwargs):
    return node.operation(*args, **kwargs)


@pytest.mark.parametrize(
    ("builder", "arguments"),
    [(carn, {}), (carn_m, {"groups": 2}), (carn, {"global_cascading": False})],
)
@pytest.mark.parametrize("scale", [3, 4])
def test_the_inlined_graph_gives_the_output_of_the_model(lr, builder, arguments, scale):
    model = build(builder, scale, **arguments)
    (result,) = inline(model).run([lr], run)
    np.testing.assert_allclose(result, model(lr), atol=1e-5)


def test_several_inputs_and_outputs(lr):
    model = build(carn_m, (2, 3), groups=2)
    inputs = {"lr_x2": lr, "lr_x3": 1 - lr}
    expected = model(inputs)
    order = [x.name for x in model.inputs]
    results = inline(model).run([inputs[name] for name in order], run)
    for result, reference in zip(results, keras.tree.flatten(expected), strict=True):
        np.testing.assert_allclose(result, reference, atol=1e-5)


def test_no_block_is_left_and_units_that_repeat_stay_shared():
    model = build(carn_m, 4, groups=2)
    nodes = inline(model).nodes
    for node in nodes:
        ours = type(node.operation).__module__.startswith("tfsr.")
        assert not ours or operator_of(node.operation) is not UNKNOWN
        assert not isinstance(node.operation, keras.Model)
    unit = model.get_layer("block_0").residuals[0]
    assert sum(node.operation is unit.conv_0 for node in nodes) == 2
    kernels = {id(node.operation) for node in nodes if node.operation.name == "conv_0"}
    assert len(kernels) == 3  # one a block, and the upsampler's first


def test_nodes_come_after_those_they_need():
    graph = inline(build(carn, 2))
    known = {id(x) for x in graph.inputs}
    for node in graph.nodes:
        assert all(id(x) in known for x in node.input_tensors)
        known.update(id(x) for x in node.outputs)


def test_nested_models_are_opened(lr):
    inner = build(carn_m, 2, groups=2)
    x = keras.Input((None, None, 3))
    outer = keras.Model(x, inner(x))
    graph = inline(outer)
    names = [n.operation.name for n in graph.nodes if n.operation in inner.layers]
    assert names[0] == "sub_mean"
    assert names[-1] == "add_mean"
    np.testing.assert_allclose(graph.run([lr], run)[0], inner(lr), atol=1e-5)


class Twice(keras.layers.Layer):
    """A stranger's block of two inputs."""

    def __init__(self):
        super().__init__()
        self.conv = keras.layers.Conv2D(3, 3, padding="same")

    def build(self, first_shape, second_shape):
        self.conv.build(first_shape)

    def call(self, first, second):
        return self.conv(first) + self.conv(second)


def test_a_block_that_gets_one_tensor_twice_is_opened():
    x, block = keras.Input((None, None, 3)), Twice()
    nodes = inline(keras.Model(x, block(x, x))).nodes
    assert sum(node.operation is block.conv for node in nodes) == 2


class Gate(keras.layers.Layer):
    """A stranger's layer of operations alone, and one with a weight of its own."""

    def __init__(self, scaled=False):
        super().__init__()
        self.scaled = scaled

    def build(self, shape):
        if self.scaled:
            self.scale = self.add_weight(shape=(shape[-1] // 2,))

    def call(self, x):
        first, second = keras.ops.split(x, 2, axis=-1)
        return (self.scale if self.scaled else 1.0) * first * second


class Listed(Gate):
    """As `Gate`, with a weight in a list, read by an index that adds an axis."""

    def build(self, shape):
        self.scales = [self.add_weight(shape=(shape[-1] // 2,))]

    def call(self, x):
        first, second = keras.ops.split(x, 2, axis=-1)
        return self.scales[0][None, None] * first * second


class ByTensorFlow(Gate):
    """As `Gate`, by what a graph cannot show."""

    def call(self, x):
        first, second = tf.split(x, 2, axis=-1)
        return first * second * self.scale


@pytest.mark.parametrize(
    ("gate", "operations"),
    [
        (Gate(), ["Split", "Multiply", "Multiply"]),
        (Gate(scaled=True), ["Split", "Multiply", "Multiply"]),
        (Listed(), ["Split", "Multiply", "Multiply"]),
        (ByTensorFlow(scaled=True), ["ByTensorFlow"]),
    ],
)
def test_a_layer_of_operations_is_opened(gate, operations):
    lr = np.random.default_rng(0).random((1, 5, 7, 4), np.float32)
    x = keras.Input((None, None, 4))
    model = keras.Model(x, gate(x))
    graph = inline(model)
    assert [type(node.operation).__name__ for node in graph.nodes] == operations
    np.testing.assert_allclose(graph.run([lr], run)[0], model(lr), atol=1e-6)
    assert all(isinstance(weight, keras.Variable) for weight in gate.weights)


def test_a_fault_of_ours_is_not_taken_for_the_stranger_s(monkeypatch):
    def faulty(*args, **kwargs):
        raise ZeroDivisionError

    x = keras.Input((None, None, 3))
    model = keras.Model(x, Twice()(x, x))
    monkeypatch.setattr(np, "allclose", faulty)
    with pytest.raises(ZeroDivisionError):
        inline(model)


def test_the_size_can_be_fixed():
    graph = inline(build(carn_m, 4, groups=2), 6, 9)
    assert graph.inputs[0].shape == (None, 6, 9, 3)
    assert graph.outputs[0].shape == (None, 24, 36, 3)


def test_a_part_of_a_graph(lr):
    model = build(carn, 2)
    fuse = model.get_layer("fuse_0")
    part = Graph([fuse.input], [model.get_layer("fuse_relu_0").output])
    assert [node.operation.name for node in part.nodes] == ["fuse_0", "fuse_relu_0"]
    features = np.random.default_rng(0).standard_normal((1, 4, 4, 16))
    expected = np.maximum(fuse(features), 0)
    np.testing.assert_allclose(part.run([features], run)[0], expected, atol=1e-6)
