"""A report over HTTP, which browsers ask for before they run a model in it."""

import base64
import contextlib
import errno
import functools
import hashlib
import http.server
import ipaddress
import re
import socket
import sys
from pathlib import Path
from typing import ClassVar

from tfsr.errors import InputError

LOCAL, EVERYONE = "127.0.0.1", "0.0.0.0"
PATIENCE_S = 30  # for a browser that says nothing; each holds a thread
# What a page may load: what lies beside it, the photos its reader gives it, no more.
# LiteRT.js compiles WebAssembly; 2.5.3 needs no more, with threads neither.
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' {}; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves a report's files, and nothing else, as WebAssembly wants them.

    A page of another site whose name leads here is refused by its `Host`. Links out of
    the folder, hidden files and lists of folders are not there.
    """

    timeout = PATIENCE_S

    extensions_map: ClassVar = {  # type: ignore[misc]
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".tflite": "application/octet-stream",
    }

    def send_head(self):
        if not self._is_for_us():
            self.send_error(http.HTTPStatus.MISDIRECTED_REQUEST)
            return None
        if self._file() is None:
            self.send_error(http.HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def _is_for_us(self):
        """Returns whether the address asked for is a number or this machine itself."""
        name = re.sub(r":\d*$", "", self.headers.get("Host", ""))
        if name.lower() == "localhost":
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    def _file(self):
        """Returns the file that is asked for; None if there is none to be served."""
        root = Path(self.directory).resolve()
        try:
            file = Path(self.translate_path(self.path)).resolve()
            file = file / "index.html" if file.is_dir() else file
            inside = file.resolve().relative_to(root)
        except (OSError, ValueError, RuntimeError):  # %00, a ring of links, outside
            return None
        asked = Path(self.translate_path(self.path)).relative_to(self.directory)
        hidden = any(part.startswith(".") for part in (*inside.parts, *asked.parts))
        return file if file.is_file() and not hidden else None

    def end_headers(self):
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", POLICY.format(self._scripts()))
        # With these two the page may use threads, on this machine or over HTTPS.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def _scripts(self):
        """Returns the checksums of the scripts in a page, which may run as they are."""
        file = self._file() if hasattr(self, "path") and self._is_for_us() else None
        if file is None or file.suffix != ".html":
            return ""
        digests = (
            hashlib.sha256(s).digest() for s in INLINE.findall(file.read_bytes())
        )
        return " ".join(f"'sha256-{base64.b64encode(d).decode()}'" for d in digests)

    def log_message(self, format, *args):
        pass


class Server(http.server.ThreadingHTTPServer):
    """Says nothing of browsers that go away."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def make_server(folder: str | Path, host: str = LOCAL, port: int = 8000) -> Server:
    """Returns a server of a report, ready for `serve_forever`.

    Args:
        folder: What `tfsr report` wrote.
        host: The address to listen on; `EVERYONE` for the whole network.
        port: 0 for a free one.

    Raises:
        InputError: If there is no report or the port is taken.
    """
    if not (Path(folder) / "index.html").is_file():
        raise InputError(f"{folder}: no report in it; make one with tfsr report.")
    handler = functools.partial(Handler, directory=str(folder))
    try:
        return Server((host, port), handler)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise InputError(
            f"port {port}: cannot be used here ({error.strerror}); give another."
        ) from None


def addresses(host: str, port: int) -> list[str]:
    """Returns where a server can be reached: from here, and from its network."""
    found = [f"http://{LOCAL}:{port}/"]
    if host == EVERYONE:
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
        ):
            probe.connect(("192.0.2.1", 9))  # sends nothing; picks the way out
            found.append(f"http://{probe.getsockname()[0]}:{port}/")
    return found
