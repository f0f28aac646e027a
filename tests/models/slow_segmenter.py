"""A segmenter that answers when the test says so, and a deadline segmenter around it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction

import numpy as np

from gest_stream.config import DeadlineConfig
from gest_stream.models.deadline import DeadlineSegmenter
from gest_stream.testing import hull_mask
from gest_stream.types import Frame, HandLandmarks, HandMask, Observation

SIZE = (320, 240)
PATIENCE_S = 10.0
PASSED = 1 << 60
"""What a clock shows where every deadline is over."""


def frame(seq: int, size: tuple[int, int] = SIZE, captured_ns: int = 0) -> Frame:
    """A grey frame of a clip of 30 frames a second."""
    return Frame(np.full((size[1], size[0], 3), 128, np.uint8), seq, Fraction(1, 30), captured_ns, seq)


class SlowSegmenter:
    """Hulls of the landmarks, or `masks` by the frame's seq, once `answer` is called. Writes down what it is told."""

    def __init__(self) -> None:
        self.takes_clicks = True
        self.told: list[tuple[str, object]] = []
        self.observed: dict[int, tuple[Observation, ...]] = {}
        self.error: Exception | None = None
        self.silent: set[int] = set()
        self.masks: dict[int, HandMask] = {}
        self._begun: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._go = threading.Semaphore(0)

    def begun(self) -> int:
        """Wait until it works on a frame; that frame's seq."""
        return self._begun.get(timeout=PATIENCE_S)

    def answer(self, times: int = 1) -> None:
        """Let it finish what it works on, and the next ones too where `times` says so."""
        self._go.release(times)

    def encode(self, frame: Frame) -> Frame:
        """The frame itself."""
        return frame

    def step(self, encoded: Frame, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        """Hulls, later."""
        self.told.append(("step", encoded.seq))
        self.observed[encoded.seq] = tuple(observations)
        self._begun.put(encoded.seq)
        assert self._go.acquire(timeout=PATIENCE_S)
        if self.error is not None:
            raise self.error
        if encoded.seq in self.masks:
            return {one.object_id: self.masks[encoded.seq] for one in observations}
        seen = [one for one in observations if one.landmarks is not None and one.object_id not in self.silent]
        return {one.object_id: hull_mask(_landmarks(one), encoded.size) for one in seen}

    def forget(self, object_id: int) -> None:
        """Write it down."""
        self.told.append(("forget", object_id))

    def reset(self) -> None:
        """Write it down."""
        self.told.append(("reset", None))

    def close(self) -> None:
        """Write it down."""
        self.told.append(("close", None))


def _landmarks(one: Observation) -> HandLandmarks:
    assert one.landmarks is not None
    return one.landmarks


@contextmanager
def late(fade_frames: int = 0) -> Iterator[tuple[SlowSegmenter, DeadlineSegmenter]]:
    """A slow segmenter, and one around it whose deadline is always over."""
    inner = SlowSegmenter()
    outer = DeadlineSegmenter(inner, DeadlineConfig(33.0, fade_frames), clock=lambda: PASSED)
    try:
        yield inner, outer
    finally:
        inner.answer(1000)
        outer.close()


def step(outer: DeadlineSegmenter, seq: int, *observations: Observation) -> Mapping[int, HandMask]:
    """One frame."""
    return outer.step(outer.encode(frame(seq)), observations)


def wait_for_answer(outer: DeadlineSegmenter) -> None:
    """Until the answer is there for the next step to take."""
    with outer.work.changed:
        assert outer.work.changed.wait_for(lambda: outer.work.answered, PATIENCE_S)
