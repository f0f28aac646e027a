"""The tracker for frames that the caller has."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gest_stream.build import models
from gest_stream.clock import now_ns
from gest_stream.config import PipelineConfig
from gest_stream.interfaces import HandDetector, PacedSegmenter, Redetector, Segmenter
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, FrameResult

_DEFAULT_TIME_BASE = Fraction(1, 30)


class HandTracker(TrackerCore):
    """Tracks hands through frames that the caller has: landmarks, masks and stable ids.

    >>> tracker = HandTracker()                        # doctest: +SKIP
    >>> for rgb in frames:                             # doctest: +SKIP
    ...     for hand in tracker.step(rgb).tracks:
    ...         print(hand.id, hand.handedness, hand.mask.area_px)

    Args:
        config: Settings; the source's and the sinks' are not used.
        detector: Instead of MediaPipe.
        segmenter: Instead of the one that `config` names.
        redetector: Instead of the one that `config` names.

    Raises:
        ModelError: A model cannot be loaded.
    """

    def __init__(
        self,
        config: PipelineConfig | None = None,
        *,
        detector: HandDetector | None = None,
        segmenter: Segmenter[Any] | None = None,
        redetector: Redetector | None = None,
    ) -> None:
        config = config or PipelineConfig()
        segmenter = segmenter or models.make_segmenter(config)
        if redetector is None and segmenter is not None:
            redetector = models.make_redetector(config)
        super().__init__(
            detector or models.make_detector(config),
            segmenter,
            config.tracker,
            models.make_redetection(config, redetector),
            config.hands.max_hands,
        )
        self._steps = 0

    def set_live(self, live: bool) -> None:
        """As `TrackerCore.set_live`; a segmenter with a deadline counts it from the capture of live frames only."""
        super().set_live(live)
        if isinstance(self._segmenter, PacedSegmenter):
            self._segmenter.set_live(live)

    def step(self, frame: Frame | NDArray[np.uint8], pts: int | None = None) -> FrameResult:
        """Advance by one frame.

        Args:
            frame: A `Frame`, or an (H, W, 3) uint8 RGB array.
            pts: Media time of an array, in thirtieths of a second; counted from 0 where it is not given. It must
                grow from call to call.

        Returns:
            The hands on it; `tracks` is empty where there is none.

        Raises:
            InvalidInputError: The array has another dtype or shape.
        """
        if not isinstance(frame, Frame):
            frame = Frame(frame, self._steps if pts is None else pts, _DEFAULT_TIME_BASE, now_ns(), self._steps)
        self._steps += 1
        return super().step(frame)
