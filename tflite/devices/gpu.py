"""LiteRT's GPU engine, the one of phones, over Vulkan on this machine.

Where there is no GPU it runs on a Vulkan driver in software: SwiftShader, which
Chromium brings, or Mesa's lavapipe, which has float16. It may throw, hang or abort, so
it runs in a process of its own, which calls the functions that begin with `child_`.
"""

import ctypes
import ctypes.util
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from tfsr import children
from tfsr.files import write_array

CHROMIUM = Path("/usr/lib/chromium")
DRIVER = CHROMIUM / "vk_swiftshader_icd.json"
NAMES_A_DRIVER = ("VK_DRIVER_FILES", "VK_ICD_FILENAMES")
INSTALLED = [
    Path(folder) / "vulkan" / "icd.d"
    for folder in ("/etc", "/usr/share", "/usr/local/share", "/usr/local/etc")
]
LOADER = "libvulkan.so.1"
NO_DRIVER = (
    "there is no Vulkan driver; install the GPU's, or one in software that comes with "
    "Chromium (Debian and Ubuntu: apt install chromium)"
)
NONE_DOES = (
    "no Vulkan driver that is set up here can run it; "
    f"{NAMES_A_DRIVER[0]}={DRIVER} takes Chromium's, in software"
)
SWIFTSHADER = "SwiftShader"
NO_FLOAT16 = f"computed in float32, as {SWIFTSHADER} has no float16; GPUs may use it"
ADAPTER = re.compile(r"Selected adapter: (.+?), arch=.*adapterType=(.+)")
# The block of a log that tells what is left to the CPU, and a line of it.
LEFT_OUT = re.compile(
    r"Following operations are not supported.*?\n(.*?)^(\d+|No) operations will run on",
    re.MULTILINE | re.DOTALL,
)
REFUSED = re.compile(r"^([A-Z][A-Z0-9_]+): (.+?\.)(?: .*)?$", re.MULTILINE)


def missing() -> str | None:
    """Returns what to install before the engine can run; None if it can."""
    metal = sys.platform == "darwin"
    return None if metal or _has_driver() or DRIVER.is_file() else NO_DRIVER


def coverage(file: str | Path, option: str, seconds: float) -> dict:
    """Returns what the engine takes of a file, as `Engine.coverage` does.

    Raises:
        ChildError: If the engine crashes or does not answer.
    """
    whole, log = _call("child_compile", str(file), option, seconds=seconds)
    return {**parse(log, whole), **adapter(log)}


def parse(log: str, whole: bool) -> dict[str, Any]:
    """Returns what the engine's log says of a file: as `coverage`, without `device`.

    Args:
        log: What it printed when it took the file.
        whole: Whether it says that it takes all.
    """
    left_out = LEFT_OUT.search(log)
    refused = REFUSED.findall(left_out[1]) if left_out else []
    # It takes one part, the largest, and prints how many operators that has.
    some = whole or (left_out is not None and left_out[2] not in ("0", "No"))
    return {
        "parts": int(some),
        "whole": whole and left_out is None,
        "refused_operators": sorted({name for name, _ in refused}),
        "reason": f"{refused[0][0]}: {refused[0][1]}" if refused else None,
    }


def run(
    file: str | Path, option: str, lr: Path, sr: Path, seconds: float
) -> dict[str, Any]:
    """Runs a file on every input of the `.npy` file `lr`; writes outputs to `sr`.

    Args:
        file: A `.tflite` file of fixed size.
        option: `float32` to have it compute in that; else the engine chooses.
        lr: An array `(N, 1, H, W, C)` of the file's own type.
        sr: An array of what the file gives for each, to be written.
        seconds: How long it may take.

    Returns:
        `device`, the adapter's name, and `software`, whether it is no GPU; `note`, how
        a GPU may differ.

    Raises:
        ChildError: If the engine fails.
    """
    arguments = (str(file), option, str(lr), str(sr))
    _, log = _call("child_run", *arguments, seconds=seconds)
    ran = adapter(log)
    in_float32 = option != "float32" and SWIFTSHADER in str(ran["device"])
    return {**ran, "note": NO_FLOAT16 if in_float32 else None}


