"""Writes files atomically: each is complete or absent."""

import csv
import hashlib
import io
import json
import math
import os
import secrets
import shutil
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tfsr.errors import InputError, reason_of

if TYPE_CHECKING:
    import numpy as np

# Begins the names of temporary files, such as
# .tfsr-tmp-4711-0a1b2c3d-0123456789abcdef.png: process id, checksum of the file's name
# and a random number. They are short, as names have a limit, and cannot be guessed, as
# others may put links in a shared folder.
PREFIX = ".tfsr-tmp-"
MAX_ENDING = 16  # characters; no file format has a longer one

AGAIN = "delete it to have it made again."


@contextmanager
def locked(file: str | Path, wait: bool = True) -> Iterator[None]:
    """Holds a lock on `file` inside the block; creates the file if it is missing.

    The lock ends when the process ends, however it ends.

    Args:
        file: The file; its content is neither read nor written.
        wait: Whether to wait while another process holds the lock.

    Raises:
        BlockingIOError: If another one holds it, without `wait`.
        InputError: If the system has no such locks.
    """
    try:
        import fcntl
    except ImportError:  # Windows has none
        raise InputError(
            "training needs Linux or macOS; on Windows, run it in WSL."
        ) from None
    with open(file, "ab") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield


def fill_once(folder: Path, fill: Callable[[Path], None]) -> None:
    """Creates `folder` with the files that `fill` writes, unless it exists.

    `fill` writes to a temporary folder, which is renamed when it is complete. So two
    processes never fill the same folder, and a killed one leaves no partial folder.

    Args:
        folder: The folder.
        fill: Function that writes the files into an existing folder.
    """
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder.with_name(f"{folder.name}.lock")):
        if folder.is_dir():
            return
        filling = folder.with_name(f"{folder.name}.building")
        shutil.rmtree(filling, ignore_errors=True)  # of a killed process
        filling.mkdir()
        fill(filling)
        filling.rename(folder)


@contextmanager
def replacing(file: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `file`, renamed to it if the block succeeds.

    The temporary name keeps the endings of `file`, such as `.weights.h5`, by which
    writers choose the format.

    Raises:
        OSError: If the file cannot be written; names `file`, not the temporary path.
    """
    file = Path(file)
    endings = file.suffixes[-2:]
    while endings and len("".join(endings)) > MAX_ENDING:
        endings.pop(0)
    start = f"{PREFIX}{os.getpid()}-{_digits(file.name)}"
    temporary = file.with_name(f"{start}-{secrets.token_hex(8)}{''.join(endings)}")
    try:
        yield temporary
        temporary.replace(file)
    except OSError as error:
        # The error of a full disk has no file name; that of a cut image has no errno.
        if error.errno and str(error.filename) in ("None", str(temporary)):
            message = os.strerror(error.errno)
            raise OSError(error.errno, message, str(file)) from error
        raise
    finally:
        with suppress(OSError):
            temporary.unlink()


def remove_stale(folder: str | Path, name: str = "") -> None:
    """Removes the temporary files that killed processes left in `folder`.

    Args:
        folder: The folder.
        name: The file that was written; any file by default.
    """
    for file in Path(folder).glob(f"{PREFIX}*-{_digits(name) if name else '*'}-*"):
        pid = file.name.removeprefix(PREFIX).partition("-")[0]
        if pid.isdecimal() and not _runs(int(pid)):
            file.unlink(missing_ok=True)


def _digits(name):
    return f"{zlib.crc32(os.fsencode(name)):08x}"


def check_target(target: str | Path, new_folders: bool = False) -> None:
    """Raises an `InputError` if `target` cannot be written.

    Args:
        target: The file or folder to write.
        new_folders: Whether missing folders above it will be created, so that only
            the nearest existing one is checked.
    """
    if not new_folders and Path(target).is_dir():
        raise InputError(f"{target}: is a folder; name the file to write.")
    parents = [*Path(target).absolute().parents] or [Path(target)]
    parent = next(p for p in parents if p.exists()) if new_folders else parents[0]
    if not parent.is_dir():
        raise InputError(f"{target}: there is no folder {parent}.")
    if not os.access(parent, os.W_OK):
        raise InputError(f"{target}: cannot write in {parent}.")


def sha256(file: str | Path) -> str:
    """Returns the SHA-256 of a file as 64 hexadecimal digits."""
    with open(file, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_text(file: str | Path, text: str) -> None:
    """Writes `text` in UTF-8; if that fails, leaves `file` as it was.

    Bytes of names that are not UTF-8 are written as `\\udcff` and the like.
    """
    with replacing(file) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_csv(file: str | Path, rows: Sequence[dict]) -> None:
    """Writes a table of `rows`; if that fails, leaves `file` as it was.

    Its columns are the keys of all rows. Where a row lacks one, the cell is empty.
    """
    names = dict.fromkeys(name for row in rows for name in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(file, text.getvalue())


def write_bytes(file: str | Path, content: bytes | memoryview) -> None:
    """Writes `content`; if that fails, leaves `file` as it was."""
    with replacing(file) as temporary:
        temporary.write_bytes(content)


def write_array(file: str | Path, values: "np.ndarray") -> None:
    """Writes a NumPy array as `.npy`; if that fails, leaves `file` as it was."""
    import numpy as np

    content = io.BytesIO()  # `np.save` to a file does not report a full disk
    np.save(content, values)
    write_bytes(file, content.getbuffer())


def write_json(file: str | Path, value: dict) -> None:
    """Writes `value` to `file` as the JSON of `to_json` and a newline."""
    write_text(file, to_json(value) + "\n")


def to_json(value: dict) -> str:
    """Returns `value` as indented JSON, with "inf" and "-inf" for infinite numbers.

    Raises:
        ValueError: If a number is NaN.
    """
    return json.dumps(_finite(value), indent=2, allow_nan=False)


def cached_json(
    file: str | Path, subject: dict, make: Callable[[], dict] | None = None
) -> dict:
    """Returns the JSON in `file` if its subject matches, else makes and stores it.

    Args:
        file: The cache.
        subject: Identifies the content, such as checksums of the inputs; it is stored
            with the content, as `"subject"`.
        make: Function that returns the content; without one, `{}` is returned instead.

    Raises:
        InputError: If the file is damaged.
    """
    file = Path(file)
    if file.exists():
        stored = read_json(file)
        checksum = stored.pop("checksum", None)
        # Files of an older tfsr have no checksum.
        if checksum and stored.get("subject") == subject:
            if checksum != _checksum(stored):
                raise InputError(f"{file}: damaged; {AGAIN}")
            return stored
    if make is None:
        return {}
    made = json.loads(to_json({"subject": subject, **make()}))
    write_json(file, {**made, "checksum": _checksum(made)})
    return made


def read_json(file: str | Path) -> dict:
    """Returns the JSON object in a file that tfsr wrote.

    Raises:
        InputError: If it is damaged.
    """
    try:
        value = json.loads(Path(file).read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: damaged ({reason_of(error)}); {AGAIN}") from None
    if not isinstance(value, dict):
        raise InputError(f"{file}: damaged; must be a JSON object; {AGAIN}")
    return value


def _checksum(value):
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return value


def _runs(pid):
    if os.name == "nt":  # Windows takes signal 0 for Ctrl-C
        return True
    try:
        os.kill(pid, 0)  # signal 0 only checks that the process exists
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):  # another user's process; not a process id
        return True
    return True
