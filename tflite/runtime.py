"""A `.tflite` file as an upscaler, without TensorFlow."""

import math
import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfsr.data.degradation_type import BICUBIC, Degradation
from tfsr.data.degradations import from_table
from tfsr.data.resize import to_integers
from tfsr.errors import InputError
from tfsr.quiet import quiet_stderr
from tfsr.tflite.formats import format_of
from tfsr.tflite.interpreters import interpreter_of
from tfsr.tflite.metadata import PEAKS, infer_metadata, quantization_of, read
from tfsr.upscaling.tiling import FixedTiles, align, pad_to_multiple
from tfsr.upscaling.upscalers import as_floats
from tfsr.zoo.released import named

DYNAMIC_START = (48, 48)  # LR size that a dynamic model is prepared for at first
# A kernel's condition. Without one, the same may be said of a lack of memory.
KERNEL_FAILED = re.compile(
    r"(was not true|supported).*\([A-Z0-9_]+\) failed to invoke", re.DOTALL
)
RAMP, LIKE = (0.2, 0.8), 0.1  # range of a gray ramp, and how far its SR may deviate


class TFLiteFile:
    """A `.tflite` file of any program and purpose, ready to run.

    Args:
        file: The `.tflite` file.
        threads: CPU threads; all by default.
        size: Height and width to begin with, if the model's own are dynamic.

    Attributes:
        metadata: The file's metadata, inferred if another program made the file.
        size: Height and width of the input that it is ready for.
        load_ms: How long LiteRT took to get ready, after it had read the file.

    Raises:
        InputError: If the file is damaged or LiteRT cannot run it.
    """

    def __init__(
        self,
        file: str | Path,
        threads: int | None = None,
        size: tuple[int, int] | None = None,
    ):
        facts = read(file)
        if compiled := (facts or {}).get("compiled"):
            raise InputError(
                f"{file}: is compiled for {compiled}; nothing else can run it."
            )
        self.file, self.name = file, named(str(file))
        self.is_ours = facts is not None
        try:
            self.interpreter = interpreter_of(file, threads or os.cpu_count() or 1)
            started = time.perf_counter()
            self._input, *_ = self.interpreter.get_input_details()
            shape = [int(n) for n in self._input["shape_signature"]]
            is_map = len(shape) == 4
            is_dynamic = is_map and -1 in shape[1:3]
            self.channels = shape[3] if is_map else None
            self._own_size = tuple(shape[1:3]) if is_map and not is_dynamic else None
            if is_dynamic:
                self._resize(size or DYNAMIC_START)
            else:
                self._get_ready(self._own_size)
            self.load_ms = (time.perf_counter() - started) * 1e3
            if not self.is_ours:  # some output sizes are known only after a run
                self.fill(np.random.default_rng(0))
                self.interpreter.invoke()
        except InputError:
            raise
        except (ValueError, RuntimeError) as error:
            at = f" at {size[0]}x{size[1]}" if size else ""
            raise InputError(f"{file}: {_refusal(error, at)}") from None
        self.metadata: dict = facts or infer_metadata(
            self.interpreter.get_input_details(),
            self.interpreter.get_output_details(),
            self.interpreter.get_tensor_details(),
            is_dynamic,
        )

    @property
    def shown_size(self) -> str:
        """Height x width of the input, or what else its shape is."""
        sides = self.size if self.channels else self._input["shape"]
        return "x".join(str(int(n)) for n in sides)

    @property
    def values(self) -> int:
        """How many numbers the inputs have."""
        inputs = self.interpreter.get_input_details()
        return sum(math.prod(map(int, lr["shape"])) for lr in inputs)

    def fill(self, rng: np.random.Generator) -> None:
        """Fills the inputs with noise, for timing."""
        for details in self.interpreter.get_input_details():
            noise = rng.random(tuple(details["shape"]), np.float32)
            self.interpreter.set_tensor(details["index"], _encode(noise, details))

    def _resize(self, size):
        self._ready_for = None
        self.interpreter.resize_tensor_input(
            self._input["index"], (1, *size, self.channels)
        )
        self._get_ready(size)

    def _get_ready(self, size):
        with quiet_stderr():  # LiteRT announces its CPU delegate
            self.interpreter.allocate_tensors()
        self._input, *_ = self.interpreter.get_input_details()
        self._output, *_ = self.interpreter.get_output_details()
        self._ready_for = self.size = size and tuple(size)


