"""Memory of this machine and of this process."""

import math
import os
import sys
from pathlib import Path

STATUS = Path("/proc/self/status")  # on Linux


def available_memory() -> int:
    """Returns the free memory in bytes; 2 GiB where it is unknown."""
    try:
        facts = Path("/proc/meminfo").read_text(encoding="utf-8")
        free = 1024 * int(facts.partition("MemAvailable:")[2].split()[0])
    except (OSError, IndexError, ValueError):
        free = 2**31
    try:
        return max(0, min(free, _of_container("max") - _of_container("current")))
    except (OSError, ValueError):
        return free


def total_memory() -> float:
    """Returns the memory in bytes that this machine has, or its container may use."""
    try:
        total: float = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has none
        return math.inf
    try:
        return min(total, _of_container("max"))
    except (OSError, ValueError):
        return total


def _of_container(figure):
    """Returns a figure of this container's memory in bytes.

    Raises an `OSError` where there is none, a `ValueError` where it is no number.
    """
    file = Path("/sys/fs/cgroup") / f"memory.{figure}"
    return int(file.read_text(encoding="utf-8"))


def peak_memory_mb() -> float | None:
    """Returns the peak memory of this process in MB; None where it is unknown."""
    if STATUS.exists():  # on Linux `getrusage` counts the parent process too
        status = STATUS.read_text(encoding="utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) / 2**10
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
