"""Metadata in the `.tflite` files of `tfsr convert`, with a checksum of the file.

The metadata is JSON in a buffer of the model that is named `tfsr`. Its `file_sha256` is
the digest of the file with zeros in place of the digest. It reveals damage, but not who
made a file, because anybody can compute it. `conversion._facts` has what the metadata
says of a model; `infer_metadata` infers that for files of other programs.
"""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from tfsr.errors import InputError, reason_of
from tfsr.tflite.formats import FORMATS
from tfsr.upscaling.tiling import DEFAULT_OVERLAP
from tfsr.zoo import released

BEGIN = b'{"tfsr": '
DIGEST = b'"file_sha256": "'
ZEROS = b"0" * 64
# Allowed types and, for numbers, bounds of the facts we rely on.
KINDS: dict[str, tuple[tuple[type, ...], tuple[int, int] | None]] = {
    "scale": ((int,), (1, 64)),
    "format": ((str,), None),
    "alignment": ((int,), (1, 2**12)),
    "receptive_radius": ((int,), (0, 2**16)),
    "working_bytes": ((int, float), (1, 2**40)),
    "far_seeing": ((list,), None),
    "weights_sha256": ((str,), None),
    "architecture": ((dict,), None),
    "degradation": ((dict, list), None),
    "size": ((list,), None),
    "compiled": ((str,), None),
}
MAY_BE_NULL = ("degradation", "size")  # one that is not known, and an open size
PEAKS = (1, 255)  # values that white may have in files of other programs
_written: set[str] = set()  # digests of files that this process has made


def with_metadata(content: bytes, facts: dict, origin: bytes | None = None) -> bytes:
    """Returns the content of a `.tflite` file with metadata in place of any earlier.

    Args:
        content: Content of a `.tflite` file.
        facts: The metadata; anything that JSON can hold.
        origin: Content of the file that `content` was made from, if any; `content` is
            trusted only if that is.
    """
    from ai_edge_litert import schema_py_generated as schema

    from tfsr.tflite.flatbuffer import add_buffer, pack, unpack

    text = json.dumps({"tfsr": facts, "file_sha256": ZEROS.decode()}).encode()
    model = unpack(content)
    values = np.frombuffer(text, np.uint8)
    entries = model.metadata or []
    own = next((entry for entry in entries if entry.name == b"tfsr"), None)
    if own is None:
        own = schema.MetadataT()
        own.name, own.buffer = b"tfsr", add_buffer(model, values)
        model.metadata = [*entries, own]
    else:
        model.buffers[own.buffer].data = values
    content = with_checksum(pack(model))
    if origin is None or is_trusted(origin):
        _written.add(hashlib.sha256(content).hexdigest())
    return content


def with_checksum(content: bytes) -> bytes:
    """Returns the content of a `.tflite` file with its checksum computed anew.

    Args:
        content: Content of a file with our metadata that another program has changed.
    """
    at = content.index(DIGEST, content.index(BEGIN)) + len(DIGEST)
    blank = content[:at] + ZEROS + content[at + 64 :]
    digest = hashlib.sha256(blank).hexdigest().encode()
    return content[:at] + digest + content[at + 64 :]


def is_trusted(content: bytes) -> bool:
    """Returns whether a file comes with tfsr or was made by this process."""
    digest = hashlib.sha256(content).hexdigest()
    return digest in _written or digest in released.digests().values()


def read(file: str | Path) -> dict | None:
    """Returns the metadata of a `.tflite` file; None if another program made it.

    Raises:
        InputError: If the file is missing, damaged or no TFLite model.
    """
    if not Path(file).is_file():
        raise InputError(f"{file}: no such file.")
    content = Path(file).read_bytes()
    if content[4:8] != b"TFL3":
        raise InputError(f"{file}: not a TFLite model, or damaged.")
    begin = content.find(BEGIN)
    at = content.find(DIGEST, max(begin, 0)) + len(DIGEST)
    if begin < 0 and at < len(DIGEST):
        return None
    if begin < 0 or at < len(DIGEST):
        raise InputError(f"{file}: damaged; half of its metadata is missing.")
    if with_checksum(content) != content:
        raise InputError(f"{file}: damaged; its checksum does not match.")
    try:
        facts = json.loads(content[begin : at + 66])["tfsr"]
        _check(facts)
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        raise InputError(
            f"{file}: its metadata is damaged ({reason_of(error)})."
        ) from None
    return facts


