"""Damage to files, seeded, for tests that readers refuse it in one line.

FUZZ=50 pytest tests/photos/test_refusals.py -k damaged  runs 50 times as many cases as
the test does by itself; `hostile_files.py` has every other kind of file.
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterable

import numpy as np

ODD = (None, True, -1, 0, 2**31, 1e38, "", "../../x", "\udcff", [], {}, [[]])
EXTREMES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


def mutate(data: bytes, rng: np.random.Generator) -> bytes:
    """Returns `data` damaged in one to three ways that `rng` chooses."""
    ways = [flip, truncate, zero, cut, duplicate, splice, set_field, set_field]
    if data.startswith(b"\x89PNG"):
        ways += [edit_chunk] * 4
    for _ in range(rng.integers(1, 4)):
        data = ways[rng.integers(len(ways))](data, rng) or b"\0"
    return data


def survey(
    use: Callable[[bytes], None],
    corpus: Iterable[bytes],
    cases: int,
    seed: int,
    allowed: type[Exception],
    mutate: Callable[[bytes, np.random.Generator], bytes] = mutate,
) -> dict[str, int]:
    """Calls `use` on `cases` mutations of each file of `corpus`, times `FUZZ`.

    Returns:
        How many were accepted and how many refused by an exception of `allowed` whose
        message is one line. Every other exception passes through, with a note of the
        seed that makes the case again.
    """
    counts = {"accepted": 0, "refused": 0}
    for index, data in enumerate(corpus):
        for case in range(cases * int(os.environ.get("FUZZ", "1"))):
            rng = np.random.default_rng((seed, index, case))
            try:
                use(mutate(data, rng))
                counts["accepted"] += 1
            except allowed as error:
                if "\n" in str(error):
                    raise AssertionError(f"more than one line: {error}") from error
                counts["refused"] += 1
            except BaseException as error:
                error.add_note(f"file {index}, default_rng({(seed, index, case)})")
                raise
    return counts


def mutate_value(value: dict | list, rng: np.random.Generator, without=()) -> None:
    """Replaces one value inside `value` by one that has no sense there."""
    places = []

    def visit(inside):
        keys = inside if isinstance(inside, dict) else range(len(inside))
        for key in keys:
            places.append((inside, key))
            if isinstance(inside[key], dict | list):
                visit(inside[key])

    visit(value)
    inside, key = places[rng.integers(len(places))]
    odd = [other for other in ODD if other not in without]
    inside[key] = odd[rng.integers(len(odd))]


def mutate_graph(content: bytes, rng: np.random.Generator) -> bytes:
    """Returns a `.tflite` file with one to three numbers or lists of its graph changed.

    The file is whole as a FlatBuffer; its metadata, if it has any, has a checksum.
    """
    from tfsr.tflite import metadata
    from tfsr.tflite.flatbuffer import pack, unpack

    while True:
        model = unpack(content)
        parts = list(_parts(model))
        for _ in range(rng.integers(1, 4)):
            part = parts[rng.integers(len(parts))]
            field = sorted(vars(part))[rng.integers(len(vars(part)))]
            value = vars(part)[field]
            if isinstance(value, int | float):
                setattr(part, field, _number(value, rng))
            elif isinstance(value, list | np.ndarray) and len(value):
                setattr(part, field, _list(value, rng))
        try:
            changed = pack(model)
        except Exception:  # beyond what the field can hold
            continue
        sealed = metadata.BEGIN in changed and metadata.DIGEST in changed
        return metadata.with_checksum(changed) if sealed else changed


def _parts(model):
    """Yields what a model is made of, each with its fields."""
    (graph,) = model.subgraphs
    yield from (graph, *model.buffers, *model.operatorCodes)
    for tensor in graph.tensors:
        yield tensor
        if tensor.quantization is not None:
            yield tensor.quantization
    for operator in graph.operators:
        yield operator
        if operator.builtinOptions is not None and vars(operator.builtinOptions):
            yield operator.builtinOptions


def _number(value, rng):
    if isinstance(value, bool):
        return not value
    if isinstance(value, float):
        return float(rng.choice([0, -1, 1e-38, 1e38, np.inf, np.nan]))
    return int(
        rng.choice([-1, 0, 1, 2, 3, 127, value + 1, value - 1, 2**16, 2**31 - 1])
    )


def _list(values, rng):
    """Returns a list shorter, longer or with one entry changed."""
    values, at = list(values), rng.integers(len(values))
    if not np.isscalar(values[at]):
        return values[:at] if rng.random() < 0.5 else [*values, values[at]]
    if rng.random() < 0.3:
        return np.array(values[:at])
    if rng.random() < 0.3:
        return np.array([*values, values[at]])
    kind = np.asarray(values).dtype
    changed = np.array(values)
    number = _number(np.asarray(values)[at].item(), rng)
    if kind.kind in "iu":
        number = np.clip(number, np.iinfo(kind).min, np.iinfo(kind).max)
    changed[at] = number
    return changed


def flip(data, rng):
    damaged = bytearray(data)
    for _ in range(rng.integers(1, 9)):
        damaged[rng.integers(len(data))] ^= 1 << rng.integers(8)
    return bytes(damaged)


def truncate(data, rng):
    return data[: rng.integers(len(data))]


def zero(data, rng):
    start, length = _run(data, rng)
    return data[:start] + bytes(length) + data[start + length :]


def cut(data, rng):
    start, length = _run(data, rng)
    return data[:start] + data[start + length :]


def duplicate(data, rng):
    start, length = _run(data, rng)
    return data[: start + length] + data[start:]


def splice(data, rng):
    start, length = _run(data, rng)
    source = rng.integers(len(data))
    piece = data[source : source + length]
    return data[:start] + piece + data[start + len(piece) :]


def set_field(data, rng):
    """Sets an integer, mostly near the start, to an extreme value."""
    end = len(data) if rng.random() < 0.3 else min(len(data), 256)
    start = rng.integers(end)
    layout = ("<H", ">H", "<I", ">I", "B")[rng.integers(5)]
    value = EXTREMES[rng.integers(len(EXTREMES))] & (256 ** struct.calcsize(layout) - 1)
    field = struct.pack(layout, value)
    return data[:start] + field + data[start + len(field) :]


def edit_chunk(data, rng):
    """Damages the content of a PNG chunk and mends its checksum."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        chunks.append((at, data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += length + 12
    if not chunks:
        return data
    at, name, content = chunks[rng.integers(len(chunks))]
    if not content or rng.random() < 0.1:
        damaged = content + bytes(rng.integers(1, 9))
    else:
        damaged = (flip, set_field)[rng.integers(2)](content, rng)
    chunk = struct.pack(">I", len(damaged)) + name + damaged
    chunk += struct.pack(">I", zlib.crc32(name + damaged))
    return data[:at] + chunk + data[at + len(content) + 12 :]


def _run(data, rng):
    return rng.integers(len(data)), int(rng.integers(1, max(2, len(data) // 4)))
