import pytest

from tfsr.errors import InputError
from tfsr.tflite.devices.phone import check_program, cpu_mask

MHZ = [1800] * 4 + [2400] * 3 + [3000]


def elf(machine, content=b""):
    """Returns the head of a 64-bit little-endian ELF file."""
    return b"\x7fELF\x02\x01\x01" + bytes(11) + machine.to_bytes(2, "little") + content


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (elf(62), "is for x86_64, the phone runs arm64-v8a, armeabi-v7a"),
        (elf(8), "is for ELF machine 8"),
        (elf(183, b"\0/lib/ld-linux-aarch64.so.1\0"), "is for Linux; get the one"),
        (b"<html>", "not a program for Android .no ELF file"),
    ],
)
def test_programs_for_others_are_refused(tmp_path, content, expected):
    file = tmp_path / "tool"
    file.write_bytes(content)
    with pytest.raises(InputError, match=rf"/tool: {expected}"):
        check_program(file, ["arm64-v8a", "armeabi-v7a"])


def test_programs_of_either_width_are_accepted(tmp_path):
    file = tmp_path / "tool"
    for machine in (183, 40):
        file.write_bytes(elf(machine, b"\0/system/bin/linker64\0"))
        check_program(file, ["arm64-v8a", "armeabi-v7a"])
    with pytest.raises(InputError, match="is for armeabi-v7a, the phone runs arm64"):
        check_program(file, ["arm64-v8a"])


@pytest.mark.parametrize(
    ("max_mhz", "threads", "mask"),
    [
        (MHZ, 1, "f0"),
        (MHZ, 4, "f0"),
        (MHZ, 5, "f1"),  # four big cores, so one small one more
        ([3000, 2400, 1800], 1, "3"),  # the big ones need not be last
        ([2000] * 6 + [2400] * 2, 4, "c3"),  # two big cores for four threads
        ([2000] * 4, 2, None),
        ([None] * 4, 2, None),
        ([None, 1800, None, 2400], 1, "8"),
        ([], 1, None),
    ],
)
def test_masks_have_the_big_cores(max_mhz, threads, mask):
    assert cpu_mask(max_mhz, threads) == mask
