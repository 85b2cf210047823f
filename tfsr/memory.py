"""Memory of this machine and of this process."""

import sys
from pathlib import Path

STATUS = Path("/proc/self/status")  # of Linux


def available_memory() -> int:
    """Returns the bytes of memory that can be had now; 2 GiB where unknown."""
    try:
        facts = Path("/proc/meminfo").read_text(encoding="utf-8")
        free = 1024 * int(facts.partition("MemAvailable:")[2].split()[0])
    except (OSError, IndexError, ValueError):
        free = 2**31
    group = Path("/sys/fs/cgroup")  # of a container, which has a limit of its own
    try:
        limit = int((group / "memory.max").read_text(encoding="utf-8"))
        used = int((group / "memory.current").read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none, or the word "max"
        return free
    return max(0, min(free, limit - used))


def peak_memory_mb() -> float | None:
    """Returns the most memory that this process has held; None where unknown."""
    if STATUS.exists():  # where `getrusage` would count the parent process too
        status = STATUS.read_text(encoding="utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) / 2**10
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
