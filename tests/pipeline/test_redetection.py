"""The pipeline with a redetector: live frames do not wait for it, files do, and its errors end the run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from gest_stream.config import RedetectionConfig, RedetectionMode, TrackerConfig
from gest_stream.errors import ModelError
from gest_stream.pipeline import Pipeline, RunStats
from gest_stream.testing import (
    ListSource,
    RecordingSink,
    ScriptedDetector,
    ScriptedRedetector,
    ScriptedSegmenter,
    grey_ramp,
    hull_mask,
    make_landmarks,
    probability_of,
)
from gest_stream.tracking.redetection import Redetection
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, FrameResult, HandProbability, ReinitialisedBy

WITHIN_S = 10.0
SIZE = (320, 240)


def one_hand(frame: Frame) -> HandProbability:
    return probability_of([hull_mask(make_landmarks((160, 120), 90), SIZE)], SIZE)


def blind_tracker(
    script: Callable[[Frame], HandProbability], mode: RedetectionMode = RedetectionMode.AUTO
) -> tuple[TrackerCore, ScriptedRedetector]:
    """A tracker whose detector never finds anything."""
    redetector, config = ScriptedRedetector(script), TrackerConfig(redetection=RedetectionConfig(mode=mode))
    redetection = Redetection(redetector, None, config.redetection.regions)
    return TrackerCore(ScriptedDetector(lambda seq: []), ScriptedSegmenter(), config, redetection), redetector


def run(tracker: TrackerCore, frames: int, sink: RecordingSink) -> RunStats:
    async def go() -> RunStats:
        async with asyncio.timeout(WITHIN_S):
            source = ListSource(grey_ramp(frames, SIZE))
            async with Pipeline(source, lambda: tracker, [sink]) as opened:
                return await opened.run()

    return asyncio.run(go())


def test_a_file_waits_so_that_the_hand_is_there_from_the_first_frame() -> None:
    tracker, redetector = blind_tracker(one_hand)
    sink = RecordingSink()
    stats = run(tracker, 10, sink)
    assert stats.frames_with_hands == 10
    assert sink.results[0].tracks[0].reinitialised_by is ReinitialisedBy.DINO
    assert redetector.closed and stats.latency_ms["redetect"]["count"] >= 1


def test_in_the_background_a_run_goes_on_while_the_redetector_takes_its_time() -> None:
    go_on = threading.Event()

    def slow(frame: Frame) -> HandProbability:
        assert go_on.wait(WITHIN_S)
        return one_hand(frame)

    def count(result: FrameResult) -> None:
        if len(sink.results) == 15:  # so many results are out, and the first question is still open
            go_on.set()

    sink = RecordingSink(on_write=count)
    tracker, redetector = blind_tracker(slow, RedetectionMode.BACKGROUND)
    run(tracker, 20, sink)
    assert len(sink.results) == 20
    assert all(not result.tracks for result in sink.results[:15])
    assert redetector.asked[0] == 0 and redetector.closed


@pytest.mark.parametrize("live", [True, False])
def test_the_source_says_whether_frames_may_wait(live: bool) -> None:
    redetection = Redetection(ScriptedRedetector(one_hand), None, TrackerConfig().redetection.regions)
    tracker = TrackerCore(ScriptedDetector(lambda seq: []), ScriptedSegmenter(), TrackerConfig(), redetection)

    async def go() -> None:
        async with asyncio.timeout(WITHIN_S):
            async with Pipeline(ListSource(grey_ramp(10, SIZE), live), lambda: tracker) as opened:
                await opened.run()

    asyncio.run(go())
    assert redetection.background is live


@pytest.mark.parametrize("mode", [RedetectionMode.BACKGROUND, RedetectionMode.WAIT])
def test_a_redetectors_error_ends_the_run_and_finishes_the_sinks(mode: RedetectionMode) -> None:
    failed = threading.Event()

    def broken(frame: Frame) -> HandProbability:
        failed.set()
        raise ModelError("the redetector broke")

    def wait(result: FrameResult) -> None:
        assert failed.wait(WITHIN_S)

    sink = RecordingSink(on_write=wait)
    tracker, redetector = blind_tracker(broken, mode)
    with pytest.raises(ModelError, match="the redetector broke"):
        run(tracker, 500, sink)
    assert sink.closed == 1 and redetector.closed
    assert not any(thread.name == "gest-stream-redetect" for thread in threading.enumerate())


def test_closing_while_a_question_is_open_leaves_the_event_loop_free() -> None:
    asked, go_on = threading.Event(), threading.Event()

    def slow(frame: Frame) -> HandProbability:
        asked.set()
        assert go_on.wait(WITHIN_S)
        return one_hand(frame)

    def wait(result: FrameResult) -> None:
        assert asked.wait(WITHIN_S)

    tracker, redetector = blind_tracker(slow, RedetectionMode.BACKGROUND)

    async def go() -> None:
        closing, loop, close = asyncio.Event(), asyncio.get_running_loop(), tracker.close

        def told_close() -> None:
            loop.call_soon_threadsafe(closing.set)
            close()

        tracker.close = told_close  # type: ignore[method-assign]
        async with asyncio.timeout(WITHIN_S):
            running = asyncio.create_task(run_all())
            await closing.wait()  # only a loop that is free gets beyond this
            assert not redetector.closed
            go_on.set()
            await running

    async def run_all() -> None:
        source = ListSource(grey_ramp(5, SIZE))
        async with Pipeline(source, lambda: tracker, [RecordingSink(on_write=wait)]) as opened:
            await opened.run()

    asyncio.run(go())
    assert redetector.closed
