"""Time and memory of work on a device: CUDA events where there is CUDA, the CPU's clocks elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

T = TypeVar("T")


class Stopwatch:
    """Times calls on one device, each until the device has done all of its work.

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._cuda = device.type == "cuda"
        self.wall_ms = 0.0
        """Of the last call, by the wall's clock."""

    @property
    def clock(self) -> str:
        """What times are by."""
        if self._cuda:
            return "CUDA events around each call, on an idle device"
        if torch.get_num_threads() == 1:
            return "the process's own CPU time, with one thread, because other work shares the CPU"
        return "the wall's clock"

    def time(self, run: Callable[[], T]) -> tuple[float, T]:
        """Milliseconds of a call, and what it returned.

        On CUDA from an event before it, on an idle device, to one after it; host time in which the device had to wait
        for launches is in it. On a CPU with one thread the time that this process was given, which other work changes
        little; with more threads that would be their sum, so then it is the wall's.
        """
        start = time.perf_counter_ns()
        if not self._cuda:
            own = time.process_time_ns()
            result = run()
            own = time.process_time_ns() - own
            self.wall_ms = (time.perf_counter_ns() - start) / 1e6
            return own / 1e6 if torch.get_num_threads() == 1 else self.wall_ms, result
        self.synchronize()
        before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        before.record()
        result = run()
        after.record()
        after.synchronize()
        self.wall_ms = (time.perf_counter_ns() - start) / 1e6
        return float(before.elapsed_time(after)), result

    def synchronize(self) -> None:
        """Wait for the device."""
        if self._cuda:
            torch.cuda.synchronize(self._device)

    def start_peak(self) -> int | None:
        """Bytes that are allocated now; the peak is counted from here. None where nobody counts."""
        if not self._cuda:
            return None
        torch.cuda.reset_peak_memory_stats(self._device)
        return int(torch.cuda.memory_allocated(self._device))

    def peak_above(self, start: int | None) -> int | None:
        """Bytes of the peak above `start`."""
        return None if start is None else int(torch.cuda.max_memory_allocated(self._device)) - start


def percentiles(values_ms: Sequence[float] | NDArray[np.float64]) -> dict[str, float | int]:
    """Median and tails of milliseconds."""
    values = np.asarray(values_ms)
    levels = {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99}
    figures: dict[str, float | int] = {name: round(float(np.percentile(values, q)), 3) for name, q in levels.items()}
    return {"samples": len(values), **figures, "max_ms": round(float(values.max()), 3)}


def tensor_bytes(*roots: Any) -> int:
    """Bytes of all storages that containers and plain objects reach, each storage once."""
    storages: dict[int, int] = {}
    seen: set[int] = set()
    pending = list(roots)
    while pending:
        item = pending.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, torch.Tensor):
            storage = item.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif isinstance(item, Mapping):
            pending.extend(item.values())
        elif isinstance(item, list | tuple | set):
            pending.extend(item)
        elif hasattr(item, "__dict__") and not isinstance(item, torch.nn.Module | type):
            pending.extend(vars(item).values())
    return sum(storages.values())


def rss_bytes() -> int:
    """Resident memory of this process; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    import resource

    return pages * resource.getpagesize()
