"""Processor time of a run by what its threads do, native ones included (Linux)."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

_TASKS = Path("/proc/self/task")
_EVERY_S = 0.25
_MAIN = "MainThread"

# By the start of a thread's name: Python's own name where it has one, else the kernel's.
_WORK: Mapping[str, str] = {
    "gest-source": "source: demux, hand over, YUV to RGB",
    "av:": "decoder",
    "gest-stream-detect": "landmarks: Python, copy for MediaPipe",
    "ThreadPoolExecutor": "landmarks: Python, copy for MediaPipe",
    "drishti": "landmarks: MediaPipe",
    "mediapipe": "landmarks: MediaPipe",
    "gest-stream-segment": "track and segment",
    "sink": "draw, RGB to YUV, hand to encoder",
    _MAIN: "event loop",
}
_REST = "encoder and other native threads"


class ThreadClock:
    """Adds up the processor time of every thread while it is entered, those that end meanwhile included.

    A thread that lives shorter than a quarter of a second may be missed.
    """

    def __init__(self) -> None:
        self._before: dict[str, int] = {}
        self._now: dict[str, int] = {}
        self._names: dict[str, str] = {}
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="clock of threads", daemon=True)

    def __enter__(self) -> Self:
        self._sample()
        self._before = dict(self._now)
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._sample()
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stopped.wait(_EVERY_S):
            self._sample()

    def _sample(self) -> None:
        python = {str(thread.native_id): thread.name for thread in threading.enumerate()}
        for task in _TASKS.iterdir():
            try:
                busy_ns = int((task / "schedstat").read_text().split()[0])
                if task.name in python:
                    self._names[task.name] = python[task.name]
                elif task.name not in self._names:  # Python forgets the name of a thread a little before it ends
                    self._names[task.name] = (task / "comm").read_text().strip()
            except OSError:  # it ended
                continue
            self._now[task.name] = busy_ns

    def ms_by_work(self, frames: int) -> dict[str, float]:
        """Milliseconds a frame by what was done, the largest first; the clock's own are left out."""
        spent: dict[str, float] = {}
        for task, busy_ns in self._now.items():
            if self._names[task] != self._thread.name:
                work = next((work for start, work in _WORK.items() if self._names[task].startswith(start)), _REST)
                spent[work] = spent.get(work, 0.0) + (busy_ns - self._before.get(task, 0)) / 1e6 / max(frames, 1)
        return {work: round(ms, 3) for work, ms in sorted(spent.items(), key=lambda item: -item[1]) if ms >= 0.005}
