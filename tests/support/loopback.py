"""A phone's end of `adb`: a daemon on this machine that the real client connects to.

It speaks the protocol of `adbd` over TCP: messages CNXN, AUTH, OPEN, OKAY,
WRTE, CLSE, and in them the services `shell`, with and without `v2`, and `sync`.
"""

import contextlib
import errno
import os
import queue
import socket
import struct
import subprocess
import threading
from pathlib import Path

VERSION = 0x01000001  # without checksums
MOST_BYTES = 2**18  # of a message
SYNC_BYTES = 2**16  # of a piece of a file
FROM_PHONE = {"/data/local/tmp": "tmp", "/sys/devices/system/cpu": "cpu"}


class Phone:
    """A folder as a phone: `tmp` in it for /data/local/tmp, `cpu` for the kernel's
    facts, `bin` with Android's programs. A file `gone` means that it is out of reach.

    Args:
        folder: The folder.
        state: What `adb devices` calls it: "device", "recovery" or "unauthorized".
        features: What it says that it can do.

    Attributes:
        serial: What `adb connect` wants.
        asked: The services that were opened and the files that were sent.
        free_bytes: How much it has space for.
        cable_bytes: After how much of files the cable is pulled.
    """

    def __init__(self, folder: Path, state="device", features=("shell_v2",)):
        self.folder, self.state, self.features = folder, state, features
        self.asked: list[str] = []
        self.free_bytes = self.cable_bytes = 2**40
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.serial = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self._connected: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        """Ends all connections, and accepts none any more."""
        self._listening.close()
        self.lose()

    def lose(self):
        """Ends all connections, as a pulled cable does."""
        for connection in self._connected:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def is_gone(self) -> bool:
        return (self.folder / "gone").exists()

    def here(self, text: str) -> str:
        """Returns a command or path of the phone with the folder's paths."""
        for path, name in FROM_PHONE.items():
            text = text.replace(path, str(self.folder / name))
        return text

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                if self.is_gone:
                    connection.close()
                    continue
                self._connected.append(connection)
                threading.Thread(
                    target=_Connection(self, connection).serve, daemon=True
                ).start()


class _Connection:
    """What one `adb` server says to the phone."""

    def __init__(self, phone, connection):
        self.phone, self.connection = phone, connection
        self.bytes = connection.makefile("rb")
        self.streams: dict[int, _Stream] = {}
        self.sending = threading.Lock()

    def serve(self):
        with self.connection, self.bytes, contextlib.suppress(OSError, EOFError):
            while True:
                command, first, second, size, _, _ = struct.unpack(
                    "<4s5I", _exactly(self.bytes, 24)
                )
                content = _exactly(self.bytes, size)
                getattr(self, f"_{command.decode().lower()}")(first, second, content)
        for stream in self.streams.values():
            stream.end()

    def send(self, command, first, second, content=b""):
        (number,) = struct.unpack("<I", command)
        sizes = (len(content), sum(content), number ^ 0xFFFFFFFF)
        message = struct.pack("<4s5I", command, first, second, *sizes)
        with self.sending:
            self.connection.sendall(message + content)

    def _cnxn(self, version, most, content):
        if self.phone.state == "unauthorized":
            self.send(b"AUTH", 1, 0, bytes(20))
            return
        banner = f"{self.phone.state}::features={','.join(self.phone.features)}"
        self.send(b"CNXN", VERSION, MOST_BYTES, banner.encode())

    def _auth(self, kind, _, content):
        if kind == 2:  # a signature, which a phone that knows no key does not accept
            self.send(b"AUTH", 1, 0, bytes(20))

    def _open(self, theirs, _, content):
        service = content.rstrip(b"\0").decode()
        self.phone.asked.append(service)
        kind, _, argument = service.partition(":")
        name, *options = kind.split(",")
        of_shell = _shell_v2 if "v2" in options else _shell
        serve = {"shell": of_shell, "sync": _sync}.get(name)
        if serve is None or self.phone.is_gone:
            self.send(b"CLSE", 0, theirs)
            return
        stream = self.streams[len(self.streams) + 1] = _Stream(
            self, len(self.streams) + 1, theirs
        )
        self.send(b"OKAY", stream.ours, theirs)

        def run():
            with contextlib.suppress(OSError, EOFError):
                serve(self.phone, stream, argument)
                self.send(b"CLSE", stream.ours, theirs)

        threading.Thread(target=run, daemon=True).start()

    def _wrte(self, theirs, ours, content):
        self.streams[ours].received.put(content)
        self.send(b"OKAY", ours, theirs)

    def _okay(self, theirs, ours, _):
        self.streams[ours].accepted.release()

    def _clse(self, theirs, ours, _):
        if ours in self.streams:
            self.streams[ours].end()


