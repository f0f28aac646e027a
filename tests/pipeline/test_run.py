"""The pipeline on fakes: order, policies, errors, early ends."""

import asyncio
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from gest_stream.config import BufferConfig, BufferPolicy
from gest_stream.errors import InvalidInputError, ModelError, SinkError, SourceLostError
from gest_stream.pipeline import Pipeline, RunStats
from gest_stream.testing import (
    ListSource,
    RecordingSink,
    ScriptedDetector,
    ScriptedSegmenter,
    grey_ramp,
)
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import FrameResult, HandLandmarks
from tests.pipeline.scripted import SIZE, WITHIN_S, closed, collect, fake_tracker, make_pipeline, one_hand, run_to_end


def test_lossless_run_gives_every_frame_in_order_with_its_pts() -> None:
    sink = RecordingSink()
    results = collect(make_pipeline(ListSource(grey_ramp(60, SIZE)), fake_tracker(), [sink]))
    assert [r.frame.pts for r in results] == list(range(60))
    assert [r.frame.seq for r in sink.results] == list(range(60))
    assert [int(r.frame.image[0, 0, 0]) for r in results] == list(range(60))
    assert {track.id for r in results for track in r.tracks} == {1}
    assert sink.closed == 1


def test_timings_name_every_stage_and_add_up_to_no_more_than_the_total() -> None:
    results = collect(make_pipeline(ListSource(grey_ramp(5, SIZE)), fake_tracker()))
    for result in results:
        assert {"queue", "encode", "landmarks", "segment", "track", "total"} <= set(result.timings_ms)
        assert result.timings_ms["queue"] + result.timings_ms["landmarks"] <= result.timings_ms["total"]


def test_stats_count_frames_hands_and_ids() -> None:
    hands_from_frame_ten = fake_tracker(lambda seq: one_hand(seq) if seq >= 10 else [])
    stats = run_to_end(make_pipeline(ListSource(grey_ramp(30, SIZE)), hands_from_frame_ten))
    assert (stats.frames_read, stats.frames_done, stats.frames_dropped) == (30, 30, 0)
    assert (stats.frames_with_hands, stats.hands_on_last, stats.track_ids) == (20, 1, 1)
    assert stats.latency_ms["total"]["count"] == 30


def test_live_run_drops_counts_and_stays_in_order_under_a_slow_tracker() -> None:
    gate = threading.Event()
    frames = grey_ramp(200, SIZE)

    def hold_first(seq: int) -> None:
        if seq == 0:
            assert gate.wait(WITHIN_S)

    class Source(ListSource):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            async for frame in super().__aiter__():
                yield frame
            gate.set()

    source = Source(frames, live=True)
    sink = RecordingSink()
    stats = run_to_end(make_pipeline(source, fake_tracker(before_step=hold_first), [sink], BufferConfig(sink_depth=8)))
    assert stats.frames_read == 200
    assert stats.frames_dropped > 100
    assert stats.frames_done + stats.frames_dropped == 200
    seqs = [r.frame.seq for r in sink.results]
    assert seqs == sorted(seqs)
    assert seqs[-1] == 199


def test_a_gap_in_the_source_counts_as_dropped() -> None:
    frames = [frame for frame in grey_ramp(20, SIZE) if frame.seq not in (3, 4, 9)]
    stats = run_to_end(make_pipeline(ListSource(frames), fake_tracker()))
    assert (stats.frames_read, stats.frames_done, stats.frames_dropped) == (20, 17, 3)


def test_lossless_policy_can_be_asked_of_a_live_source() -> None:
    source = ListSource(grey_ramp(50, SIZE), live=True)
    results = collect(make_pipeline(source, fake_tracker(), buffer=BufferConfig(policy=BufferPolicy.LOSSLESS)))
    assert len(results) == 50


@pytest.mark.parametrize("live", [False, True])
def test_detection_of_the_next_frame_runs_while_the_last_is_segmented(live: bool) -> None:
    first_segmented, second_detected = threading.Event(), threading.Event()

    class Source(ListSource):
        async def __aiter__(self):  # type: ignore[no-untyped-def]
            async for frame in super().__aiter__():
                yield frame
                if frame.seq == 0:  # in a live run, frame 1 would otherwise take its place
                    assert await asyncio.to_thread(first_segmented.wait, WITHIN_S)

    def detect(seq: int) -> Sequence[HandLandmarks]:
        if seq > 0:
            second_detected.set()
        return one_hand(seq)

    def segment(seq: int) -> None:
        if seq == 0:
            first_segmented.set()
            assert second_detected.wait(WITHIN_S), "no later frame was detected while frame 0 was being segmented"

    results = collect(make_pipeline(Source(grey_ramp(4, SIZE), live=live), fake_tracker(detect, segment)))
    assert [r.frame.seq for r in results][-1] == 3
    assert live or len(results) == 4


