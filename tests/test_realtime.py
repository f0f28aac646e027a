"""A file played as a camera into a tracker that is too slow: the age of frames stays bounded, every drop is counted."""

import asyncio
import threading
from pathlib import Path

from gest_stream.config import TrackerConfig
from gest_stream.pipeline import Pipeline, RunStats
from gest_stream.sources.file import FileSource
from gest_stream.testing import RecordingSink, ScriptedDetector, ScriptedSegmenter, make_landmarks
from gest_stream.tracking.tracker import TrackerCore
from tests.media import Clip, make_clip

FRAMES, RATE = 45, 30
PERIOD_MS = 1000 / RATE
STEP_S = 0.1
SCHEDULING_MS = 50.0
"""What a loaded machine may add; a queue of frames would add a period for each."""


def test_a_slow_tracker_on_a_live_source_sees_fresh_frames_and_counts_the_rest(tmp_path: Path) -> None:
    make_clip(tmp_path / "clip.mp4", Clip(frames=FRAMES))
    never = threading.Event()

    def take_long(seq: int) -> None:
        never.wait(STEP_S)

    segmenter = ScriptedSegmenter(take_long)
    tracker = TrackerCore(ScriptedDetector(lambda seq: [make_landmarks((32, 24), 30)]), segmenter, TrackerConfig())
    sink = RecordingSink()

    async def run() -> RunStats:
        source = FileSource(tmp_path / "clip.mp4", realtime=True)
        async with Pipeline(source, lambda: tracker, [sink]) as pipeline:
            return await pipeline.run()

    stats = asyncio.run(run())
    assert stats.frames_read == FRAMES
    assert stats.frames_done + stats.frames_dropped == FRAMES
    assert stats.frames_done < FRAMES / 2, "the tracker was not slow enough to test anything"
    assert stats.input_ring.max_age_ms <= PERIOD_MS + SCHEDULING_MS
    # on the way to a result lie at most: the ring, one frame detected and waiting, and the step itself
    assert max(r.timings_ms["total"] for r in sink.results) <= PERIOD_MS + 2 * 1000 * STEP_S + 2 * SCHEDULING_MS
    assert len(sink.results) == stats.frames_done