def measure(
    file: str | Path, option: str, runs: int, warmup: int, seconds: float
) -> dict[str, Any]:
    """Returns `load_ms`, `first_ms` and `latencies_ms` of a file on noise.

    Args:
        file: A `.tflite` file of fixed size.
        option: As for `run`.
        runs: Timed runs.
        warmup: Runs before those, beside the first.
        seconds: How long it may take.

    Raises:
        ChildError: If the engine fails.
    """
    arguments = (str(file), option, runs, warmup)
    times, _ = _call("child_measure", *arguments, seconds=seconds)
    return times


def adapter(log: str) -> dict[str, Any]:
    """Returns `device`, the adapter in a log, and `software`, whether it is no GPU."""
    found = ADAPTER.search(log)
    if found is None:
        return {"device": None, "software": None}
    return {"device": found[1], "software": "CPU" in found[2]}


def child_compile(file: str, option: str) -> bool:
    """Returns whether the engine takes a whole file."""
    return _compiled(file, option, fallback=True).is_fully_accelerated()


def child_run(file: str, option: str, lr: str, sr: str) -> None:
    """Runs a file on the inputs of one `.npy` file; writes another."""
    session = _Session(file, option)
    write_array(sr, np.stack([session.run(image) for image in np.load(lr)]))


def child_measure(file: str, option: str, runs: int, warmup: int) -> dict:
    """Returns `load_ms`, `first_ms` and `latencies_ms` on noise."""
    started = time.perf_counter()
    session = _Session(file, option)
    load_ms = (time.perf_counter() - started) * 1e3
    rng = np.random.default_rng(0)
    noise = rng.random(session.input["shape"], np.float32)
    if session.input["dtype"] != "float32":
        noise = np.rint(noise * 255).astype(session.input["dtype"])

    def timed():
        started = time.perf_counter()
        session.run(noise)
        return (time.perf_counter() - started) * 1e3

    first_ms = timed()
    for _ in range(warmup):
        timed()
    latencies = [timed() for _ in range(runs)]
    return {"load_ms": load_ms, "first_ms": first_ms, "latencies_ms": latencies}


class _Session:
    """A file on the engine; several outputs come as one flat array."""

    def __init__(self, file, option):
        self.model = _compiled(file, option, fallback=False)
        (key,) = self.model.get_signature_list()
        names = self.model.get_signature_by_index(0)
        inputs = self.model.get_input_tensor_details(key)
        outputs = self.model.get_output_tensor_details(key)
        (self.input,) = inputs.values()
        self.outputs = [outputs[name] for name in names["outputs"]]
        self.buffers = (
            self.model.create_input_buffers(0),
            self.model.create_output_buffers(0),
        )

    def run(self, lr):
        self.buffers[0][0].write(np.ascontiguousarray(lr).ravel())
        self.model.run_by_index(0, *self.buffers)
        read = [
            buffer.read(int(np.prod(details["shape"])), np.dtype(details["dtype"]).type)
            for buffer, details in zip(self.buffers[1], self.outputs, strict=True)
        ]
        if len(read) == 1:
            return np.reshape(read[0], self.outputs[0]["shape"])
        return np.concatenate([np.ravel(values) for values in read])


def _compiled(file, option, fallback):
    from ai_edge_litert.compiled_model import (
        CompiledModel,
        GpuOptions,
        HardwareAccelerator,
        Options,
    )

    # Debian has no loader beside Chromium's own.
    if ctypes.util.find_library("vulkan") is None and (CHROMIUM / LOADER).is_file():
        ctypes.CDLL(str(CHROMIUM / LOADER))
    accelerators = HardwareAccelerator.GPU
    if fallback:
        accelerators |= HardwareAccelerator.CPU
    options = Options(
        hardware_accelerators=accelerators,
        gpu_options=GpuOptions(enforce_f32=option == "float32"),
    )
    return CompiledModel.from_file(file, options=options)


def _has_driver():
    named = any(os.environ.get(name) for name in NAMES_A_DRIVER)
    return named or any(any(folder.glob("*.json")) for folder in INSTALLED)


def _call(function, *arguments, seconds):
    software = {} if _has_driver() else {NAMES_A_DRIVER[-1]: str(DRIVER)}
    name, function = arguments[0], f"{__name__}:{function}"
    try:
        return children.call(
            name, function, *arguments, seconds=seconds, environment=software
        )
    except children.ChildError as error:
        if "No adapters found" in error.log:
            reason = NONE_DOES if DRIVER.is_file() else NO_DRIVER
            raise children.ChildError(name, reason, error.log) from None
        raise
