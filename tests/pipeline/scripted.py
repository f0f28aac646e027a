"""Runs on fakes, with a bound on how long they take."""

import asyncio
from collections.abc import Callable, Sequence

from gest_stream.config import BufferConfig, TrackerConfig
from gest_stream.interfaces import Sink
from gest_stream.pipeline import Pipeline, RunStats
from gest_stream.testing import ListSource, ScriptedDetector, ScriptedSegmenter, make_landmarks
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import FrameResult, HandLandmarks

WITHIN_S = 10.0
SIZE = (320, 240)


def one_hand(seq: int) -> Sequence[HandLandmarks]:
    return [make_landmarks((100 + seq % 50, 120), 90)]


def fake_tracker(
    script: Callable[[int], Sequence[HandLandmarks]] = one_hand,
    before_step: Callable[[int], None] | None = None,
) -> TrackerCore:
    return TrackerCore(ScriptedDetector(script), ScriptedSegmenter(before_step), TrackerConfig())


def make_pipeline(
    source: ListSource, tracker: TrackerCore, sinks: Sequence[Sink] = (), buffer: BufferConfig | None = None
) -> Pipeline:
    return Pipeline(source, lambda: tracker, sinks, buffer)


def closed(tracker: TrackerCore) -> bool:
    """Whether detector and segmenter were closed."""
    detector, segmenter = tracker._detector, tracker._segmenter
    assert isinstance(detector, ScriptedDetector) and isinstance(segmenter, ScriptedSegmenter)
    return detector.closed and segmenter.closed


def run_to_end(pipeline: Pipeline) -> RunStats:
    async def go() -> RunStats:
        async with asyncio.timeout(WITHIN_S):
            async with pipeline as opened:
                return await opened.run()

    return asyncio.run(go())


def collect(pipeline: Pipeline) -> list[FrameResult]:
    async def go() -> list[FrameResult]:
        async with asyncio.timeout(WITHIN_S):
            async with pipeline as opened:
                return [result async for result in opened]

    return asyncio.run(go())