class TFLiteUpscaler(TFLiteFile):
    """Runs a TFLite model on the CPU; quantizes and dequantizes where it must.

    A model of fixed size runs at other sizes too: its input is resized. But it runs in
    tiles of its own size (see `FixedTiles`) if it resizes between its levels, pads its
    input, has a fixed size in Keras too, or comes from another program.

    Args:
        file: The `.tflite` file.
        threads: CPU threads; all by default.
        size: Height and width to begin with, if the model's own are dynamic.

    Raises:
        InputError: If the file is damaged or does not map an image to an image.
    """

    def __init__(
        self,
        file: str | Path,
        threads: int | None = None,
        size: tuple[int, int] | None = None,
    ):
        super().__init__(file, threads, size)
        reason = self.metadata.get("reason")
        if self.channels not in (1, 3):
            reason = reason or f"takes images of {self.channels} channels, not 1 or 3"
        if reason:
            raise InputError(f"{file}: {reason}; tfsr inspect and benchmark take it.")
        self.scale = self.metadata["scale"]
        self.depth = format_of(self.metadata, file).depth
        self.alignment = self.metadata.get("alignment", 1)
        self.peaks = self.metadata.get("peaks", (1, 1))
        operators = {op["op_name"] for op in self.interpreter._get_ops_details()}
        pads = any(side % self.alignment for side in self.size)
        resizes = "RESIZE_BILINEAR" in operators or self.metadata.get("one_size")
        self.in_tiles = bool(self._own_size and (pads or resizes))
        floats = all(
            details["dtype"] == np.float32 for details in (self._input, self._output)
        )
        if floats and not self.is_ours:
            self._find_peaks()

    def __call__(self, lr: np.ndarray) -> np.ndarray:
        lr = as_floats(lr)
        if self.tiles:
            return self.tiles.run(self._run, lr)
        height, width = (side * self.scale for side in lr.shape[:2])
        # If the network need not pad its fixed size, the file cannot pad other sizes.
        try:
            return self._run(pad_to_multiple(lr, self.alignment))[:height, :width]
        except (MemoryError, InputError):
            if self._own_size in (None, lr.shape[:2]):
                raise
        self._resize(self._own_size)
        self.in_tiles = True
        return self(lr)

    @property
    def radius(self) -> int:
        return align(self._fact("receptive_radius"), self._fact("alignment"))

    @property
    def far_seeing(self) -> Sequence[str]:
        return self.metadata.get("far_seeing", ())

    @property
    def working_bytes(self) -> int:
        return self._fact("working_bytes")

    @property
    def task(self) -> Degradation | None:
        """The degradation in the metadata; bicubic for an upscaler without one.

        Raises:
            InputError: If this version of tfsr does not know the degradation.
        """
        table = self.metadata.get("degradation")
        if table is None:
            return BICUBIC if self.scale > 1 else None
        try:
            return from_table(table)
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"{self.name}: {error}") from None

    @property
    def tiles(self) -> FixedTiles | None:
        """Cuts images of other sizes into tiles; None if the model takes any size."""
        if not self.in_tiles:
            return None
        radius = self.metadata.get("receptive_radius", 0)
        radius = None if self.far_seeing else radius
        return FixedTiles(self.size, radius, self.alignment, self.scale)

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
            self.interpreter.set_tensor(self._input["index"], self._encoded(lr))
            self.interpreter.invoke()
        except RuntimeError as error:
            self._ready_for = None
            of_kernel = not self.is_ours or KERNEL_FAILED.search(str(error))
            reason = error if of_kernel else self._refused_size(lr.shape[:2])
            if not reason:
                raise MemoryError(str(error)) from None
            at = " at {}x{}".format(*lr.shape[:2])
            raise InputError(f"{self.name}: {_refusal(reason, at)}") from None
        sr = self.interpreter.get_tensor(self._output["index"])
        height, width = (side * self.scale for side in lr.shape[:2])
        if sr.shape != (1, height, width, self.channels):
            raise InputError(
                f"{self.name}: gives {sr.shape} for x{self.scale} of {lr.shape}."
            )
        return self._decoded(sr)

    def _refused_size(self, size):
        """Returns LiteRT's reason against this size, or "" if memory ran out.

        LiteRT's own kernels tell: XNNPACK, which LiteRT runs by default, reports both
        in the same words.
        """
        kernels = interpreter_of(self.file, 1, delegates=False)
        kernels.resize_tensor_input(self._input["index"], (1, *size, self.channels))
        try:
            kernels.allocate_tensors()
        except RuntimeError as error:
            return str(error)
        return ""

    def _find_peaks(self):
        """Sets the white level for which a gray ramp comes out as a gray ramp.

        It is one of `PEAKS`, the first that fits; the type float does not tell it.
        """
        height, width = self._ready_for
        lr = np.empty((height, width, self.channels), np.float32)
        lr[:] = np.linspace(*RAMP, width)[:, None]
        expected = lr.repeat(self.scale, 0).repeat(self.scale, 1)
        for peak in PEAKS:
            self.peaks = (peak, peak)
            if np.abs(self._run(lr) - expected).mean() < LIKE:
                return
        self.peaks = (1, 1)

    def input_array(self, lr: np.ndarray) -> np.ndarray:
        """Returns an image as the model's input tensor holds it, `(1, H, W, C)`."""
        return self._encoded(lr)

    def from_bytes(self, content: bytes) -> np.ndarray:
        """Returns the image in the bytes of the model's output tensor."""
        output = np.frombuffer(content, self._output["dtype"])
        return self._decoded(output.reshape(self._output["shape"]))

    def _encoded(self, lr):
        return _encode(lr[None], self._input, self.peaks[0])

    def _decoded(self, sr):
        return _decode(sr[0], self._output, self.peaks[1])


