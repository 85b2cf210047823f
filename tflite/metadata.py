"""Metadata in the `.tflite` files of `tfsr convert`, with a checksum of the file.

The metadata is JSON in a buffer of the model that is named `tfsr`. Its `file_sha256` is
the digest of the file with zeros in place of the digest. A damaged TFLite file can
crash the runtime, which checks nothing, so the digest is checked before. What the
metadata says of a model is in `conversion._facts`.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from tfsr.errors import InputError

BEGIN = b'{"tfsr": '
DIGEST = b'"file_sha256": "'
ZEROS = b"0" * 64
# Of the facts that are relied on, the types, and the least value of numbers.
KINDS: dict[str, tuple[tuple[type, ...], int | None]] = {
    "scale": ((int,), 1),
    "format": ((str,), None),
    "alignment": ((int,), 1),
    "receptive_radius": ((int,), 0),
    "working_bytes": ((int, float), 1),
    "far_seeing": ((list,), None),
    "weights_sha256": ((str,), None),
    "architecture": ((dict,), None),
    "degradation": ((dict, list), None),
    "size": ((list,), None),
    "compiled": ((str,), None),
}


def attach(content: bytes, facts: dict) -> bytes:
    """Returns the content of a `.tflite` file with this metadata, and no other of ours.

    Args:
        content: Content of a `.tflite` file.
        facts: The metadata; anything that JSON can hold.
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
    return seal(pack(model))


def seal(content: bytes) -> bytes:
    """Returns a `.tflite` file with metadata of ours and the checksum that it has now.

    Args:
        content: A file that another program has changed; its metadata is in place.
    """
    at = content.index(DIGEST, content.index(BEGIN)) + len(DIGEST)
    blank = content[:at] + ZEROS + content[at + 64 :]
    digest = hashlib.sha256(blank).hexdigest().encode()
    return content[:at] + digest + content[at + 64 :]


def read(file: str | Path) -> dict:
    """Returns the metadata of a `.tflite` file made by `tfsr convert`.

    Raises:
        InputError: If the file is missing, damaged or made by another program.
    """
    if not Path(file).is_file():
        raise InputError(f"{file}: no such file.")
    content = Path(file).read_bytes()
    begin = content.find(BEGIN)
    at = content.find(DIGEST, begin) + len(DIGEST)
    if begin < 0 or at < len(DIGEST) or content[4:8] != b"TFL3":
        raise InputError(
            f"{file}: not a TFLite model made by tfsr convert, or damaged."
        )
    blank = content[:at] + ZEROS + content[at + 64 :]
    digest = hashlib.sha256(blank).hexdigest().encode()
    if content[at : at + 64] != digest:
        raise InputError(f"{file}: damaged; its checksum does not match.")
    try:
        facts = json.loads(content[begin : at + 66])["tfsr"]
        _check(facts)
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: its metadata is damaged ({reason}).") from None
    return facts


def _check(facts):
    """Raises a `ValueError` or the like if a fact that is relied on is of no use."""
    for key in ("scale", "format"):
        if key not in facts:
            raise ValueError(f"no {key}")
    for key, (kind, least) in KINDS.items():
        value = facts.get(key)
        if value is None and key not in ("scale", "format"):
            continue
        if type(value) not in kind or (least is not None and value < least):
            wanted = " or ".join(k.__name__ for k in kind)
            at_least = "" if least is None else f" of {least} or more"
            raise ValueError(f"{key} must be {wanted}{at_least}, not {value!r}")
