"""Serves a report over HTTP, without which browsers run no model in it."""

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
PATIENCE_S = 30  # timeout of a silent browser, which occupies a thread
# A page may load only files beside it and the photos that its reader opens. LiteRT.js
# compiles WebAssembly; version 2.5.3 needs no other permission, even with threads.
POLICY = (
    "default-src 'self'; script-src 'self' 'wasm-unsafe-eval' {}; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
INLINE = re.compile(rb"<script>(.*?)</script>", re.DOTALL)


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the files of a report, with the headers that WebAssembly needs.

    Requests with a foreign `Host` are refused, against DNS rebinding. Links out of the
    folder, hidden files and folder listings are not served.
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
        """Returns whether the requested host is an IP address or this machine."""
        name = re.sub(r":\d*$", "", self.headers.get("Host", ""))
        if name.lower() == "localhost":
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    def _file(self):
        """Returns the requested file; None if it is not to be served."""
        root = Path(self.directory).resolve()
        try:
            file = Path(self.translate_path(self.path)).resolve()
            file = file / "index.html" if file.is_dir() else file
            inside = file.resolve().relative_to(root)
        # A null byte, a loop of links, or a file outside of the folder.
        except (OSError, ValueError, RuntimeError):
            return None
        asked = Path(self.translate_path(self.path)).relative_to(self.directory)
        hidden = any(part.startswith(".") for part in (*inside.parts, *asked.parts))
        return file if file.is_file() and not hidden else None

    def end_headers(self):
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", POLICY.format(self._scripts()))
        # These two let the page use threads, on this machine or over HTTPS.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def _scripts(self):
        """Returns the checksums of a page's inline scripts, which permits them."""
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
    """An HTTP server that does not report browsers that disconnect."""

    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def make_server(folder: str | Path, host: str = LOCAL, port: int = 8000) -> Server:
    """Returns a server of a report, ready for `serve_forever`.

    Args:
        folder: A report that `tfsr report` wrote.
        host: The address to listen on; `EVERYONE` for the whole network.
        port: The port; 0 for any free one.

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
    """Returns the URLs of a server, on this machine and on its network."""
    found = [f"http://{LOCAL}:{port}/"]
    if host == EVERYONE:
        with (
            contextlib.suppress(OSError),
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe,
        ):
            probe.connect(("192.0.2.1", 9))  # sends nothing: it chooses the address
            found.append(f"http://{probe.getsockname()[0]}:{port}/")
    return found
