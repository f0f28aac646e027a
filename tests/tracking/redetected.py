"""A tracker with a scripted redetector, for tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from gest_stream.config import RedetectionConfig, RedetectionMode, TrackerConfig
from gest_stream.testing import (
    ScriptedDetector,
    ScriptedRedetector,
    ScriptedSegmenter,
    hull_mask,
    make_frame,
    probability_of,
)
from gest_stream.tracking.redetection import Redetection
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, FrameResult, HandMask, Observation
from tests.tracking.scenes import SIZE, Script

CONFIG = TrackerConfig(redetection=RedetectionConfig(interval_frames=3, mode=RedetectionMode.WAIT))


class ForgettingSegmenter(ScriptedSegmenter):
    """Holds a mask over frames without landmarks only where `holds` says so."""

    def __init__(self, holds: Callable[[int, int], bool] = lambda seq, object_id: False) -> None:
        super().__init__()
        self._holds = holds

    def step(self, encoded: Frame, observations: Sequence[Observation]) -> Mapping[int, HandMask]:
        masks = super().step(encoded, observations)
        told = {o.object_id for o in observations if o.landmarks is not None or o.prompt is not None}
        return {i: m for i, m in masks.items() if i in told or self._holds(encoded.seq, i)}


def seen_by_redetector(there: Script) -> ScriptedRedetector:
    """A redetector that sees the hands of `there`, whatever the detector sees."""
    return ScriptedRedetector(lambda frame: probability_of([hull_mask(one, SIZE) for one in there(frame.seq)], SIZE))


def run(
    detected: Script,
    redetector: ScriptedRedetector | None,
    frames: int,
    segmenter: ScriptedSegmenter | None = None,
    config: TrackerConfig = CONFIG,
    most_hands: int | None = None,
) -> list[FrameResult]:
    redetection = Redetection(redetector, None, config.redetection.regions) if redetector is not None else None
    core = TrackerCore(ScriptedDetector(detected), segmenter or ForgettingSegmenter(), config, redetection, most_hands)
    with core:
        return [core.step(make_frame(seq, SIZE)) for seq in range(frames)]
