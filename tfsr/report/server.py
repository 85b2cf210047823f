"""A report over HTTP, which browsers ask for before they run a model in it."""

import contextlib
import errno
import functools
import http.server
import socket
from pathlib import Path
from typing import ClassVar

from tfsr.errors import InputError

LOCAL, EVERYONE = "127.0.0.1", "0.0.0.0"


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files with the types and headers that WebAssembly wants."""

    extensions_map: ClassVar = {  # type: ignore[misc]
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".tflite": "application/octet-stream",
    }

    def end_headers(self):
        # With these two the page may use threads, on this machine or over HTTPS.
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format, *args):
        pass


def server(
    folder: str | Path, host: str = LOCAL, port: int = 8000
) -> http.server.ThreadingHTTPServer:
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
        return http.server.ThreadingHTTPServer((host, port), handler)
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EACCES):
            raise
        raise InputError(
            f"--port {port}: cannot be used here ({error.strerror}); give another."
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
