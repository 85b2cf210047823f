import os
import shutil
import socket
import subprocess
import time

import pytest

from loopback import Phone
from tfsr.tflite.devices.delegates import Delegate


@pytest.fixture(scope="session")
def here():
    """Returns a delegate by name; skips where something must be installed for it."""

    def find(name):
        delegate = Delegate(name)
        if missing := delegate.missing():
            pytest.skip(f"{name}: {missing}")
        return delegate

    return find


@pytest.fixture(scope="session")
def adb_server(tmp_path_factory):
    """The variables that lead to a server of Android's `adb`, apart from the user's."""
    program = shutil.which("adb")
    if program is None:
        pytest.skip("there is no adb on the PATH (Debian and Ubuntu: apt install adb)")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    variables = {
        "ANDROID_ADB_SERVER_PORT": str(port),
        "ADB_MDNS": "0",
        "HOME": str(tmp_path_factory.mktemp("home")),  # it makes a key there
    }
    environment = {**os.environ, **variables}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(
        [program, "server", "nodaemon"],
        env=environment,
        start_new_session=True,
        **quiet,
    ) as server:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert server.poll() is None
                time.sleep(0.02)
        listed = subprocess.run(
            [program, "devices"], env=environment, capture_output=True, text=True
        )
        if len(listed.stdout.split()) > 4:
            server.terminate()
            pytest.skip("a phone is connected by USB")
        yield variables
        server.terminate()


@pytest.fixture
def real_adb(adb_server, monkeypatch):
    """Android's `adb`, with a server of its own that no phone is connected to."""
    for name, value in adb_server.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    return shutil.which("adb")


@pytest.fixture
def connect(real_adb):
    """Connects a folder to the real `adb`, as the phone of `loopback.py`."""
    phones = []

    def add(folder, **more):
        for name in ("tmp", "bin", "cpu"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        phones.append(Phone(folder, **more))
        subprocess.run([real_adb, "connect", phones[-1].serial], capture_output=True)
        return phones[-1]

    yield add
    for phone in phones:
        phone.close()
        subprocess.run([real_adb, "disconnect", phone.serial], capture_output=True)
