import shutil
import socket
import subprocess

import pytest


@pytest.fixture
def real_adb(tmp_path, monkeypatch):
    """Google's `adb` with a server of its own, which no phone is connected to."""
    program = shutil.which("adb")
    if program is None:
        pytest.skip("there is no adb on the PATH")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    monkeypatch.setenv("ADB_MDNS", "0")
    monkeypatch.setenv("HOME", str(tmp_path))  # it makes a key there
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    subprocess.run([program, "start-server"], capture_output=True, check=True)
    listed = subprocess.run([program, "devices"], capture_output=True, text=True)
    if len(listed.stdout.split()) > 4:
        pytest.skip("a phone is connected by USB")
    yield program
    subprocess.run([program, "kill-server"], capture_output=True, check=False)
