"""Tells whether the processor has native 16-bit arithmetic."""

from pathlib import Path

import keras

# Processor features by their names on Linux, for x86 and Arm.
INSTRUCTIONS = {
    "float16": {"avx512_fp16", "amx_fp16", "fphp"},
    "bfloat16": {"avx512_bf16", "amx_bf16", "bf16"},
}
PROCESSOR = Path("/proc/cpuinfo")


def is_fast(precision: str) -> bool:
    """Returns whether training in `precision` is fast here.

    A CPU without 16-bit instructions converts every number back and forth: a step of
    SESR in bfloat16 took more than ten times as long as in float32.

    Args:
        precision: "float32", "float16" or "bfloat16".
    """
    devices = keras.distribution.list_devices()
    if precision == "float32" or not all(d.startswith("cpu") for d in devices):
        return True
    try:
        lines = PROCESSOR.read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        return False
    names = (line.partition(":") for line in lines)
    words = [rest for name, _, rest in names if name.strip() in ("flags", "Features")]
    return any(INSTRUCTIONS[precision] & set(line.split()) for line in words)
