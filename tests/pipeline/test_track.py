"""`track`: the same runs in plain synchronous code."""

import asyncio
import subprocess
import sys
import threading

import pytest

from gest_stream.build import track
from gest_stream.errors import SourceLostError
from gest_stream.testing import (
    ListSource,
    RecordingSink,
    grey_ramp,
)
from tests.pipeline.scripted import SIZE, closed, fake_tracker


def test_track_yields_every_result_without_an_event_loop_of_the_caller() -> None:
    results = list(track(ListSource(grey_ramp(40, SIZE)), tracker=fake_tracker()))
    assert [r.frame.seq for r in results] == list(range(40))


def test_track_gives_the_last_results_after_everything_was_closed() -> None:
    tracker, pause = fake_tracker(), threading.Event()
    results = track(ListSource(grey_ramp(4, SIZE)), tracker=tracker)
    seen = [next(results).frame.seq]
    for _ in range(1000):
        if closed(tracker):
            break
        pause.wait(0.01)
    assert closed(tracker)
    assert seen + [result.frame.seq for result in results] == [0, 1, 2, 3]


def test_track_works_inside_a_running_loop() -> None:
    async def go() -> int:
        return len(list(track(ListSource(grey_ramp(10, SIZE)), tracker=fake_tracker())))

    assert asyncio.run(go()) == 10


def test_track_left_early_finishes_the_sinks() -> None:
    sink = RecordingSink()
    for result in track(ListSource(grey_ramp(500, SIZE)), tracker=fake_tracker(), sinks=[sink]):
        if result.frame.seq == 4:
            break
    assert sink.closed == 1
    assert 4 < len(sink.results) < 100


def test_track_raises_what_ended_the_run() -> None:
    source = ListSource(grey_ramp(9, SIZE), error=SourceLostError("unplugged"))
    seen = []
    with pytest.raises(SourceLostError, match="unplugged"):
        for result in track(source, tracker=fake_tracker()):
            seen.append(result.frame.seq)
    assert seen == list(range(9))


def test_a_program_that_leaves_track_half_way_ends() -> None:
    code = """
from gest_stream.build import track
from gest_stream.testing import ListSource, ScriptedDetector, ScriptedSegmenter, grey_ramp
from gest_stream.tracking.tracker import TrackerCore
results = track(ListSource(grey_ramp(500)), tracker=TrackerCore(ScriptedDetector(lambda seq: []), ScriptedSegmenter()))
print(next(results).frame.seq)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr
