"""Facts about a phone: model, processor, thermal status, and programs it can run."""

import re
from pathlib import Path
from typing import Any

from tfsr.errors import InputError
from tfsr.tflite.devices.adb import Adb

# Android's name of an architecture, by the `e_machine` field of an ELF file.
MACHINES = {183: "arm64-v8a", 40: "armeabi-v7a", 62: "x86_64", 3: "x86"}
CORES = """for c in /sys/devices/system/cpu/cpu[0-9]*; do
echo core $(basename $c) $(cat $c/cpufreq/cpuinfo_max_freq 2>/dev/null); done"""
PROPERTIES = {
    "manufacturer": ("ro.product.manufacturer",),
    "model": ("ro.product.model",),
    "soc": ("ro.soc.model", "ro.board.platform", "ro.hardware"),
    "android": ("ro.build.version.release",),
    "sdk": ("ro.build.version.sdk",),
    "abis": ("ro.product.cpu.abilist", "ro.product.cpu.abi"),
}


def phone_facts(adb: Adb) -> dict:
    """Returns the facts of a phone that a report has.

    Returns:
        `serial`, `manufacturer`, `model`, `soc`, `android`, `sdk`, `abis`; `max_mhz` of
        each core, None if unknown; `taskset`, whether the phone has that program;
        `thermal_status`.
    """
    names = [name for names in PROPERTIES.values() for name in names]
    command = "; ".join(f"echo prop {name} $(getprop {name})" for name in names)
    _, output = adb.shell(f"{command}; {CORES}; command -v taskset")
    properties, max_mhz = {}, {}
    for line in output.splitlines():
        kind, _, rest = line.partition(" ")
        name, _, value = rest.partition(" ")
        if kind == "prop":
            properties[name] = value.strip()
        elif kind == "core":
            khz = value.strip()
            max_mhz[int(name[3:])] = int(khz) / 1000 if khz.isdigit() else None
    facts: dict[str, Any] = {"serial": adb.serial}
    for key, of_key in PROPERTIES.items():
        found = (properties.get(name) for name in of_key)
        facts[key] = next((value for value in found if value), "unknown")
    facts["abis"] = facts["abis"].split(",")
    facts["max_mhz"] = [max_mhz[i] for i in sorted(max_mhz)]
    facts["taskset"] = output.rstrip().endswith("taskset")
    facts["thermal_status"] = thermal_status(adb)
    return facts


def thermal_status(adb: Adb) -> int | None:
    """Returns Android's thermal status: 0 none, 1 light, 2 moderate to 6 shutdown.

    None before Android 10, which does not report it.
    """
    _, output = adb.shell("dumpsys thermalservice")
    found = re.search(r"Thermal Status: (\d+)", output)
    return None if found is None else int(found[1])


def cpu_mask(max_mhz: list[float | None], threads: int) -> str | None:
    """Returns the `taskset` mask of the big cores, in hexadecimal.

    Big cores are all except the slowest kind. If there are fewer than `threads`, the
    `threads` fastest cores are used. None if all cores are alike or unknown.

    Args:
        max_mhz: The highest frequency of each core, None if unknown.
        threads: Number of CPU threads to run.
    """
    known = {i: mhz for i, mhz in enumerate(max_mhz) if mhz}
    if len(set(known.values())) < 2:
        return None
    fastest = sorted(known, key=lambda i: (-known[i], i))
    big = [i for i in fastest if known[i] > min(known.values())]
    chosen = big if len(big) >= threads else fastest[:threads]
    return f"{sum(1 << i for i in chosen):x}"


def check_program(file: str | Path, abis: list[str]) -> None:
    """Checks that the phone can run a program or load a library.

    Args:
        file: An ELF file or a script.
        abis: The phone's ABIs, such as `arm64-v8a`.

    Raises:
        InputError: If the file is for another processor or operating system.
    """
    content = Path(file).read_bytes()
    if content.startswith(b"#!"):
        return
    if not content.startswith(b"\x7fELF"):
        raise InputError(f"{file}: not a program for Android (no ELF file).")
    machine = int.from_bytes(content[18:20], "little")
    abi = MACHINES.get(machine, f"ELF machine {machine}")
    if abi not in abis:
        raise InputError(
            f"{file}: is for {abi}, the phone runs {', '.join(abis)}; get that one."
        )
    if b"/ld-linux" in content[:4096]:  # the name of Linux' loader is near the start
        raise InputError(f"{file}: is for Linux; get the one for Android.")


def describe(facts: dict) -> str:
    """Returns a phone's facts, from `phone_facts`, in one line."""
    cores = len(facts["max_mhz"])
    return (
        f"{facts['manufacturer']} {facts['model']}, {facts['soc']}, {cores} cores, "
        f"Android {facts['android']}"
    )
