"""Models for many trackers in one process: weights once, memory for each."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from gest_stream.build import models
from gest_stream.build.tracker import HandTracker
from gest_stream.config import PipelineConfig, SegmenterKind

if TYPE_CHECKING:
    from gest_stream.models.sam2_shared import SharedSam2
    from gest_stream.models.shared_redetector import SharedRedetector

_LOG = logging.getLogger(__name__)
_USUAL_HANDS = 2  # other sessions stand still while a session warms up; graphs for more are captured when they come


class SharedModels:
    """Loads the weights of sam2 and of the redetector once; detector and `light`, which are small, are each tracker's.

    Loading blocks for seconds. `tracker` is safe from any thread.

    Args:
        config: Settings of every tracker.

    Raises:
        ModelError: A model cannot be loaded.
    """

    def __init__(self, config: PipelineConfig) -> None:
        self._config = config
        self.kind, reason = models.choose_segmenter(config)
        _LOG.info("segmenter %s", reason)
        self._sam2: SharedSam2 | None = None
        if self.kind is SegmenterKind.SAM2:
            self._sam2 = models.load_shared_sam2(config)
        self._redetector: SharedRedetector | None = None
        redetector = models.make_redetector(config)
        if redetector is not None:
            from gest_stream.models.shared_redetector import SharedRedetector

            self._redetector = SharedRedetector(redetector)

    def tracker(self) -> HandTracker:
        """A tracker with memory of its own.

        Raises:
            ModelError: There is no room for one more, or this was closed.
        """
        segmenter = self._sam2.segmenter(self._config.tracker.max_tracks) if self._sam2 is not None else None
        try:
            if segmenter is not None and self._sam2 is not None and self._sam2.compute.is_cuda:
                segmenter.warmup((1280, 720), _USUAL_HANDS)
            redetector = self._redetector.handle() if self._redetector is not None else None
            in_time = models.within_deadline(self._config, segmenter) if segmenter is not None else None
            return HandTracker(self._config, segmenter=in_time, redetector=redetector)
        except BaseException:
            if segmenter is not None:
                segmenter.close()
            raise

    def close(self) -> None:
        """Let go of the weights when the last tracker has; more than once does no harm."""
        if self._sam2 is not None:
            self._sam2.close()
        if self._redetector is not None:
            self._redetector.close()