def failing(seq_that_fails: int) -> Callable[[int], Any]:
    def maybe_fail(seq: int) -> Sequence[HandLandmarks]:
        if seq == seq_that_fails:
            raise ModelError("the model broke")
        return one_hand(seq)

    return maybe_fail


def test_detector_error_ends_the_run_and_finishes_the_sinks() -> None:
    sink, source = RecordingSink(), ListSource(grey_ramp(50, SIZE))
    with pytest.raises(ModelError, match="the model broke"):
        run_to_end(make_pipeline(source, fake_tracker(failing(7)), [sink]))
    assert [r.frame.seq for r in sink.results] == list(range(7))
    assert sink.closed == 1 and source.closed


def test_results_that_a_slow_caller_misses_are_counted() -> None:
    async def go() -> tuple[int, RunStats]:
        seen, last_is_done = 0, asyncio.Event()
        source = ListSource(grey_ramp(60, SIZE), live=True)
        buffer = BufferConfig(policy=BufferPolicy.LIVE, depth=60)
        sink = RecordingSink(on_write=lambda result: last_is_done.set() if result.frame.seq == 59 else None)
        async with asyncio.timeout(WITHIN_S), make_pipeline(source, fake_tracker(), [sink], buffer) as pipeline:
            async for _ in pipeline:
                seen += 1
                await last_is_done.wait()
            return seen, pipeline.stats

    seen, stats = asyncio.run(go())
    assert stats.frames_done == 60
    assert seen < 60
    assert seen + stats.sink_drops["iterator"] == 60


def test_segmenter_error_ends_the_run_and_finishes_the_sinks() -> None:
    sink, source = RecordingSink(), ListSource(grey_ramp(50, SIZE))
    with pytest.raises(ModelError, match="the model broke"):
        run_to_end(make_pipeline(source, fake_tracker(before_step=failing(7)), [sink]))
    assert [r.frame.seq for r in sink.results] == list(range(7))
    assert sink.closed == 1 and source.closed


def test_source_error_comes_after_every_frame_before_it() -> None:
    sink = RecordingSink()
    source = ListSource(grey_ramp(9, SIZE), error=SourceLostError("unplugged"))
    with pytest.raises(SourceLostError, match="unplugged"):
        run_to_end(make_pipeline(source, fake_tracker(), [sink]))
    assert len(sink.results) == 9
    assert sink.closed == 1


def test_sink_error_names_the_sink_and_the_others_are_finished() -> None:
    def fail_on_third(result: FrameResult) -> None:
        if result.frame.seq == 3:
            raise OSError("no space left on device")

    bad, good = RecordingSink("bad.mp4", fail_on_third), RecordingSink("good.mp4")
    with pytest.raises(SinkError, match=r"bad\.mp4: writing failed: .*no space left.*other outputs were finished"):
        run_to_end(make_pipeline(ListSource(grey_ramp(500, SIZE)), fake_tracker(), [bad, good]))
    assert bad.closed == good.closed == 1
    assert [r.frame.seq for r in good.results] == list(range(len(good.results)))
    assert 3 < len(good.results) < 500


def test_sink_that_cannot_open_closes_what_was_open() -> None:
    class Closed(RecordingSink):
        async def open(self, info: object, audio: object) -> None:
            raise SinkError("out.mp4: the folder is read-only")

    first, source = RecordingSink(), ListSource(grey_ramp(5, SIZE))
    tracker = fake_tracker()
    with pytest.raises(SinkError, match="read-only"):
        run_to_end(make_pipeline(source, tracker, [first, Closed()]))
    assert first.closed == 1 and source.closed and closed(tracker)


def test_a_model_that_cannot_be_closed_leaves_nothing_else_open() -> None:
    class Stuck(ScriptedDetector):
        def close(self) -> None:
            raise ModelError("cannot close")

    sink, source = RecordingSink(), ListSource(grey_ramp(5, SIZE))
    with pytest.raises(ModelError, match="cannot close"):
        run_to_end(make_pipeline(source, TrackerCore(Stuck(one_hand), ScriptedSegmenter()), [sink]))
    assert sink.closed == 1 and source.closed


def test_a_cancelled_run_finishes_the_sinks_and_closes_the_models() -> None:
    class SlowToClose(RecordingSink):
        async def close(self) -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            await super().close()

    written = asyncio.Event()
    sinks = [SlowToClose("a", lambda result: written.set()), SlowToClose("b")]
    source, tracker = ListSource(grey_ramp(5000, SIZE)), fake_tracker()

    async def run() -> None:
        async with make_pipeline(source, tracker, sinks) as pipeline:
            await pipeline.run()

    async def go() -> None:
        task = asyncio.create_task(run())
        await written.wait()
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(go())
    assert [sink.closed for sink in sinks] == [1, 1]
    assert source.closed and closed(tracker)
    assert len(sinks[0].results) < 5000


