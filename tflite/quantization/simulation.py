"""Simulates a quantized graph in Keras, with weights and activations rounded."""

from collections.abc import Callable

import keras
from keras import ops

from tfsr.graph.graph import Graph
from tfsr.graph.operators import is_convolution
from tfsr.layers import FakeQuantizedConv2D
from tfsr.tflite.quantization.constraints import Ranges


def simulate(
    graph: Graph,
    ranges: Ranges,
    bits: int = 8,
    kernels: Callable[[keras.layers.Layer], bool] = lambda conv: True,
) -> Callable:
    """Returns a `call` for `Graph.run` that runs `graph` as if it were quantized.

    Weights are rounded to 8 bits, symmetric for each output channel. Biases are not
    rounded: their 32 bits are exact enough.

    Args:
        graph: The graph that `ranges` belong to.
        ranges: What `choose_ranges` returned for it.
        bits: 8 for asymmetric activations as in int8, 16 for symmetric ones as in
            int16x8.
        kernels: Tells whether to round a convolution's weights; by default all are.
    """
    round_activation = {8: to_8_bit, 16: to_16_bit}[bits]
    rounded = {
        id(node.operation): FakeQuantizedConv2D(node.operation)
        for node in graph.nodes
        if is_convolution(node.operation) and kernels(node.operation)
    }

    def call(node, *args, **kwargs):
        operation = rounded.get(id(node.operation), node.operation)
        outputs = operation(*args, **kwargs)
        bounds = ranges.get(graph.position[id(node)])
        return outputs if bounds is None else round_activation(outputs, *bounds)

    return call


def to_8_bit(x: keras.KerasTensor, low: float, high: float) -> keras.KerasTensor:
    """Returns x rounded to one of 256 multiples of (high - low) / 255, 0 among them."""
    step = (high - low) / 255
    zero_point = round(-low / step)
    levels = ops.clip(ops.round(x / step), -zero_point, 255 - zero_point)
    return levels * step


def to_16_bit(x: keras.KerasTensor, low: float, high: float) -> keras.KerasTensor:
    """Returns x rounded to multiples of m / 32767, m the larger of -low and high.

    The result is -32768 to 32767 steps, or 0 to 32767 steps if low is 0.
    """
    step = max(-low, high) / 32767
    return ops.clip(ops.round(x / step), -32768 if low else 0, 32767) * step
