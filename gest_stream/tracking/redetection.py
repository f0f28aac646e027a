"""Asks the redetector: on a thread of its own, so that no frame waits, or at once where frames may wait.

In the background an answer speaks of the frame that was asked about. Before it is handed over it is carried forward
over the frames that came meanwhile, on the same thread.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass

from gest_stream.clock import now_ns
from gest_stream.config import RegionConfig
from gest_stream.interfaces import ProbabilityCarrier, Redetector
from gest_stream.tracking.regions import HandRegion, find_regions
from gest_stream.types import Frame, HandProbability, ReinitialisedBy

_log = logging.getLogger(__name__)

_MAX_TRAIL = 16
"""Frames held while a question is open; of more, every second one in between is let go."""

_MAX_ROUNDS = 3
"""Times that an answer is carried on to frames that came while it was carried."""


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What the redetector saw.

    Args:
        by: Which redetector.
        asked_seq: The frame it looked at.
        seq: The frame to which the regions were carried, the same or a later one.
        regions: The hands.
        took_ms: From the question to the answer.
    """

    by: ReinitialisedBy
    asked_seq: int
    seq: int
    regions: tuple[HandRegion, ...]
    took_ms: float


class Redetection:
    """One redetector and, in the background, its thread. Its methods are called by one thread at a time.

    Args:
        redetector: Belongs to it from now on.
        carrier: Moves answers forward; None leaves them where they were seen.
        config: From probability maps to hands.

    Attributes:
        background: Questions are answered on a thread, and no caller waits.
        changed: Notified when an answer comes.
    """

    def __init__(self, redetector: Redetector, carrier: ProbabilityCarrier | None, config: RegionConfig) -> None:
        self._redetector, self._carrier, self._config = redetector, carrier, config
        self.changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._trail: list[Frame] = []
        self._answer: Answer | None = None
        self._failure: BaseException | None = None
        self._round = 0
        self._closed = False
        self.background = False

    @property
    def answered(self) -> bool:
        """`take` has something to give, or to raise."""
        return self._answer is not None or self._failure is not None

    @property
    def busy(self) -> bool:
        """A question is open; another one cannot be put."""
        with self.changed:
            return bool(self._trail)

    def ask(self, frame: Frame) -> None:
        """Put a question about `frame`; answered at once unless `background` is set.

        Raises:
            ModelError: The redetector failed, where it is asked at once.
        """
        if not self.background:
            start = now_ns()
            regions = find_regions(self._redetector.segment(frame), self._config)
            took_ms = (now_ns() - start) / 1e6
            with self.changed:
                self._answer = Answer(self._redetector.kind, frame.seq, frame.seq, regions, took_ms)
            return
        with self.changed:
            if self._closed or self._trail:
                return
            self._trail = [frame]
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="gest-stream-redetect")
                self._thread.start()
            self.changed.notify_all()

    def note(self, frame: Frame) -> None:
        """A frame came; while a question is open it is kept, to carry the answer over it."""
        with self.changed:
            if not self._trail or self._trail[-1].seq >= frame.seq:
                return
            if len(self._trail) >= _MAX_TRAIL:
                self._trail = [self._trail[0], *self._trail[2::2]]
            self._trail.append(frame)

    def take(self) -> Answer | None:
        """The answer, once.

        Raises:
            ModelError: The redetector failed.
        """
        with self.changed:
            if self._failure is not None:
                raise self._failure
            answer, self._answer = self._answer, None
            return answer

    def reset(self) -> None:
        """Drop the open question and its answer: the stream was cut or changed size."""
        with self.changed:
            self._round += 1
            self._trail, self._answer = [], None

    def close(self) -> None:
        """Join the thread, after the question it works on, and close the redetector."""
        with self.changed:
            self._closed = True
            self._trail = []
            self.changed.notify_all()
        if self._thread is not None:
            self._thread.join()
        self._redetector.close()

    def _work(self) -> None:
        while (question := self._next_question()) is not None:
            number, frame = question
            start = now_ns()
            try:
                probability, seq = self._carried(self._redetector.segment(frame), frame.seq, number)
                regions = find_regions(probability, self._config)
            except BaseException as exc:
                with self.changed:
                    self._failure, self._trail = exc, []
                    self.changed.notify_all()
                return
            answer = Answer(self._redetector.kind, frame.seq, seq, regions, (now_ns() - start) / 1e6)
            _log.debug("redetector: %d hands on frame %d after %.0f ms", len(regions), frame.seq, answer.took_ms)
            with self.changed:
                if number == self._round:
                    self._answer, self._trail = answer, []
                    self.changed.notify_all()

    def _next_question(self) -> tuple[int, Frame] | None:
        """The number and frame of the next one, waiting for it; None once closed."""
        with self.changed:
            self.changed.wait_for(lambda: self._closed or bool(self._trail))
            return None if self._closed else (self._round, self._trail[0])

    def _carried(self, probability: HandProbability, seq: int, number: int) -> tuple[HandProbability, int]:
        """The map of frame `seq` moved to the newest frame, and that frame's seq."""
        for _ in range(_MAX_ROUNDS):
            with self.changed:
                trail = [frame for frame in self._trail if frame.seq >= seq] if number == self._round else []
            if self._carrier is None or not trail or trail[-1].seq == seq:
                break
            probability, seq = self._carrier.carry(probability, trail), trail[-1].seq
        return probability, seq
