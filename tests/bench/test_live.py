"""The figures of live runs, from what a sink noted: latency, age on screen, drops, frames a second."""

from __future__ import annotations

import asyncio
from fractions import Fraction
from pathlib import Path

import pytest

from gest_stream.bench.live import LiveTimes, live_run
from gest_stream.bench.looped import PlayFile
from gest_stream.bench.record import LiveRun
from gest_stream.bench.scale import sources_run
from gest_stream.bench.screen import ScreenSink
from gest_stream.buffer import RingStats
from gest_stream.clock import now_ns
from gest_stream.interfaces import SourceInfo
from gest_stream.pipeline import RunStats
from gest_stream.testing import hull_mask, make_frame, make_landmarks
from gest_stream.types import FrameResult, Handedness, HandMask, MaskSource, Track, TrackState
from tests.bench.conftest import SIZE

MS = 1_000_000
STATS = RunStats(0, 0, 0, 0, 0, 0, 0.0, 0.0, {}, RingStats(0, 0, 0, 0, 0.0), {"total": {"p50": 20.0}})
FILE = PlayFile(Path("clip.mp4"), SIZE, Fraction(100), 10)


def noted(frames: int, latency_ms: int = 20, missing: tuple[int, ...] = (), mask_age_ms: float = 0.0) -> ScreenSink:
    """What a sink holds after a source of 100 fps, each frame handed over `latency_ms` after its capture."""
    sink = ScreenSink(None)
    for seq in sorted({*range(frames)} - {*missing}):
        sink.seqs.append(seq)
        sink.captured_ns.append(10 * seq * MS)
        sink.shown_ns.append((10 * seq + latency_ms) * MS)
        sink.drawn_ns.append((10 * seq + latency_ms + 3) * MS)
        sink.cpu_ns.append(15 * seq * MS)
        sink.mask_age_ms.append(mask_age_ms)
    return sink


def figures(sink: ScreenSink, warm_up_s: float = 0.1) -> LiveRun:
    found = live_run("720p", SIZE, Fraction(100), sink, warm_up_s, STATS)
    assert found is not None
    return found


def test_warm_up_is_told_apart() -> None:
    found = figures(noted(60))
    assert found.frames_shown == 50 and found.warm_up_ms == (20.0,) * 10
    assert found.seconds == pytest.approx(0.49) and found.fps == pytest.approx(100.0)


def test_latency_drawing_processors_and_pipeline_are_those_noted() -> None:
    found = figures(noted(60))
    assert (found.glass_to_glass_ms.p50, found.glass_to_glass_ms.max) == (20.0, 20.0)
    assert (found.drawn_ms.p50, found.cpu_cores) == (3.0, 1.5)
    assert found.pipeline_ms == {"total": {"p50": 20.0}}
    assert sum(found.histogram.counts) == 50


def test_dropped_frames_are_missing_numbers_after_the_warm_up() -> None:
    found = figures(noted(60, missing=(3, 20, 21, 40)))
    assert (found.frames_shown, found.frames_dropped) == (47, 3)
    assert found.fps == pytest.approx(46 / 0.49, abs=0.01)


def test_a_dropped_frame_leaves_an_older_mask_on_screen() -> None:
    whole, gap = figures(noted(60)), figures(noted(60, missing=tuple(range(30, 40))))
    assert whole.mask_age_ms.max < 30.1
    assert gap.mask_age_ms.max > 125 and gap.glass_to_glass_ms.max == 20.0


def test_a_carried_mask_is_older_than_its_frame() -> None:
    assert figures(noted(60, mask_age_ms=500.0)).mask_age_ms.p50 == pytest.approx(525.0, abs=1.0)


@pytest.mark.parametrize("frames", [0, 1, 10, 11])
def test_a_run_that_ends_in_its_warm_up_has_no_figures(frames: int) -> None:
    assert live_run("720p", SIZE, None, noted(frames), 0.1, STATS) is None


def test_a_sink_notes_hand_over_drawing_and_masks() -> None:
    drawn: list[int] = []
    sink = ScreenSink(lambda result: drawn.append(result.frame.seq))
    mask = hull_mask(make_landmarks((80, 60), 60), SIZE)
    carried = HandMask(mask.crop, mask.origin_xy_px, SIZE, 1.0, MaskSource.CARRIED, age_ms=120.0)
    tracks = tuple(
        Track(k, TrackState.TRACKED, Handedness.RIGHT, 1.0, None, one)
        for k, one in ((1, mask), (2, carried), (3, None))
    )

    async def write() -> None:
        await sink.open(SourceInfo("test", True, SIZE, Fraction(1, 30)), None)
        await sink.write(FrameResult(make_frame(0, SIZE), tracks))
        await sink.write(FrameResult(make_frame(1, SIZE)))
        await sink.close()

    start_ns = now_ns()
    asyncio.run(write())
    assert drawn == sink.seqs == [0, 1]
    assert sink.mask_age_ms == [120.0, 0.0]
    assert (sink.masks, sink.carried) == (2, 1)
    assert start_ns <= sink.captured_ns[0] <= sink.shown_ns[0] <= sink.drawn_ns[0] <= sink.shown_ns[1]


def test_sources_are_counted_together() -> None:
    found = sources_run(FILE, [noted(60), noted(60, 40, missing=(50, 51))], LiveTimes(0.1, 0.5))
    assert found is not None and found.sources == 2
    assert found.fps_total == pytest.approx(100 + 47 / 0.49, abs=0.01)
    assert found.dropped_share == pytest.approx(2 / 100, abs=1e-4)
    assert (found.glass_to_glass_ms.count, found.glass_to_glass_ms.max) == (98, 40.0)
    assert set(found.glass_to_glass_ms.block_p50) <= {20.0, 30.0, 40.0}  # every block has both sources


def test_a_source_that_shows_nothing_has_lost_every_frame() -> None:
    found = sources_run(FILE, [noted(60), noted(0)], LiveTimes(0.1, 0.5))
    assert found is not None and found.fps == pytest.approx((100.0, 0.0))
    assert found.dropped_share == 0.5
    assert sources_run(FILE, [noted(0)], LiveTimes(0.1, 0.5)) is None
