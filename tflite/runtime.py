"""A `.tflite` file as an upscaler, without TensorFlow."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from tfsr.data.degradation import BICUBIC, Degradation, from_table
from tfsr.data.resize import to_integers
from tfsr.errors import InputError
from tfsr.quiet import quiet_stderr
from tfsr.tflite.formats import format_of
from tfsr.tflite.metadata import read
from tfsr.upscaling.tiling import FixedTiles, align, pad_to_multiple
from tfsr.upscaling.upscalers import as_floats
from tfsr.zoo.released import named

DYNAMIC_START = (48, 48)  # LR size a dynamic model is ready for at first


class TFLiteUpscaler:
    """Runs a TFLite model on the CPU; quantizes and dequantizes where it must.

    A model of fixed size runs at other sizes too. One that resizes between its levels,
    pads its size to a multiple of its coarsest pixels, or is of one size in Keras too,
    takes the image in tiles of its size (see `FixedTiles`).

    Args:
        file: The `.tflite` file.
        threads: CPU threads; all by default.
        size: Height and width to begin with, if the model's own are dynamic.

    Raises:
        InputError: If the file was not made by `tfsr convert` or is damaged.
    """

    def __init__(
        self,
        file: str | Path,
        threads: int | None = None,
        size: tuple[int, int] | None = None,
    ):
        self.metadata = read(file)
        self.name = named(str(file))
        self.scale = self.metadata["scale"]
        self.depth = format_of(self.metadata, file).depth
        self.alignment = self.metadata.get("alignment", 1)
        try:
            self.interpreter = Interpreter(
                str(file), num_threads=threads or os.cpu_count()
            )
            (self._input,) = self.interpreter.get_input_details()
            height, width, self.channels = map(int, self._input["shape_signature"][1:])
            dynamic = height < 0
            operators = {op["op_name"] for op in self.interpreter._get_ops_details()}
            pads = any(side % self.alignment for side in (height, width))
            resizes = "RESIZE_BILINEAR" in operators or self.metadata.get("one_size")
            self.in_tiles = not dynamic and bool(pads or resizes)
            self._own_size = None if dynamic else (height, width)
            self._resize(self._own_size or size or DYNAMIC_START)
        except (ValueError, RuntimeError) as error:
            at = f" at {size[0]}x{size[1]}" if size else ""
            raise InputError(f"{file}: LiteRT cannot run it{at} ({error}).") from None

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        lr = as_floats(lr)
        if self.tiles:
            return self.tiles.run(self._run, lr)
        height, width = (side * self.scale for side in lr.shape[:2])
        # A fixed size that the network need not pad leaves its padding out of the file.
        try:
            return self._run(pad_to_multiple(lr, self.alignment))[:height, :width]
        except MemoryError:
            if self._own_size in (None, lr.shape[:2]):
                raise
        # Not the memory, perhaps, but an operator that takes the file's size alone.
        self._resize(self._own_size)
        self.in_tiles = True
        return self(lr)

    @property
    def radius(self) -> int:
        return align(self._fact("receptive_radius"), self._fact("alignment"))

    @property
    def radius_is_exact(self) -> bool:
        return self.metadata.get("radius_is_exact", True)

    @property
    def working_bytes(self) -> int:
        return self._fact("working_bytes")

    @property
    def task(self) -> Degradation | None:
        """What the file says; bicubic of an enlarger that says nothing.

        Raises:
            InputError: If it says what this version of tfsr does not know.
        """
        try:
            return from_table(self.metadata["degradation"])
        except KeyError:
            return BICUBIC if self.scale > 1 else None
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{self.name}: {error}") from None

    @property
    def tiles(self) -> FixedTiles | None:
        """How it takes images of other sizes than its own; None if as they are."""
        if not self.in_tiles:
            return None
        radius = self.metadata.get("receptive_radius", 0)
        radius = radius if self.radius_is_exact else None
        return FixedTiles(self.size, radius, self.alignment, self.scale)

    def is_exact(self, height: int, width: int) -> bool:
        """Returns whether an image of this size gets what the whole network gives."""
        return self.tiles is None or self.tiles.is_exact(height, width)

    def _fact(self, key):
        if key not in self.metadata:
            raise InputError(
                f"{self.name}: was made by an older tfsr; convert it again."
            )
        return self.metadata[key]

    def _run(self, lr):
        try:
            if lr.shape[:2] != self._ready_for:
                self._resize(lr.shape[:2])
            self.interpreter.set_tensor(self._input["index"], _encode(lr, self._input))
            self.interpreter.invoke()
        except RuntimeError as error:  # the file is whole, so the memory was not enough
            self._ready_for = None
            raise MemoryError(str(error)) from None
        return _decode(self.interpreter.get_tensor(self._output["index"]), self._output)

    def input_bytes(self, lr: np.ndarray) -> bytes:
        """Returns an image as the model's input tensor holds it."""
        return _encode(lr, self._input).tobytes()

    def from_bytes(self, content: bytes) -> np.ndarray:
        """Returns the image that the bytes of the model's output tensor mean."""
        output = np.frombuffer(content, self._output["dtype"])
        return _decode(output.reshape(self._output["shape"]), self._output)

    def fill(self, rng: np.random.Generator) -> None:
        """Fills the input with noise, for timing."""
        lr = rng.random((*self.size, self.channels), np.float32)
        self.interpreter.set_tensor(self._input["index"], _encode(lr, self._input))

    def _resize(self, size):
        self._ready_for = None
        self.interpreter.resize_tensor_input(
            self._input["index"], (1, *size, self.channels)
        )
        with quiet_stderr():  # LiteRT announces its CPU delegate
            self.interpreter.allocate_tensors()
        (self._input,) = self.interpreter.get_input_details()
        (self._output,) = self.interpreter.get_output_details()
        self._ready_for = self.size = tuple(size)