class _Stream:
    """One service that the client has opened."""

    def __init__(self, connection, ours, theirs):
        self.connection, self.ours, self.theirs = connection, ours, theirs
        self.received: queue.Queue[bytes | None] = queue.Queue()
        self.accepted = threading.Semaphore(0)
        self.ended = False
        self.left = b""

    def end(self):
        self.ended = True
        self.received.put(None)
        self.accepted.release()

    def read(self, size):
        while len(self.left) < size:
            content = self.received.get()
            if content is None:
                raise EOFError
            self.left += content
        content, self.left = self.left[:size], self.left[size:]
        return content

    def write(self, content):
        for begin in range(0, len(content), MOST_BYTES):
            if self.ended:
                raise EOFError
            part = content[begin : begin + MOST_BYTES]
            self.connection.send(b"WRTE", self.ours, self.theirs, part)
            self.accepted.acquire()


def _shell(phone, stream, command):
    """Runs a command as an old phone does: one stream, and no exit code."""
    stream.write(_run(phone, command, subprocess.STDOUT)[0])


def _shell_v2(phone, stream, command):
    output, error, code = _run(phone, command, subprocess.PIPE)
    packets = ((1, output), (2, error), (3, bytes([code % 256])))
    stream.write(
        b"".join(struct.pack("<BI", kind, len(x)) + x for kind, x in packets if x)
    )


def _run(phone, command, stderr):
    done = subprocess.run(
        ["sh", "-c", phone.here(command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env={
            **os.environ,
            "FAKE_PHONE": str(phone.folder),
            "PATH": f"{phone.folder / 'bin'}:{os.environ['PATH']}",
        },
        start_new_session=True,  # on a phone it goes on when adb is killed
    )
    if phone.is_gone:
        phone.lose()
        raise EOFError
    return done.stdout, done.stderr, done.returncode


def _sync(phone, stream, _):
    """Sends and receives files."""
    while True:
        kind, size = struct.unpack("<4sI", stream.read(8))
        if kind == b"QUIT":
            return
        path = stream.read(size).decode()
        if kind == b"STAT":
            _stat(stream, phone.here(path))
        elif kind == b"RECV":
            _receive(stream, phone.here(path))
        elif kind == b"SEND":
            target, _, mode = path.rpartition(",")
            phone.asked.append(f"send {target}")
            _send(phone, stream, Path(phone.here(target)), int(mode))


def _stat(stream, path):
    facts = (0, 0, 0)
    with contextlib.suppress(FileNotFoundError):
        found = os.stat(path)
        facts = (found.st_mode, found.st_size, int(found.st_mtime))
    stream.write(struct.pack("<4s3I", b"STAT", *facts))


def _receive(stream, path):
    try:
        with open(path, "rb") as file:
            while content := file.read(SYNC_BYTES):
                stream.write(struct.pack("<4sI", b"DATA", len(content)) + content)
    except FileNotFoundError as error:
        _fail(stream, f"open failed: {error.strerror}")
        return
    stream.write(struct.pack("<4sI", b"DONE", 0))


def _send(phone, stream, target, mode):
    """Writes a file; what comes after an error is read and left."""
    reason = None
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open(target, "wb"))
        except OSError as error:
            reason = f"couldn't create file: {error.strerror}"
        while True:
            kind, size = struct.unpack("<4sI", stream.read(8))
            if kind == b"DONE":
                break
            content = stream.read(size)
            phone.free_bytes -= size
            phone.cable_bytes -= size
            if phone.cable_bytes < 0:
                phone.lose()
            if phone.free_bytes < 0:
                reason = f"write failed: {os.strerror(errno.ENOSPC)}"
            if reason is None:
                file.write(content)
    if reason:
        _fail(stream, reason)
        return
    target.chmod(mode & 0o777)
    stream.write(struct.pack("<4sI", b"OKAY", 0))


def _fail(stream, reason):
    stream.write(struct.pack("<4sI", b"FAIL", len(reason)) + reason.encode())


def _exactly(file, size):
    content = file.read(size)
    if len(content) < size:
        raise EOFError
    return content
