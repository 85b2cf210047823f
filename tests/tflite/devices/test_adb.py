import os
import socket
import subprocess

import pytest

from tfsr.tflite.devices.adb import Adb, AdbError, AdbTimeoutError


def test_real_adb_without_a_phone(real_adb):
    with pytest.raises(AdbError, match=r"^adb: no phone; connect one by USB"):
        Adb()
    with pytest.raises(AdbError, match=r"^adb: no phone; connect one by USB"):
        Adb("phone1")


def test_real_adb_starts_its_server(real_adb, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", port)
    with pytest.raises(AdbError, match=r"^adb: no phone"):
        Adb()
    subprocess.run([real_adb, "kill-server"], capture_output=True)


def test_real_adb_of_a_phone_that_went_away(real_adb, tmp_path, monkeypatch):
    monkeypatch.setattr(Adb, "_choose", lambda self, serial: serial)
    adb = Adb("phone1")
    with pytest.raises(AdbError, match=r"^phone1: lost the phone .*not found"):
        adb.shell("true")
    file = tmp_path / "file"
    file.write_bytes(b"content")
    with pytest.raises(AdbError, match=r"^phone1: cannot copy .*file .*not found"):
        adb.push(file, "/data/local/tmp/x/file")


@pytest.fixture(params=[("shell_v2",), ()], ids=["phone", "old phone"])
def phone(request, connect, tmp_path):
    return connect(tmp_path / "phone", features=request.param)


def test_what_the_shell_gets_and_says(phone):
    command = """printf '%s|' "a  b" 'c"d' $((1 + 1)) "\\$x"; echo é >&2; exit 3"""
    assert Adb().shell(command) == (3, 'a  b|c"d|2|$x|é\n')
    assert Adb().shell("yes | head -c 300000") == (0, "y\n" * 150000)


def test_files_there_and_back(phone, tmp_path):
    adb, file, back = Adb(), tmp_path / "it's a (file) é", tmp_path / "back"
    file.write_bytes(os.urandom(3_000_001))
    target = "/data/local/tmp/its copy"
    adb.push(file, target)
    assert adb.pull(target, back)
    assert back.read_bytes() == file.read_bytes()
    assert not adb.pull("/data/local/tmp/none", back)


def test_a_copy_that_fails(phone, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(10**6))
    adb = Adb()
    with pytest.raises(AdbError, match=r"cannot copy .*file .adb: error: failed to"):
        adb.push(file, "/data/local/tmp/no/folder")
    phone.free_bytes = 10**5
    with pytest.raises(AdbError, match=r"no space left on the phone for .* .1\.0 MB."):
        adb.push(file, "/data/local/tmp/x/file")


def test_a_cable_that_is_pulled_while_a_file_is_copied(phone, tmp_path):
    file = tmp_path / "file"
    file.write_bytes(bytes(10**6))
    adb = Adb()
    phone.cable_bytes = 10**5
    with pytest.raises(AdbError, match=rf"^{phone.serial}: cannot copy .*file \("):
        adb.push(file, "/data/local/tmp/file")


def test_a_cable_that_is_pulled_while_a_command_runs(phone):
    adb = Adb()
    with pytest.raises(AdbError, match=r"lost the phone .the connection ended."):
        adb.shell(f"touch {phone.folder}/gone")
    with pytest.raises(AdbError, match=r"lost the phone .error: device .*"):
        adb.shell("true")


def test_states_of_the_real_adb(connect, tmp_path):
    phone = connect(tmp_path / "a", state="recovery")
    with pytest.raises(AdbError, match=r"is in state 'recovery'; start Android on it"):
        Adb()
    locked = connect(tmp_path / "b", state="unauthorized")
    with pytest.raises(AdbError, match=r"unauthorized; accept the prompt about USB"):
        Adb(locked.serial)
    with pytest.raises(AdbError, match=rf"^c: no such phone; adb has .*{phone.serial}"):
        Adb("c")


def test_a_phone_that_is_locked_later(connect, tmp_path, monkeypatch):
    monkeypatch.setattr(Adb, "_choose", lambda self, serial: serial)
    adb = Adb(connect(tmp_path, state="unauthorized").serial)
    with pytest.raises(AdbError, match=r"lost the phone .error: device unauthorized"):
        adb.shell("true")


@pytest.fixture
def script(tmp_path, monkeypatch):
    """Puts a shell script on the PATH as `adb`."""

    def put(content):
        file = tmp_path / "adb"
        file.write_text(f"#!/bin/sh\n{content}\n")
        file.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.delenv("ANDROID_SERIAL", raising=False)

    return put


ONE_PHONE = """
if [ "$1" = devices ]; then
    echo "* daemon not running; starting now at tcp:5037" >&2
    echo "List of devices attached"; echo "a	device"; echo; exit
fi"""


def test_exit_code_and_output_of_a_command(script):
    # An old phone's shell gives neither exit code nor a line's end alone.
    script(f'{ONE_PHONE}\nsh -c "$4" | sed "s/$/\\r/"; exit 0')
    adb = Adb()
    code, output = adb.shell("echo out; echo err >&2; exit 3")
    assert code == 3
    assert output.split() == ["out", "err"]


def test_a_command_that_takes_too_long(script):
    script(f"{ONE_PHONE}\nexec sleep 60")
    with pytest.raises(AdbTimeoutError, match=r"no answer within 0\.1 s"):
        Adb().shell("true", timeout_s=0.1)


def test_a_server_that_cannot_start(script):
    script('echo "adb: failed to check server version" >&2; exit 1')
    with pytest.raises(AdbError, match=r"cannot list phones .adb: failed to check"):
        Adb()


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("offline", r"^a: offline; reconnect the cable"),
        ("authorizing", r"^a: not authorized yet; accept the prompt"),
        ("no permissions (missing udev rules?)", r"^a: no permission to use the USB"),
    ],
)
def test_a_phone_that_cannot_be_used(script, state, message):
    script(LISTED.format(f"a\\t{state}"))
    with pytest.raises(AdbError, match=message):
        Adb()