def partitions(interpreter: Any) -> int:
    """Returns the number of parts of the graph that the CPU delegate took."""
    return sum(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())


def delegated(interpreter: Any) -> set[int]:
    """Returns the indices of the operators that the CPU delegate took.

    They lie between the inputs and outputs of the delegate's own operators.
    """
    operators = interpreter._get_ops_details()
    producer = {i: op for op in operators[::-1] for i in op["outputs"]}
    inside: set[int] = set()
    for part in operators:
        if part["op_name"] != "DELEGATE":
            continue
        border, open_ends = set(part["inputs"]), list(part["outputs"])
        while open_ends:
            operator = producer.get(open_ends.pop())
            if operator is not None and operator["index"] not in inside:
                inside.add(operator["index"])
                open_ends += set(operator["inputs"]) - border
    return inside


def metadata_of(file: str | Path) -> dict:
    """Returns a file's metadata, inferred if another program made the file.

    Raises:
        InputError: If the file is damaged or LiteRT cannot run it.
    """
    return read(file) or TFLiteFile(file).metadata


def inspect(file: str | Path) -> dict:
    """Returns the report of `tfsr inspect`.

    Returns:
        `metadata`; `operators`, how many of each name; `delegated`, how many of them
        the CPU delegate took, in `partitions` parts; `float_operators`, how many read
        or write floating-point numbers. Of a compiled file `metadata` alone.

    Raises:
        InputError: If the file is damaged or LiteRT cannot run it.
    """
    facts = read(file)
    if facts and "compiled" in facts:  # no interpreter here runs it
        return {"metadata": facts}
    opened = TFLiteFile(file)
    interpreter = opened.interpreter
    return {
        "metadata": opened.metadata,
        "operators": dict(Counter(op["op_name"] for op in _operators(interpreter))),
        "delegated": len(delegated(interpreter)),
        "partitions": partitions(interpreter),
        "float_operators": in_float(interpreter).total(),
    }


def in_float(interpreter: Any) -> Counter:
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
    """Returns a note on the operators that a file of 8-bit pixels runs in float32."""
    if upscaler.depth != 8:
        return []
    names = in_float(upscaler.interpreter).keys() - {"QUANTIZE", "DEQUANTIZE"}
    if not names:
        return []
    return [
        f"{upscaler.name}: runs {', '.join(sorted(names))} in float32, because TFLite "
        "or its converter has no 8-bit form of this use."
    ]


def _operators(interpreter):
    every = interpreter._get_ops_details()
    return [op for op in every if op["op_name"] != "DELEGATE"]


def _refusal(error, where=""):
    return f"LiteRT cannot run it{where} ({' '.join(str(error).split())})."


def _encode(values, details, peak=1):
    """Returns floats in [0, 1] as a tensor of the graph whose white is `peak`."""
    if np.issubdtype(details["dtype"], np.floating):
        return (values if peak == 1 else values * peak).astype(
            details["dtype"], copy=False
        )
    quant_scale, zero_point = quantization_of(details)
    return to_integers(
        values * np.float32(peak) / np.float64(quant_scale) + zero_point,
        details["dtype"],
    )


def _decode(values, details, peak=1):
    """Returns a tensor of the graph whose white is `peak` as floats in [0, 1]."""
    if details["dtype"] == np.float32:
        return values if peak == 1 else values / np.float32(peak)
    quant_scale, zero_point = quantization_of(details)
    return (values.astype(np.float32) - zero_point) * np.float32(quant_scale / peak)
