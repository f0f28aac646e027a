"""How much of the processors others had while something was measured."""

from __future__ import annotations

import os
import threading
import time
from types import TracebackType
from typing import Final, Self

import psutil

_EVERY_S: Final = 1.0

_Key = tuple[int, float]
"""Process id and when it began: ids are used again."""


class OtherWork:
    """Adds up the processor time of all processes but this one and its descendants, and what the hypervisor gave away.

    A process that begins and ends between two looks, a second apart, is not seen: what is told is rather too little.
    """

    def __init__(self) -> None:
        self._ours: set[_Key] = set()
        self._before_s: dict[_Key, float] = {}
        self._newest_s: dict[_Key, float] = {}
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="other work")

    def __enter__(self) -> Self:
        self._look()
        self._before_s = dict(self._newest_s)
        self._begun_s, self._stolen_s = time.monotonic(), _stolen_s()
        self._thread.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self._look()
        elapsed_s, stolen_s = time.monotonic() - self._begun_s, _stolen_s() - self._stolen_s
        self.taken_s = {pid: at - self._before_s.get((pid, begun), 0.0) for (pid, begun), at in self._newest_s.items()}
        """Processor seconds by process id; known on leaving."""
        self.cores = (sum(self.taken_s.values()) + stolen_s) / elapsed_s
        """Processor seconds a second that others had; known on leaving."""

    def _watch(self) -> None:
        while not self._done.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        seen = {one.pid: one.info for one in psutil.process_iter(["ppid", "create_time", "cpu_times"])}
        parents = {pid: info["ppid"] for pid, info in seen.items()}
        for pid, info in seen.items():
            key = (pid, info["create_time"])
            if _descends_from(os.getpid(), pid, parents):
                self._ours.add(key)  # and stays ours when its parent ends before it
            elif key not in self._ours and info["cpu_times"] is not None:
                self._newest_s[key] = info["cpu_times"].user + info["cpu_times"].system


def _descends_from(ancestor: int, pid: int | None, parents: dict[int, int]) -> bool:
    while pid is not None and pid != ancestor:
        pid = parents.get(pid)
    return pid is not None


def _stolen_s() -> float:
    return float(getattr(psutil.cpu_times(), "steal", 0.0))
