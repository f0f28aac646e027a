"""What this machine's CPU computes quickly."""

from __future__ import annotations

from functools import cache
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


@cache
def multiplies_bfloat16() -> bool:
    """Whether the CPU has a unit for matrices of bfloat16 (AMX), on which half precision is the quicker one.

    Without it bfloat16 is slower than float32. Told by Linux alone; False elsewhere.
    """
    try:
        text = _CPUINFO.read_text()
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "")
    return "amx_bf16" in flags.split()
