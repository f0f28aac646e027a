"""Frames that are detected side by side: in order, in turn, and none is lost with a thread that fails."""

import asyncio
import threading
from collections.abc import Sequence

import pytest

from gest_stream.errors import ModelError
from gest_stream.pipeline import Pipeline
from gest_stream.pipeline.lanes import Lanes
from gest_stream.testing import ListSource, RecordingSink, ScriptedSegmenter, grey_ramp, make_landmarks
from gest_stream.tracking.detector_lanes import DetectorLanes
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, HandLandmarks


class Meeting:
    """A detector whose every call waits until as many are at work at once as there are lanes."""

    def __init__(self, barrier: threading.Barrier, seen: list[int], fails_at: int = -1) -> None:
        self._barrier, self._seen, self._fails_at = barrier, seen, fails_at
        self.closed = 0

    def detect(self, frame: Frame) -> tuple[HandLandmarks, ...]:
        self._seen.append(frame.seq)
        if frame.seq == self._fails_at:
            raise ModelError(f"failed on frame {frame.seq}")
        self._barrier.wait(20)
        return (make_landmarks((20.0 + frame.seq, 30.0), 30.0),)

    def close(self) -> None:
        self.closed += 1


def run(detectors: Sequence[Meeting], frames: int) -> list[tuple[int, float]]:
    """(seq, where the hand is) of every result, in the order in which they came."""
    came: list[tuple[int, float]] = []
    sink = RecordingSink(
        on_write=lambda r: came.append((r.frame.seq, float(r.tracks[0].landmarks.points_xy_px[:, 0].mean())))  # type: ignore[union-attr]
    )

    async def go() -> None:
        source = ListSource(grey_ramp(frames))
        tracker = TrackerCore(DetectorLanes(detectors), ScriptedSegmenter())
        async with Pipeline(source, lambda: tracker, [sink]) as pipeline:
            await pipeline.run()

    asyncio.run(go())
    return came


def test_two_frames_are_detected_side_by_side_and_results_come_in_order() -> None:
    barrier, seen = threading.Barrier(2), ([], [])  # type: ignore[var-annotated]
    detectors = [Meeting(barrier, mine) for mine in seen]
    came = run(detectors, 12)
    assert [seq for seq, _ in came] == list(range(12))
    middle = came[0][1]
    assert [x - middle for _, x in came] == pytest.approx([float(seq) for seq, _ in came], abs=0.01)
    assert seen == ([0, 2, 4, 6, 8, 10], [1, 3, 5, 7, 9, 11]), "each sees every second frame, whatever the timing"
    assert [detector.closed for detector in detectors] == [1, 1]


def test_a_detector_that_fails_ends_the_run_with_its_error() -> None:
    barrier = threading.Barrier(1)
    detectors = [Meeting(barrier, []), Meeting(barrier, [], fails_at=3)]
    with pytest.raises(ModelError, match="failed on frame 3"):
        run(detectors, 200)
    assert [detector.closed for detector in detectors] == [1, 1]


def test_a_live_run_begins_no_second_frame_while_the_segmenter_works() -> None:
    lanes = Lanes(2, live=True)
    assert lanes.begin(0)
    lanes.took()
    begun = threading.Event()

    def second() -> None:
        if lanes.begin(1):
            begun.set()

    with lanes.taker_busy():
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.05)
        assert not begun.is_set()
    thread.join(20)
    assert begun.is_set()


def test_the_second_lane_may_begin_where_nothing_is_under_way_whatever_the_segmenter_does() -> None:
    lanes = Lanes(2, live=True)
    assert lanes.begin(0)
    lanes.took()
    lanes.may_pass(0)
    lanes.passed()
    with lanes.taker_busy():
        assert lanes.begin(1)


def test_waiting_threads_return_at_the_end() -> None:
    lanes = Lanes(2, live=False)
    told: list[bool] = []
    thread = threading.Thread(target=lambda: told.append(lanes.begin(1)))
    thread.start()
    assert not lanes.leave(), "the other one is still there"
    thread.join(20)
    assert told == [False]
    assert lanes.leave()
