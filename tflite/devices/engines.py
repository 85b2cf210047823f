"""The engines that run `.tflite` files here, as a phone would.

An entry of `ENGINES` is all that an engine needs. The command line reads the table too,
and loads no engine for it. So the table names functions, as `module:function` within
`tfsr.tflite.devices`; `load` imports them.
"""

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Engine:
    """How an engine is asked, run and measured: functions, or their names.

    Attributes:
        example: How `--delegate` names it.
        option: What may stand after the colon, as a regular expression.
        coverage: Gets a file, the option and a deadline in seconds. Returns `parts`,
            how many parts of the graph it takes; `whole`, whether that is all of it;
            `refused_operators` with the engine's own `reason`; `device`, if known.
        run: Gets a file, the option, a `.npy` file of inputs, one of outputs to write,
            and a deadline. Returns `device`, and `note`, what its user must know of the
            result, if anything. None if `TFLiteUpscaler` runs it.
        measure: Gets a file, the option, numbers of timed runs and of those before,
            and a deadline. Returns `load_ms`, `first_ms` and `latencies_ms`. None if
            times on this machine say nothing.
        compile: Gets a file, the option, the file to write and a deadline. None if
            files are not compiled before they run.
        missing: Returns what to install before it can run, or None. None if nothing
            must be installed.
        open_size: Whether it takes a file of open size.
        notice: What its user must know, in one line; None for nothing.
    """

    example: str
    option: str
    coverage: str | Callable
    run: str | Callable | None = None
    measure: str | Callable | None = None
    compile: str | Callable | None = None
    missing: str | Callable | None = None
    open_size: bool = True
    notice: str | None = None

    def load(self, field: str) -> Any:
        """Returns the function or text that a field names; None if it has none."""
        value = getattr(self, field)
        if not isinstance(value, str):
            return value
        return pkgutil.resolve_name(f"tfsr.tflite.devices.{value}")


ENGINES = {
    "cpu": Engine("cpu", "", "cpu:coverage"),
    "gpu": Engine(
        "gpu or gpu:float32",
        "(float32)?",
        "gpu:coverage",
        "gpu:run",
        "gpu:measure",
        missing="gpu:missing",
        # It says that it takes such a file, but at 1x1 alone.
        open_size=False,
    ),
    "qualcomm": Engine(
        "qualcomm:SM8650",
        r"[A-Z]+\d+[A-Z0-9]*",
        "hexagon:coverage",
        "hexagon:run",
        compile="hexagon:compile",
        missing="hexagon:missing",
        notice="hexagon:LICENCE",
    ),
}


def examples(field: str = "coverage") -> str:
    """Returns how the engines are named that have `field`, in one line."""
    return ", ".join(e.example for e in ENGINES.values() if getattr(e, field))
