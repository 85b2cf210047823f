"""The delegates of a phone: an entry of `DELEGATES` is all that one needs."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from tfsr.errors import InputError
from tfsr.tflite.devices.adb import Adb
from tfsr.tflite.devices.phone import check_program


@dataclass(frozen=True)
class ToolDelegate:
    """A delegate that the tool has.

    Attributes:
        flag: The tool's flag that chooses it; None for the CPU.
        arguments: All that the tool gets; `{}` is a path on the phone.
        path: What `--delegates` names after a colon; None for nothing.
        name: What a report calls it; None for the name of the file.
    """

    flag: str | None
    arguments: tuple[str, ...]
    path: str | None = None
    name: str | None = None


DELEGATES = {
    "cpu": ToolDelegate(None, ("--use_xnnpack=true",), name="xnnpack"),
    "gpu": ToolDelegate("--use_gpu", ("--use_gpu=true",), name="gpu"),
    "gpu:float32": ToolDelegate(
        "--use_gpu",
        # TensorFlow Lite's tool has the second, LiteRT's the third.
        ("--use_gpu=true", "--gpu_precision_loss_allowed=false", "--allow_fp16=false"),
        name="gpu:float32",
    ),
    "npu": ToolDelegate(
        "--use_npu",
        (
            "--use_npu=true",
            "--dispatch_library_path={}",
            "--compiler_plugin_library_path={}",
        ),
        path="FOLDER",
        name="npu",
    ),
    "external": ToolDelegate(
        "--external_delegate_path", ("--external_delegate_path={}",), path="LIBRARY"
    ),
}
DISPATCH = "libLiteRtDispatch*.so"  # through which LiteRT reaches an NPU


def examples() -> str:
    """Returns what `--delegates` may name, in one line."""
    named = (f"{n}:{d.path}" if d.path else n for n, d in DELEGATES.items())
    return ", ".join(named)


class PhoneDelegate:
    """A delegate of the phone by its name, with the libraries that it needs.

    Args:
        text: One of `DELEGATES`; `npu:FOLDER` has the libraries of LiteRT and the NPU's
            maker, `external:LIBRARY` an external delegate, here or on the phone.

    Attributes:
        path: The folder or library, here or on the phone; None without one.
        flag: The tool's flag that chooses it; None for the CPU.
        name: What a report calls it.

    Raises:
        InputError: If `text` is none of these.
    """

    def __init__(self, text: str):
        name, _, path = (text, "", "") if text in DELEGATES else text.partition(":")
        tool = DELEGATES.get(name)
        if tool is None or (tool.path is not None) != bool(path):
            raise InputError(f"{text!r}: no delegate; choose from {examples()}.")
        self._tool, self.path, self.flag = tool, path or None, tool.flag
        self.name = tool.name or Path(path).name

    def arguments(self, path: str | None = None) -> list[str]:
        """Returns the tool's arguments for this delegate, at `path` on the phone."""
        return [argument.format(path) for argument in self._tool.arguments]

    def send(self, adb: Adb, folder: str, abis: list[str]) -> str | None:
        """Copies its libraries to a folder of the phone, if they are here.

        Returns:
            Their path on the phone; None without any.

        Raises:
            InputError: If they are nowhere, or for another processor.
        """
        if self.path is None:
            return None
        here = Path(self.path)
        if here.is_file():
            check_program(here, abis)
            adb.push(here, f"{folder}/{here.name}")
            return f"{folder}/{here.name}"
        if here.is_dir():
            dispatch = [*here.glob(DISPATCH)]
            if not dispatch:
                raise InputError(f"{here}: has no {DISPATCH}; see tflite/README.md.")
            check_program(dispatch[0], abis)
            for library in sorted(here.glob("*.so")):  # some of them the NPU's own
                adb.push(library, f"{folder}/{library.name}")
            return folder
        if adb.shell(f"test -e {shlex.quote(self.path)}")[0]:
            raise InputError(f"{here}: neither here nor on the phone.")
        return self.path