def test_the_environment_may_choose(script, monkeypatch):
    script(ONE_PHONE)
    monkeypatch.setenv("ANDROID_SERIAL", "a")
    assert Adb().serial == "a"
    monkeypatch.setenv("ANDROID_SERIAL", "b")
    with pytest.raises(AdbError, match=r"^b: no such phone; adb has a"):
        Adb()


LISTED = """
if [ "$1" = devices ]; then
    printf 'List of devices attached\\n%b\\n' '{}'; exit
fi
echo "$2"; echo tfsr-exit:0"""
WIRELESS = "adb-R5CT10-x1Y2z3 (2)._adb-tls-connect._tcp [new]"


def test_a_wireless_phone_has_spaces_and_brackets_in_its_name(script):
    script(LISTED.format(f"{WIRELESS}\\tdevice"))
    adb = Adb()
    assert adb.serial == WIRELESS
    assert adb.shell("true") == (0, f"{WIRELESS}\n")


def test_a_wireless_phone_among_others(script):
    script(LISTED.format(f"{WIRELESS}\\tdevice\\nR5CT10\\toffline"))
    assert Adb(WIRELESS).serial == WIRELESS
    with pytest.raises(AdbError, match=r"^R5CT10: offline; reconnect the cable"):
        Adb("R5CT10")
    with pytest.raises(AdbError, match=r"several phones .adb-R5CT10.*_tcp \[new\], R5"):
        Adb()


@pytest.mark.parametrize("serial", ["", "(no serial number)"])
@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("device", r"^adb: a phone without a serial number; restart the phone\.$"),
        (
            "no permissions (user in plugdev group; are your udev rules wrong?); "
            "see [http://developer.android.com/tools/device.html]",
            r"^\(no serial number\): no permission to use the USB device; see adb's",
        ),
    ],
)
def test_a_phone_without_a_serial_number(script, serial, state, message):
    script(LISTED.format(f"{serial}\\t{state}"))
    with pytest.raises(AdbError, match=message):
        Adb()
