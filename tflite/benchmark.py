"""Latency and memory of TFLite models on this machine."""

import contextlib
import multiprocessing
import os
import platform
import time
from pathlib import Path

import numpy as np
from tqdm import tqdm

from tfsr.tflite.runtime import TFLiteUpscaler, partitions

WARMUP_RUNS = 3
STATUS = Path("/proc/self/status")


def benchmark(
    files: list[Path], threads: list[int], runs: int = 30, size: tuple | None = None
) -> dict:
    """Returns the report of `tfsr benchmark`.

    The models take turns, one run each a round, so that a drifting machine favours
    none. Times are of the inference alone, on the CPU delegate (XNNPACK).

    Args:
        files: `.tflite` files.
        threads: Numbers of CPU threads to try for each.
        runs: Timed runs of each.
        size: Height and width of the input of dynamic models.

    Raises:
        InputError: If a file is not a TFLite model.
    """
    contenders = [_Contender(file, n, size) for file in files for n in threads]
    for _ in tqdm(range(WARMUP_RUNS), desc="warm-up", disable=None):
        for contender in contenders:
            contender.run()
    for _ in tqdm(range(runs), desc="timing", unit="round", disable=None):
        for contender in contenders:
            contender.latencies_ms.append(contender.run())
    return {
        "device": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
        "results": [contender.report() for contender in contenders],
    }


class _Contender:
    """One model at one number of threads."""

    def __init__(self, file, threads, size):
        self.file = Path(file)
        self.threads = threads
        started = time.perf_counter()
        self.upscaler = TFLiteUpscaler(file, threads, size)
        self.load_ms = (time.perf_counter() - started) * 1e3
        self.upscaler.fill(np.random.default_rng(0))
        self.first_ms = self.run()
        self.latencies_ms = []

    def run(self):
        started = time.perf_counter()
        self.upscaler.interpreter.invoke()
        return (time.perf_counter() - started) * 1e3

    def report(self):
        latencies = np.array(self.latencies_ms)
        height, width = self.upscaler.size
        return {
            "file": str(self.file),
            "format": self.upscaler.metadata["format"],
            "size": f"{height}x{width}",
            "threads": self.threads,
            "delegate": "xnnpack",
            "runs": len(latencies),
            "load_ms": self.load_ms,
            "first_ms": self.first_ms,
            "median_ms": float(np.median(latencies)),
            "p95_ms": float(np.percentile(latencies, 95)),
            "min_ms": float(latencies.min()),
            "mean_ms": float(latencies.mean()),
            "std_ms": float(latencies.std()),
            "peak_memory_mb": peak_memory_mb(self.file, self.threads, (height, width)),
            "partitions": partitions(self.upscaler.interpreter),
            "size_bytes": self.file.stat().st_size,
        }


def peak_memory_mb(file: Path, threads: int, size: tuple[int, int]) -> float | None:
    """Returns by how much one load and one run of a model raise the peak memory.

    Measured in a process of its own; None where the system does not tell.
    """
    if not STATUS.exists():
        return None
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measure_memory, (file, threads, size))


def _measure_memory(file, threads, size):
    before = _peak_kib()
    upscaler = TFLiteUpscaler(file, threads, size)
    upscaler.fill(np.random.default_rng(0))
    upscaler.interpreter.invoke()
    return (_peak_kib() - before) / 1024


def _peak_kib():
    """Returns the peak memory of this process; `getrusage` counts its parent's too."""
    return int(STATUS.read_text().partition("VmHWM:")[2].split()[0])


def _processor():
    """Returns the name of the processor, which only Linux has in this file."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def table(report: dict) -> str:
    """Returns a benchmark report as a Markdown table."""
    columns = {
        "file": lambda r: Path(r["file"]).name,
        "format": lambda r: r["format"],
        "size": lambda r: r["size"],
        "threads": lambda r: r["threads"],
        "median ms": lambda r: f"{r['median_ms']:.1f}",
        "p95 ms": lambda r: f"{r['p95_ms']:.1f}",
        "first ms": lambda r: f"{r['first_ms']:.1f}",
        "load ms": lambda r: f"{r['load_ms']:.1f}",
        "peak MB": lambda r: _rounded(r["peak_memory_mb"]),
        "file KB": lambda r: f"{r['size_bytes'] / 1000:.0f}",
        "partitions": lambda r: r["partitions"],
    }
    lines = [list(columns), ["---"] * len(columns)]
    lines += [[str(cell(r)) for cell in columns.values()] for r in report["results"]]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _rounded(value):
    return "-" if value is None else f"{value:.0f}"
