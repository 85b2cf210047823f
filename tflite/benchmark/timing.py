"""Latency and memory of TFLite models on this machine."""

import contextlib
import math
import os
import platform
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tfsr import memory
from tfsr.children import ChildError
from tfsr.errors import InputError
from tfsr.tflite.devices.delegates import Delegate, coverage
from tfsr.tflite.interpreters import child_of
from tfsr.tflite.runtime import TFLiteFile, metadata_of, partitions

BENCHMARK_S = 1800.0  # for a delegate to do all runs of a file


def benchmark(
    files: list[Path],
    threads: list[int],
    runs: int = 30,
    warmup: int = 3,
    size: tuple[int, int] | None = None,
) -> dict:
    """Returns the report of `tfsr benchmark`.

    The models take turns, one run each in a round, so that a drift of the machine
    affects all alike. Only inference is timed, on the CPU delegate (XNNPACK).

    Args:
        files: `.tflite` files.
        threads: Numbers of CPU threads to try with each file.
        runs: Timed runs of each file and number of threads.
        warmup: Runs before the timed ones, not counting the very first.
        size: Height and width of the input of dynamic models.

    Returns:
        `device`, and `results`: for each file and number of threads `file`, `format`,
        `size`, `threads`, `delegate`, `load_ms`, `first_ms`, the keys of `statistics`,
        `peak_memory_mb`, `partitions` and `size_bytes`.

    Raises:
        InputError: If a file is not a TFLite model.
    """
    contenders = [_Contender(file, n, size) for file in files for n in threads]
    for _ in tqdm(range(warmup), desc="warm-up", disable=None):
        for contender in contenders:
            contender.run_ms()
    for _ in tqdm(range(runs), desc="timing", unit="round", disable=None):
        for contender in contenders:
            contender.latencies_ms.append(contender.run_ms())
    return {
        "device": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "results": [contender.report() for contender in contenders],
    }


def benchmark_on(
    files: list[Path], delegate: Delegate, runs: int, warmup: int, software: bool
) -> dict:
    """Returns the report of `tfsr benchmark --delegate`, as `benchmark` does.

    Every timed run copies the output back, because an app that shows it must.

    Args:
        files: `.tflite` files of fixed size.
        delegate: What runs them, each in a process of its own.
        runs: Timed runs of each file.
        warmup: Runs before the timed ones, not counting the very first.
        software: Whether to time a software driver in place of a real GPU.

    Raises:
        InputError: If the delegate does not take a file whole, or is no real one.
    """
    measure = delegate.engine.load("measure")
    if measure is None:
        raise InputError(
            f"{delegate.name}: times on this machine say nothing about it."
        )
    delegate.check()
    devices: list[str] = []
    results = []
    for file in tqdm(files, desc=delegate.name, disable=None):
        answer = coverage(file, delegate)
        if answer["taken"] != "whole":
            reason = answer["reason"] or "it takes only a part"
            raise InputError(f"{file}: {delegate.name} does not run it: {reason}.")
        if answer["software"] and not software:
            raise InputError(
                f"{delegate.name}: {answer['device']} is a software driver; its times "
                "say nothing about a GPU; --software-driver times it all the same."
            )
        try:
            times = measure(Path(file), delegate.option, runs, warmup, BENCHMARK_S)
        except ChildError as error:
            reason = error.reason
            raise InputError(f"{file}: {delegate.name} fails: {reason}.") from None
        metadata = metadata_of(file)
        height, width = metadata["size"]
        results.append(
            {
                "file": str(file),
                "format": metadata["format"],
                "size": f"{height}x{width}",
                "threads": 1,
                "delegate": delegate.name,
                "load_ms": times["load_ms"],
                "first_ms": times["first_ms"],
                **statistics(times["latencies_ms"]),
                "peak_memory_mb": None,
                "partitions": answer["parts"],
                "size_bytes": Path(file).stat().st_size,
            }
        )
        device = answer["device"] or delegate.name
        if device not in devices:
            devices.append(device)
    return {"device": ", ".join(devices), "results": results}


class _Contender:
    """One model with one number of threads."""

    def __init__(self, file, threads, size):
        self.file = Path(file)
        self.threads = threads
        self.model = TFLiteFile(file, threads, size)
        self.model.fill(np.random.default_rng(0))
        self.first_ms = self.run_ms()
        self.latencies_ms = []

    def run_ms(self):
        return self.model.interpreter.invoke_ms()

    def report(self):
        return {
            "file": str(self.file),
            "format": self.model.metadata["format"],
            "size": self.model.shown_size,
            "threads": self.threads,
            "delegate": "xnnpack",
            "load_ms": self.model.load_ms,
            "first_ms": self.first_ms,
            **statistics(self.latencies_ms),
            "peak_memory_mb": peak_memory_mb(self.file, self.threads, self.model.size),
            "partitions": partitions(self.model.interpreter),
            "size_bytes": self.file.stat().st_size,
        }


def statistics(latencies_ms: list[float]) -> dict:
    """Returns `runs`, `median_ms`, `p95_ms`, `min_ms`, `mean_ms`, `std_ms`, `spread`.

    `spread` is (95th percentile - minimum) / median.
    """
    latencies = np.array(latencies_ms)
    median, p95, low = (
        np.median(latencies),
        np.percentile(latencies, 95),
        latencies.min(),
    )
    return {
        "runs": len(latencies),
        "median_ms": float(median),
        "p95_ms": float(p95),
        "min_ms": float(low),
        "mean_ms": float(latencies.mean()),
        "std_ms": float(latencies.std()),
        "spread": float((p95 - low) / median),
    }


def peak_memory_mb(
    file: str | Path, threads: int, size: tuple[int, int] | None
) -> float | None:
    """Returns how many MB loading and running a model once adds to the peak memory.

    It is measured in a new process. None if the system does not report it.

    Args:
        file: The `.tflite` file.
        threads: CPU threads.
        size: Height and width of the input of a dynamic model.

    Raises:
        ChildError: If the process that is measured crashes.
    """
    if memory.peak_memory_mb() is None or not sys.executable:
        return None
    run = "tfsr.tflite.benchmark.timing:memory_of_first_run"
    child = child_of(str(file), 3 * math.prod(size or ()))
    return child.run(run, str(file), threads, size)


def memory_of_first_run(file: str, threads: int, size: tuple[int, int] | None) -> float:
    """Returns what `peak_memory_mb` does, of a process that has done nothing else."""
    before = memory.peak_memory_mb() or 0
    model = TFLiteFile(file, threads, size)
    model.fill(np.random.default_rng(0))
    model.interpreter.invoke()
    return (memory.peak_memory_mb() or 0) - before


def _processor():
    """Returns the processor's name, from `/proc/cpuinfo` if there is one."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
