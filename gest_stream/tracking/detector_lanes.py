"""Several detectors that take the frames of one stream in turn, so that one frame need not wait for the other."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from gest_stream.errors import InvalidInputError
from gest_stream.interfaces import HandDetector
from gest_stream.types import Frame, HandLandmarks


class DetectorLanes:
    """A `HandDetector` of several, each of which sees every n-th frame; implements `interfaces.LanedDetector`.

    Each follows its hands over its own frames. Which of them sees a frame follows from its place in the stream alone,
    so that a file gives the same landmarks every time.

    Args:
        detectors: One or more, alike; belong to it from now on.
    """

    def __init__(self, detectors: Sequence[HandDetector]) -> None:
        if not detectors:
            raise InvalidInputError("detectors: expected one or more, got none")
        self._detectors = tuple(detectors)

    @property
    def lanes(self) -> int:
        """How many there are."""
        return len(self._detectors)

    def detect(self, frame: Frame) -> tuple[HandLandmarks, ...]:
        """The hands on `frame` as the first one sees them, for callers that take one frame after the other."""
        return self._detectors[0].detect(frame)

    def detect_in(self, lane: int, frame: Frame) -> tuple[HandLandmarks, ...]:
        """The hands on `frame` as detector number `lane` sees them; lanes may run side by side."""
        return self._detectors[lane].detect(frame)

    def close(self) -> None:
        """Close every one, also where one fails."""
        with ExitStack() as stack:
            for detector in self._detectors:
                stack.callback(detector.close)
