"""Damage to files, seeded, for tests that readers refuse it in one line.

FUZZ=50 pytest tests/test_safety.py tests/photos/test_photo.py -k damaged  runs 50
times as many cases as the tests do by themselves.
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterable

import numpy as np

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
