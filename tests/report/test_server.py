import signal
import subprocess
import sys
import urllib.request

import pytest

from tfsr.errors import InputError
from tfsr.report.server import EVERYONE, LOCAL, addresses, make_server


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
        with pytest.raises(InputError, match=rf"--port {port}: cannot be used here"):
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