def _check(facts):
    """Raises a `ValueError` or the like if a fact we rely on is missing or invalid."""
    for key in ("scale", "format"):
        if key not in facts:
            raise ValueError(f"no {key}")
    for key, (kind, bounds) in KINDS.items():
        value = facts.get(key)
        if value is None and (key not in facts or key in MAY_BE_NULL):
            continue
        low, high = bounds or (None, None)
        if type(value) not in kind or (bounds and not low <= value <= high):
            wanted = " or ".join(k.__name__ for k in kind)
            within = f" of {low} to {high}" if bounds else ""
            raise ValueError(f"{key} must be {wanted}{within}, not {value!r}")


def infer_metadata(
    inputs: list[dict], outputs: list[dict], tensors: list[dict], is_dynamic: bool
) -> dict:
    """Returns metadata for a file that has none, inferred from its shapes and types.

    It has the keys that `read` returns, and `peaks`, the values of white in the input
    and in the output: 1 for floats, unless a run shows otherwise. If the graph does not
    map an image to an image, it has `format`, `size` and `reason`, which says why.

    Args:
        inputs: LiteRT's details of the inputs, for the size that the graph is run at.
        outputs: LiteRT's details of the outputs.
        tensors: LiteRT's details of all tensors.
        is_dynamic: Whether the file takes images of any size.
    """
    size = None if is_dynamic else [int(n) for n in inputs[0]["shape"][1:3]]
    facts = {"format": _format(inputs[0], tensors), "size": size}
    try:
        (lr,), (sr,) = inputs, outputs
    except ValueError:
        ends = f"{len(inputs)} inputs and {len(outputs)} outputs"
        return {**facts, "reason": f"has {ends}, not one of each"}
    shapes = f"takes {_by(lr['shape'])} and gives {_by(sr['shape'])}"
    if len(lr["shape"]) != 4 or len(sr["shape"]) != 4:
        return {**facts, "reason": f"{shapes}, which are not both images"}
    batch, height, width, channels = (int(n) for n in lr["shape"])
    scale = max(1, int(sr["shape"][1]) // height)
    wanted = [1, height * scale, width * scale, channels]
    if batch != 1 or channels not in (1, 3) or list(sr["shape"]) != wanted:
        return {
            **facts,
            "reason": f"{shapes}, not 1xHxWxC with 1 or 3 channels, each side times "
            "the same whole number",
        }
    peaks = [_peak(lr), _peak(sr)]
    if None in peaks:
        return {
            **facts,
            "reason": "its pixels are neither floats nor integers from 0 to about 1 or "
            "255 by their quantization",
        }
    widest = max(math.prod(map(int, t["shape"])) for t in tensors)
    return {
        **facts,
        "scale": scale,
        "peaks": peaks,
        "alignment": 1,
        "receptive_radius": DEFAULT_OVERLAP,
        "far_seeing": ["its operators"],
        "working_bytes": 16 * max(1, widest // (height * width)),
        "one_size": True,
    }


def _format(lr, tensors):
    """Returns the format of ours that a graph's types are nearest to."""
    stored = {np.dtype(tensor["dtype"]).name for tensor in tensors}
    is_integer = np.issubdtype(lr["dtype"], np.integer)
    first, *others = (
        f for f in FORMATS.values() if is_integer == (f.io_dtype == "uint8")
    )
    return next((f for f in reversed(others) if f.stores in stored), first).name


def quantization_of(details: dict) -> tuple[float, int]:
    """Returns scale and zero point of a tensor of integers; 1 and 0 if it has none."""
    quant_scale, zero_point = details["quantization"]
    return (quant_scale, zero_point) if quant_scale else (1.0, 0)


def _peak(details: dict) -> Any:
    """Returns the value of white in a tensor, 1 or 255; None if neither."""
    if details["dtype"] == np.float32:
        return 1
    if not np.issubdtype(details["dtype"], np.integer):
        return None
    quant_scale, zero_point = quantization_of(details)
    bounds = np.iinfo(details["dtype"])
    low, high = ((n - zero_point) * quant_scale for n in (bounds.min, bounds.max))
    symmetric = details["dtype"] == np.int16  # has no zero point
    for peak in PEAKS:
        if 0.75 < high / peak < 1.5 and (symmetric or -0.5 < low / peak < 0.25):
            return peak
    return None


def _by(shape):
    return "x".join(str(int(n)) for n in shape) or "a number"
