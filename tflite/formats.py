"""The formats of `.tflite` files: an entry of `FORMATS` is all that one needs.

The runtime and the command line read the table too, without TensorFlow or Keras. So the
table names functions, as `module:function` within `tfsr.tflite`; `load` imports
them.
"""

import pkgutil
from dataclasses import dataclass
from typing import Any

from tfsr.errors import InputError


@dataclass(frozen=True)
class Format:
    """How a network is lowered, rounded, saved and run.

    Attributes:
        name: What `--format` and a file's metadata call it.
        save: Returns the bytes of a graph; gets its ranges too where there are `bits`.
        rules: Rewrite the network before it is saved.
        bits: Bits of integer activations; None where activations are float32.
        ranges: Chooses the range of an activation from the values it takes; needed
            where there are `bits`.
        smallest_kernel: Kernels with at least this many weights become int8; None: no
            kernel does.
        stock: Returns the bytes of a graph and LR patches that TensorFlow's converter
            calibrates on; serves networks that are not lowered.
        io_dtype: Type of the pixels in and out, float32 or uint8.
        stores: Type of tensors that marks a file of it; where several formats fit, the
            last in the table counts.
        itemsize: Bytes that a run takes for an activation.
        in_float: Whether single activations can stay in float32.
        trained: Whether quantization-aware training is for this format.
        upscaler: Class that runs a quantization-aware network exactly as its file
            would; None where running the network itself does that.
    """

    name: str
    save: str
    rules: str = "lowering.rules:FLOAT_RULES"
    bits: int | None = None
    ranges: str | None = None
    smallest_kernel: int | None = None
    stock: str | None = None
    io_dtype: str = "float32"
    stores: str = "float32"
    itemsize: int = 4
    in_float: bool = False
    trained: bool = False
    upscaler: str | None = None

    @property
    def is_float(self) -> bool:
        """Whether nothing in it is an integer."""
        return self.bits is None and self.smallest_kernel is None

    @property
    def depth(self) -> int:
        """Bit depth of the pixels in and out."""
        return {"uint8": 8, "float32": 24}[self.io_dtype]

    def load(self, field: str) -> Any:
        """Returns the function or the rules that a field names."""
        return pkgutil.resolve_name(f"tfsr.tflite.{getattr(self, field)}")


_TABLE = (
    Format("float32", save="export:float32"),
    Format("float16", save="export:float16", stores="float16"),
    Format(
        "dynamic_int8",
        save="export:dynamic_int8",
        smallest_kernel=1024,  # TensorFlow's converter (2.21) leaves others in float
        stores="int8",
    ),
    Format(
        "int8",
        save="export:int8",
        rules="lowering.rules:INT8_RULES",
        bits=8,
        ranges="quantization.observers:least_squares",
        smallest_kernel=0,
        stock="export:stock_int8",
        io_dtype="uint8",
        stores="int8",
        itemsize=1,
        in_float=True,
        trained=True,
        upscaler="quantization.integers:IntegerUpscaler",
    ),
    Format(
        "int16x8",
        save="export:int16x8",
        rules="lowering.rules:INT16_RULES",
        bits=16,
        ranges="quantization.observers:min_max",  # 16 bits have room for it
        smallest_kernel=0,
        stores="int16",
        trained=True,
    ),
)
FORMATS = {format.name: format for format in _TABLE}


def format_of(metadata: dict, file: Any) -> Format:
    """Returns the format of a `.tflite` file with this metadata.

    Raises:
        InputError: If this version of tfsr has no such format.
    """
    name = metadata["format"]
    if name not in FORMATS:
        raise InputError(
            f"{file}: has the format {name}; this tfsr knows {', '.join(FORMATS)}."
        )
    return FORMATS[name]


def qat_format_for_bits(bits: int) -> Format:
    """Returns the format that networks with activations of `bits` bits train for."""
    return next(f for f in FORMATS.values() if f.trained and f.bits == bits)