def test_a_tracker_whose_loading_is_cancelled_is_closed() -> None:
    loading, cancelled = threading.Event(), threading.Event()
    tracker, source = fake_tracker(), ListSource(grey_ramp(5, SIZE))

    def load() -> TrackerCore:
        loading.set()
        assert cancelled.wait(WITHIN_S)
        return tracker

    async def enter() -> None:
        async with Pipeline(source, load):
            raise AssertionError("entered although cancelled")

    async def go() -> None:
        task = asyncio.create_task(enter())
        await asyncio.to_thread(loading.wait, WITHIN_S)
        task.cancel()
        await asyncio.sleep(0)
        cancelled.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(go())
    assert closed(tracker) and source.closed


def test_tracker_that_cannot_be_made_closes_the_source() -> None:
    def broken() -> TrackerCore:
        raise ModelError("no weights")

    source = ListSource(grey_ramp(5, SIZE))
    with pytest.raises(ModelError, match="no weights"):
        run_to_end(Pipeline(source, broken))
    assert source.closed


def test_slow_sink_loses_only_its_own_frames_in_a_live_run() -> None:
    gate = threading.Event()

    class Slow(RecordingSink):
        async def write(self, result: FrameResult) -> None:
            await asyncio.to_thread(gate.wait, WITHIN_S)
            await super().write(result)

    slow = Slow("slow")

    def open_gate(result: FrameResult) -> None:
        if result.frame.seq == 99:
            gate.set()

    quick = RecordingSink("quick", open_gate)
    # the tracker waits for the quick sink, so that only the slow one can fall behind
    buffer = BufferConfig(policy=BufferPolicy.LIVE, depth=100, sink_depth=100)
    slow_buffered = make_pipeline(ListSource(grey_ramp(100, SIZE)), fake_tracker(), [slow, quick], buffer)
    stats = run_to_end(slow_buffered)
    assert len(quick.results) == 100
    assert stats.frames_dropped == 0

    gate.clear()
    slow, quick = Slow("slow"), RecordingSink("quick", open_gate)

    async def go() -> RunStats:
        async with asyncio.timeout(WITHIN_S):
            tight = BufferConfig(policy=BufferPolicy.LIVE, depth=100, sink_depth=2)
            async with make_pipeline(ListSource(grey_ramp(100, SIZE)), fake_tracker(), [slow, quick], tight) as p:
                return await p.run()

    stats = asyncio.run(go())
    assert stats.frames_done == 100
    assert stats.sink_drops["slow"] >= 90
    assert slow.results[-1].frame.seq == 99


def test_leaving_the_loop_early_finishes_the_sinks() -> None:
    sink, source = RecordingSink(), ListSource(grey_ramp(500, SIZE))

    async def go() -> None:
        async with asyncio.timeout(WITHIN_S), make_pipeline(source, fake_tracker(), [sink]) as opened:
            async for result in opened:
                if result.frame.seq == 5:
                    break

    asyncio.run(go())
    assert sink.closed == 1 and source.closed
    assert 5 < len(sink.results) < 100


def test_an_error_of_the_caller_passes_through_and_everything_is_closed() -> None:
    sink, source = RecordingSink(), ListSource(grey_ramp(500, SIZE))

    async def go() -> None:
        async with asyncio.timeout(WITHIN_S), make_pipeline(source, fake_tracker(), [sink]) as opened:
            async for _ in opened:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(go())
    assert sink.closed == 1 and source.closed


def test_stop_from_another_thread_ends_the_run() -> None:
    sink = RecordingSink()

    async def go() -> RunStats:
        async with asyncio.timeout(WITHIN_S), make_pipeline(ListSource(grey_ramp(5000)), fake_tracker(), [sink]) as p:
            threading.Timer(0.05, p.stop).start()
            return await p.run()

    stats = asyncio.run(go())
    assert stats.frames_done < 5000
    assert len(sink.results) == stats.frames_done


def test_a_run_can_be_iterated_once() -> None:
    async def go() -> None:
        async with make_pipeline(ListSource(grey_ramp(3)), fake_tracker()) as opened:
            await opened.run()
            with pytest.raises(InvalidInputError, match="iterated once"):
                await opened.run()

    asyncio.run(go())


def test_stats_before_entering_say_what_to_do() -> None:
    with pytest.raises(InvalidInputError, match="async with"):
        _ = make_pipeline(ListSource(grey_ramp(1)), fake_tracker()).stats
