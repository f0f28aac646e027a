"""Several detectors as one."""

import pytest

from gest_stream.errors import InvalidInputError
from gest_stream.interfaces import LanedDetector
from gest_stream.testing import ScriptedDetector, make_frame, make_landmarks
from gest_stream.tracking.detector_lanes import DetectorLanes
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import Frame, HandLandmarks


def detector(at: float) -> ScriptedDetector:
    return ScriptedDetector(lambda seq: [make_landmarks((at, 20.0), 20.0)])


def middle(hands: tuple[HandLandmarks, ...]) -> float:
    return float(hands[0].points_xy_px[:, 0].mean())


def test_a_tracker_detects_in_the_lane_that_it_is_told_and_in_the_first_by_itself() -> None:
    lanes = DetectorLanes([detector(10.0), detector(40.0)])
    assert isinstance(lanes, LanedDetector)
    frame: Frame = make_frame()
    first, second = middle(lanes.detect_in(0, frame)), middle(lanes.detect_in(1, frame))
    assert second - first == pytest.approx(30.0)
    with TrackerCore(lanes, None) as tracker:
        assert tracker.lanes == 2
        assert middle(tracker.detect(frame, 1)) == second
        assert middle(tracker.detect(frame)) == middle(lanes.detect(frame)) == first


def test_a_plain_detector_is_one_lane() -> None:
    with TrackerCore(detector(10.0), None) as tracker:
        assert tracker.lanes == 1


def test_no_detector_at_all_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="expected one or more, got none"):
        DetectorLanes([])
