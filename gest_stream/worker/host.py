"""The thread that works for one host, always on its newest frame."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final, Protocol

from gest_stream.exchange.messages import Refusal, ResultFlag
from gest_stream.exchange.peer import Job
from gest_stream.worker.processing import FrameProcessor
from gest_stream.worker.trackers import Trackers
from gest_stream.worker.view import ViewConfig

_LOG = logging.getLogger(__name__)
_FAILURES_IN_A_ROW: Final = 10


class HostSeam(Protocol):
    """What is needed of a connected host; a `Peer`."""

    @property
    def name(self) -> str:
        """For the log."""
        ...

    def answer(self, job: Job, flags: ResultFlag | None = None) -> bool:
        """Tell it that a frame is done; safe from any thread."""
        ...

    def refuse(self, reason: Refusal) -> None:
        """End it; safe from any thread."""
        ...


class HostThread:
    """Answers the frames of one host; a `Handler` of the exchange.

    A frame that waits when a newer one comes is skipped, so at most one is worked on and one waits. A frame on which
    something fails is answered so, and the next one is tried; after 10 in a row the host is refused.

    Args:
        host: Who is answered.
        trackers: Where its tracker comes from and goes to.
        defaults: What it does not set.
        on_end: Called by the thread when everything is closed.
    """

    def __init__(
        self,
        host: HostSeam,
        trackers: Trackers,
        defaults: ViewConfig,
        on_end: Callable[[HostThread], object],
    ) -> None:
        self._host = host
        self._trackers = trackers
        self._on_end = on_end
        self._processor = FrameProcessor(trackers.take, defaults, host.name)
        self._condition = threading.Condition()
        self._waiting: Job | None = None
        self._closing = False
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name=host.name, daemon=True)
        self._thread.start()

    def offer(self, job: Job) -> None:
        """Take a frame; the one that waits is skipped."""
        with self._condition:
            skipped, self._waiting = self._waiting, job
            self._condition.notify()
        if skipped is not None:
            self._host.answer(skipped, ResultFlag.SKIPPED)

    def close(self) -> None:
        """End after the frame that is worked on; does not wait."""
        with self._condition:
            self._closing, self._waiting = True, None
            self._condition.notify()

    def join(self, timeout_s: float) -> bool:
        """Wait for the end; whether it came."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            while (job := self._next()) is not None:
                self._work(job)
                del job  # or the last frame's memory stays mapped while the next one is waited for
        finally:
            tracker, self._processor.tracker = self._processor.tracker, None
            try:
                if tracker is not None:
                    self._trackers.give_back(tracker)
            finally:
                self._on_end(self)

    def _next(self) -> Job | None:
        with self._condition:
            self._condition.wait_for(lambda: self._closing or self._waiting is not None)
            job, self._waiting = self._waiting, None
            return None if self._closing else job

    def _work(self, job: Job) -> None:
        try:
            self._processor.process(job)
        except Exception:  # whatever it is, the host must get its slot back
            self._failed(job)
        else:
            self._failures = 0
            self._host.answer(job)

    def _failed(self, job: Job) -> None:
        self._failures += 1
        if self._failures == 1:
            _LOG.exception("%s: frame %d failed", self._host.name, job.frame.seq)
        self._host.answer(job, ResultFlag.FAILED)
        if self._processor.tracker is None or self._failures >= _FAILURES_IN_A_ROW:
            _LOG.error("%s is refused: its frames fail", self._host.name)
            self._host.refuse(Refusal.FAILED)
            return
        try:
            self._processor.reset()
        except Exception:
            _LOG.exception("%s: its tracker cannot be reset", self._host.name)