def partitions(interpreter: Interpreter) -> int:
    """Returns the number of parts of the graph that the CPU delegate took."""
    return sum(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())


def delegated(interpreter: Interpreter) -> int:
    """Returns how many operators the CPU delegate took.

    They are what lies between inputs and outputs of the delegate's own operators.
    """
    operators = interpreter._get_ops_details()
    producer = {i: op for op in operators[::-1] for i in op["outputs"]}
    inside = {}
    for part in operators:
        if part["op_name"] != "DELEGATE":
            continue
        border, open_ends = set(part["inputs"]), list(part["outputs"])
        while open_ends:
            operator = producer.get(open_ends.pop())
            if operator is not None and operator["index"] not in inside:
                inside[operator["index"]] = operator
                open_ends += set(operator["inputs"]) - border
    return len(inside)


def inspect(file: str | Path) -> dict:
    """Returns the report of `tfsr inspect`.

    Returns:
        `metadata`; `operators`, how many of each name; `delegated`, how many of them
        the CPU delegate took, in `partitions` parts; `float_operators`, how many read
        or write floating-point numbers.

    Raises:
        InputError: If the file was not made by `tfsr convert` or is damaged.
    """
    upscaler = TFLiteUpscaler(file)
    interpreter = upscaler.interpreter
    return {
        "metadata": upscaler.metadata,
        "operators": dict(Counter(op["op_name"] for op in _operators(interpreter))),
        "delegated": delegated(interpreter),
        "partitions": partitions(interpreter),
        "float_operators": in_float(interpreter).total(),
    }


def in_float(interpreter: Interpreter) -> Counter:
    """Returns how many operators of each name read or write floating-point numbers."""
    floats = {
        tensor["index"]
        for tensor in interpreter.get_tensor_details()
        if np.issubdtype(tensor["dtype"], np.floating)
    }
    return Counter(
        op["op_name"]
        for op in _operators(interpreter)
        if not floats.isdisjoint([*op["inputs"], *op["outputs"]])
    )


def left_in_float(upscaler: TFLiteUpscaler) -> list[str]:
    """Returns a remark on what computes in float32 in a file of 8-bit pixels."""
    if upscaler.depth != 8:
        return []
    names = in_float(upscaler.interpreter).keys() - {"QUANTIZE", "DEQUANTIZE"}
    if not names:
        return []
    return [
        f"{upscaler.name}: {', '.join(sorted(names))} in float32, where TFLite has no "
        "8 bits, or its converter none here."
    ]


def _operators(interpreter):
    every = interpreter._get_ops_details()
    return [op for op in every if op["op_name"] != "DELEGATE"]


def _encode(lr, details):
    if details["dtype"] == np.float32:
        return lr[None]
    quant_scale, zero_point = details["quantization"]
    return to_integers(
        lr[None] / np.float64(quant_scale) + zero_point, details["dtype"]
    )


def _decode(sr, details):
    if details["dtype"] == np.float32:
        return sr[0]
    quant_scale, zero_point = details["quantization"]
    return (sr[0].astype(np.float32) - zero_point) * np.float32(quant_scale)
