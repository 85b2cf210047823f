"""Whether the processor multiplies numbers of 16 bits, or only imitates it."""

from pathlib import Path

import keras

# As Linux names what a processor can do, x86 and Arm.
INSTRUCTIONS = {
    "float16": {"avx512_fp16", "amx_fp16", "fphp"},
    "bfloat16": {"avx512_bf16", "amx_bf16", "bf16"},
}
PROCESSOR = Path("/proc/cpuinfo")


def is_fast(precision: str) -> bool:
    """Returns whether it makes sense to train in `precision` here.

    A CPU without instructions for 16 bits converts every number back and forth: a step
    of SESR in bfloat16 took more than ten times as long as in float32.

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
