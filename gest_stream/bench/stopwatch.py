"""Wall, processor and GPU time of the stages of one frame."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gest_stream.clock import now_ns


class Stopwatch:
    """Adds up the stages of a frame and keeps them by stage. One stage runs at a time, inner ones may be nested.

    Processor time is that of the whole process, so that the threads of a library count; nothing else may work
    meanwhile. The GPU is waited for at the end of a stage, and only where something has set CUDA up.
    """

    def __init__(self) -> None:
        self.wall_ms: dict[str, list[float]] = {}
        self.cpu_ms: dict[str, list[float]] = {}
        self.gpu_ms: dict[str, list[float]] = {}
        self._frame: dict[str, tuple[float, float, float | None]] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the enclosed code as `name`; a repeated name adds up."""
        cuda = _cuda()
        events = (cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)) if cuda is not None else None
        if events is not None:
            events[0].record()
        wall_ns, cpu_ns = now_ns(), time.process_time_ns()
        try:
            yield
        finally:
            gpu_ms: float | None = None
            if events is not None:
                events[1].record()
                cuda.synchronize()
                gpu_ms = float(events[0].elapsed_time(events[1]))
            self._add(name, (now_ns() - wall_ns) / 1e6, (time.process_time_ns() - cpu_ns) / 1e6, gpu_ms)

    def _add(self, name: str, wall_ms: float, cpu_ms: float, gpu_ms: float | None) -> None:
        wall, cpu, gpu = self._frame.get(name, (0.0, 0.0, None))
        self._frame[name] = wall + wall_ms, cpu + cpu_ms, gpu if gpu_ms is None else (gpu or 0.0) + gpu_ms

    def subtract(self, name: str, inner: str) -> None:
        """Take the time of `inner`, which ran inside `name`, away from it."""
        if inner in self._frame:
            wall, cpu, gpu = self._frame[inner]
            self._add(name, -wall, -cpu, -gpu if gpu is not None else None)

    def end_frame(self) -> None:
        """Keep what the stages of this frame took."""
        for name, (wall, cpu, gpu) in self._frame.items():
            self.wall_ms.setdefault(name, []).append(max(wall, 0.0))
            self.cpu_ms.setdefault(name, []).append(max(cpu, 0.0))
            if gpu is not None:
                self.gpu_ms.setdefault(name, []).append(max(gpu, 0.0))
        self._frame.clear()


def _cuda() -> Any:
    """`torch.cuda` where it is in use; asking torch for a device would load it."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized() else None
