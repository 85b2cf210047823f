import base64
import contextlib
import hashlib
import http.client
import signal
import socket
import struct
import subprocess
import sys
import urllib.request

import pytest

from tfsr.errors import InputError
from tfsr.report.server import EVERYONE, LOCAL, Handler, addresses, make_server


@pytest.fixture
def folder(tmp_path):
    for name in ("index.html", "worker.js", "core.wasm", "model.tflite"):
        (tmp_path / name).write_bytes(b"content")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "type"),
    [
        ("", "text/html"),
        ("worker.js", "text/javascript"),
        ("core.wasm", "application/wasm"),
        ("model.tflite", "application/octet-stream"),
    ],
)
def test_files_come_with_what_webassembly_wants(folder, serve, name, type):
    with urllib.request.urlopen(serve(folder) + name) as response:
        assert response.read() == b"content"
        assert response.headers["Content-Type"] == type
        assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert response.headers["Cross-Origin-Embedder-Policy"] == "require-corp"


def test_the_network_is_served_only_when_asked(folder):
    with make_server(folder, port=0) as listening:
        assert listening.server_address[0] == LOCAL
        assert addresses(LOCAL, 8000) == ["http://127.0.0.1:8000/"]
    with make_server(folder, EVERYONE, port=0) as listening:
        assert listening.server_address[0] == "0.0.0.0"
    assert addresses(EVERYONE, 8000)[0] == "http://127.0.0.1:8000/"


def test_a_port_that_is_taken(folder):
    with make_server(folder, port=0) as listening:
        port = listening.server_port
        with pytest.raises(InputError, match=rf"port {port}: cannot be used here"):
            make_server(folder, port=port)


def test_the_command_serves_until_it_is_interrupted(folder):
    program = (  # shells let what they run in the background ignore the interrupt
        "import signal, sys; from tfsr.cli import main\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.exit(main())"
    )
    command = [sys.executable, "-c", program, "report", "--serve", str(folder)]
    with subprocess.Popen(
        [*command, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as serving:
        address = serving.stdout.readline().strip()
        with urllib.request.urlopen(address) as response:
            assert response.read() == b"content"
        serving.send_signal(signal.SIGINT)
        out, err = serving.communicate(timeout=60)
    assert (serving.returncode, out) == (0, "")
    assert err == "tfsr: serving until Ctrl-C.\n"


def ask(address, path="/", host=None):
    """Returns status and content of what is at a path as it is written."""
    port = int(address.rstrip("/").rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("GET", path, skip_host=True)
    connection.putheader("Host", host or f"127.0.0.1:{port}")
    connection.endheaders()
    with contextlib.closing(connection):
        response = connection.getresponse()
        return response.status, response.read(), response.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8000", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:8000", 200),
        ("192.168.1.7:8000", 200),
        ("[::1]:8000", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example:8000", 421),
        ("localhost.evil.example", 421),
        (" ", 421),
    ],
)
def test_other_hosts_are_refused(folder, serve, host, status):
    assert ask(serve(folder), host=host)[0] == status


def test_nothing_but_the_report_is_served(folder, serve, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "secret.txt"
    outside.write_text("secret")
    (folder / "link.txt").symlink_to(outside)
    (folder / "linked").symlink_to(outside.parent)
    (folder / "ring").symlink_to(folder / "ring")
    (folder / "inside.js").symlink_to(folder / "worker.js")
    (folder / ".env").write_text("secret")
    (folder / "open.txt").symlink_to(folder / ".env")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    (folder / "pictures").mkdir()
    (folder / "pictures" / "a b.png").write_bytes(b"content")
    address = serve(folder)
    for path in (
        *("/link.txt", "/linked/secret.txt", "/linked/", "/ring", "/open.txt"),
        *("/.env", "/.git/config", "/%2egit/config", "/pictures/", "/pictures"),
        *("/../outside0/secret.txt", "/%2e%2e/secret.txt", "/missing", "/%00", "/%ff"),
        *("/" + "a" * 5000, "/index.html/"),
    ):
        status, content, _ = ask(address, path)
        assert (status, b"secret" in content, b"a b.png" in content) == (404, 0, 0)
    for path in ("/", "/index.html?a=b", "/inside.js", "/pictures/a%20b.png"):
        assert ask(address, path)[:2] == (200, b"content")


def test_a_page_runs_its_own_scripts_alone(folder, serve):
    script = b"\nconst a = 1;\n"
    page = b"<p onclick='x()'><script>" + script + b"</script>"
    (folder / "index.html").write_bytes(page)
    address = serve(folder)
    for path, own in (("/", True), ("/worker.js", False), ("/missing", False)):
        headers = ask(address, path)[2]
        assert headers["X-Content-Type-Options"] == "nosniff"
        policy = dict(
            rule.strip().partition(" ")[::2]
            for rule in headers["Content-Security-Policy"].split(";")
        )
        digest = base64.b64encode(hashlib.sha256(script).digest()).decode()
        scripts = policy["script-src"].split()
        assert (f"'sha256-{digest}'" in scripts) == own
        assert {"'self'", "'wasm-unsafe-eval'"} <= set(scripts)
        assert "'unsafe-inline'" not in scripts
        assert policy["default-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"


def test_browsers_that_go_away_print_nothing(folder, serve, monkeypatch, capfd):
    monkeypatch.setattr(Handler, "timeout", 0.2)
    (folder / "large.bin").write_bytes(bytes(2**24))
    address = serve(folder)
    port = int(address.rstrip("/").rpartition(":")[2])
    for request in (b"GET /large.bin HTTP/1.1\r\nHost: localhost\r\n\r\n", b"GET"):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(request)
        linger = struct.pack("ii", 1, 0)  # closing resets the connection
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        connection.close()
    with socket.create_connection(("127.0.0.1", port), timeout=60) as idle:
        assert idle.recv(1) == b""  # closed by the server
    assert ask(address)[0] == 200
    assert capfd.readouterr() == ("", "")
