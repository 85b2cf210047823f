"""What running a model takes: how far a pixel sees, and how much memory."""

import math
from dataclasses import dataclass
from fractions import Fraction

import keras

from tfsr.graph.graph import convolution_in, inline
from tfsr.layers import BilinearResize, GroupedConv2D

POINTWISE = (
    "Add",
    "BatchNormalization",
    "ChannelShift",
    "Concatenate",
    "CropToScale",
    "FakeQuantize",
    "Identity",
    "GetItem",
    "LeakyRelu",
    "Luma",
    "Multiply",
    "Pad",
    "PadToMultiple",
    "ReLU",
    "Relu",
    "Split",
    "Subtract",
    "WeightedAverage",
)
WINDOWS = {  # operations of strides, and what they call their windows' sides
    "AveragePooling2D": "pool_size",
    "Conv2D": "kernel_size",
    "DepthwiseConv2D": "kernel_size",
    "MaxPooling2D": "pool_size",
}


@dataclass(frozen=True)
class Reach:
    """Where the LR pixels lie that a pixel of a feature map depends on.

    At most `radius` outside the cell that holds the pixel, of a grid that begins at the
    corner of the image. All lengths are in LR pixels.
    """

    radius: Fraction
    cell: Fraction  # side of the grid's cells, a multiple of `pixel`
    pixel: Fraction  # side of the map's own pixels

    def on(self, cell: Fraction) -> "Reach":
        """Returns the reach by a grid of other cells, also multiples of `pixel`."""
        nested = cell % self.cell == 0
        radius = self.radius if nested else self.radius + self.cell - self.pixel
        return Reach(radius, cell, self.pixel)

    def with_neighbours(self, pixels: int) -> "Reach":
        """Returns the reach of a pixel and so many on each side of it."""
        if pixels == 0:
            return self
        own = self.on(self.pixel)
        return Reach(own.radius + pixels * self.pixel, self.pixel, self.pixel)

    def interpolated(self, factor: Fraction) -> "Reach":
        """Returns the reach of a map enlarged by `factor`, bilinear, half-pixel."""
        own = self.on(self.pixel)
        beyond = Fraction(0)  # how far the pixels it reads lie outside of a new pixel
        for i in range(factor.numerator):  # then it repeats
            position = (i + Fraction(1, 2)) / factor - Fraction(1, 2)
            first, last = math.floor(position), math.ceil(position)
            beyond = max(beyond, i / factor - first, last + 1 - (i + 1) / factor)
        pixel = self.pixel / factor
        return Reach(own.radius + beyond * self.pixel, pixel, pixel)

    def resized(self, factor: Fraction) -> "Reach":
        """Returns the reach of a map enlarged by `factor`, each pixel by itself."""
        pixel = self.pixel / factor
        cell = self.cell if self.cell % pixel == 0 else pixel
        return Reach(self.on(cell).radius, cell, pixel)


def receptive_radius(model: keras.Model) -> int:
    """Returns how many LR pixels around its own an output pixel depends on at most.

    Tiles that overlap by this much on each side give what the whole image gives, if
    they begin at multiples of `alignment`.

    Args:
        model: A model of one input, such as `single_scale` returns.
    """
    graph, reaches = _reaches(model)
    return max(math.floor(reaches[id(x)].on(Fraction(1)).radius) for x in graph.outputs)


def alignment(model: keras.Model) -> int:
    """Returns the number of LR pixels after which all grids inside the model repeat.

    Where each level has half the resolution of the one before, that is the side of the
    coarsest pixels.

    Args:
        model: A model of one input, such as `single_scale` returns.
    """
    _, reaches = _reaches(model)
    return math.lcm(*(r.pixel.numerator for r in reaches.values()))


def _reaches(model):
    """Returns the graph of `model` and the reach of every tensor by its id."""
    graph = inline(model)
    reaches = {
        id(x): Reach(Fraction(0), Fraction(1), Fraction(1)) for x in graph.inputs
    }
    for node in graph.nodes:
        inputs = [reaches[id(x)] for x in node.input_tensors]
        cell = max(r.cell for r in inputs)
        radius = max(r.on(cell).radius for r in inputs)
        joined = Reach(radius, cell, min(r.pixel for r in inputs))
        reach = _reach(node.operation, joined.with_neighbours(_moved(node)))
        reaches.update({id(x): reach for x in node.outputs})
    return graph, reaches


def _moved(node):
    """Returns by how many pixels an operation moves the rows or columns of a map."""
    name = type(node.operation).__name__
    if name == "GetItem":
        _, slices = node.arguments.args
        return max(abs(part.start or 0) for part in slices[1:3])
    if name == "Pad":
        return max(before for before, _ in node.operation.pad_width[1:3])
    if name == "Concatenate" and node.operation.axis in (1, 2):
        sides = [x.shape[node.operation.axis] for x in node.input_tensors]
        return sum(side for side in sides if side is not None)
    return 0


def _reach(operation, reach):
    """Returns the reach of an operation's outputs from that of its inputs."""
    operation = convolution_in(operation)
    name = type(operation).__name__
    if name in POINTWISE:
        return reach
    if isinstance(operation, GroupedConv2D):
        return reach.with_neighbours(operation.kernel_size // 2)
    if name == "BicubicEnlarge":
        return reach.with_neighbours(2).resized(operation.scale)
    if name == "DepthToSpace":
        return reach.resized(operation.block_size)
    if name == "SpaceToDepth":
        return reach.resized(Fraction(1, operation.block_size))
    if name in WINDOWS:
        stride = operation.strides[0]
        overlap = max(0, getattr(operation, WINDOWS[name])[0] - stride)
        return reach.with_neighbours(overlap).resized(Fraction(1, stride))
    if isinstance(operation, BilinearResize):
        return reach.interpolated(operation.fraction)
    if name == "UpSampling2D":
        beside = 1 if operation.interpolation == "bilinear" else 0
        return reach.with_neighbours(beside).resized(operation.size[0])
    raise ValueError(f"The reach of this operation is unknown. Received: {operation}.")


def working_values(model: keras.Model) -> int:
    """Returns how many values per LR pixel a run holds at once, at its peak.

    Args:
        model: A model of one input, such as `single_scale` returns.
    """
    side = 16
    graph = inline(model, side, side)
    last_use = {id(x): len(graph.nodes) for x in graph.outputs}
    for i, node in reversed(list(enumerate(graph.nodes))):
        for x in node.input_tensors:
            last_use.setdefault(id(x), i)
    size = {id(x): math.prod(x.shape[1:]) for x in graph.inputs}
    peak = 0
    for i, node in enumerate(graph.nodes):
        size.update({id(x): math.prod(x.shape[1:]) for x in node.outputs})
        peak = max(peak, sum(size.values()))
        size = {x: n for x, n in size.items() if last_use.get(x, i) > i}
    return peak // side**2


def taps(model: keras.Model) -> int:
    """Returns, per LR pixel, the kernel taps of all convolutions but pointwise ones.

    Args:
        model: A model of one input, such as `single_scale` returns.
    """
    side = 16
    total = 0
    for node in inline(model, side, side).nodes:
        operation = convolution_in(node.operation)
        if isinstance(operation, GroupedConv2D) and operation.kernel_size > 1:
            _, h, w, _ = node.outputs[0].shape
            total += operation.kernel_size**2 * h * w
    return total // side**2
