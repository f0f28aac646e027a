"""Threads that take frames in turn, work side by side, and hand on what they made in the order of the frames."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Lanes:
    """The order of `count` threads, numbered from 0, each of which calls `begin`, `took`, `may_pass` and `passed`.

    Frame number n belongs to thread n modulo `count`. In a live run a frame that has to wait for whoever takes what is
    made grows old: there a second frame is begun only while that one is idle.

    Args:
        count: Threads.
        live: Whether frames come at their own pace.
    """

    def __init__(self, count: int, live: bool) -> None:
        self._count, self._live = count, live
        self._changed = threading.Condition()
        self._taken = self._passed = 0
        self._at_work = count
        self._taker_busy = False
        self._ended = False

    def begin(self, lane: int) -> bool:
        """Wait until `lane` may take the next frame; False where there is none any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or (self._taken % self._count == lane and self._worth_it()))
            return not self._ended

    def _worth_it(self) -> bool:
        return not self._live or self._taken == self._passed or not self._taker_busy

    def took(self) -> None:
        """The thread whose turn it was has its frame."""
        with self._changed:
            self._taken += 1
            self._changed.notify_all()

    def may_pass(self, lane: int) -> None:
        """Wait until the frames before that of `lane` are handed on, or are lost with a thread that failed."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended_early() or self._passed % self._count == lane)

    def passed(self) -> None:
        """The thread whose turn it was has handed on what it made."""
        with self._changed:
            self._passed += 1
            self._changed.notify_all()

    def leave(self) -> bool:
        """A thread ends, well or not; True where it was the last."""
        with self._changed:
            self._ended = True
            self._at_work -= 1
            self._changed.notify_all()
            return self._at_work == 0

    def _ended_early(self) -> bool:
        """Whether a thread left without handing on the frame that it had."""
        return self._taken - self._passed > self._at_work

    @contextmanager
    def taker_busy(self) -> Iterator[None]:
        """While the one who takes what is made works on it."""
        with self._changed:
            self._taker_busy = True
        try:
            yield
        finally:
            with self._changed:
                self._taker_busy = False
                self._changed.notify_all()
