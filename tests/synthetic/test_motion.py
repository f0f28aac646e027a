import numpy as np
import pytest

from gest_stream.synthetic import ClipConfig, Event, EventKind, preset
from gest_stream.synthetic.motion import HandMotion


def motions(config: ClipConfig) -> list[HandMotion]:
    return [HandMotion(config, index, np.random.default_rng(index)) for index in range(config.hands)]


def test_the_first_hand_is_on_the_left_of_the_picture_and_the_second_on_the_right() -> None:
    for seed in range(5):
        left, right = (HandMotion(ClipConfig(), k, np.random.default_rng(seed)) for k in range(2))
        for time_s in np.linspace(0, 8, 9):
            assert left.at(time_s).palm_xy_px[0] < 320 < right.at(time_s).palm_xy_px[0]


def test_hands_pass_each_other_in_a_crossing_and_come_back() -> None:
    first, second = motions(ClipConfig(events=(Event(EventKind.CROSS, 1.0, 2.0),)))
    order = [first.at(t).palm_xy_px[0] < second.at(t).palm_xy_px[0] for t in (0.9, 2.0, 3.1)]
    assert order == [True, False, True]


def test_a_hand_that_leaves_is_outside_in_the_middle_and_back_at_the_end() -> None:
    config = ClipConfig(events=(Event(EventKind.LEAVE, 1.0, 2.0, hand=1),))
    stays, leaves = motions(config)
    assert [leaves.at(t).palm_xy_px[1] > 480 for t in (0.9, 2.0, 3.1)] == [False, True, False]
    assert stays.at(2.0).palm_xy_px[1] < 480


def test_a_hand_that_returns_elsewhere_leaves_on_the_left_and_comes_back_on_the_right() -> None:
    config = ClipConfig(hands=1, events=(Event(EventKind.LEAVE, 1.0, 2.0, elsewhere=True),))
    (hand,) = motions(config)
    assert max(hand.at(t).palm_xy_px[0] for t in (0.0, 0.9, 1.2)) < 260
    assert hand.at(2.0).palm_xy_px[1] > 480
    assert min(hand.at(t).palm_xy_px[0] for t in (2.6, 3.1, 5.0)) > 380


def test_a_swipe_is_many_times_faster_than_ordinary_motion() -> None:
    config = ClipConfig(events=(Event(EventKind.SWIPE, 2.0, 1.0),))
    hand, _ = motions(config)

    def speed(time_s: float) -> float:
        return float(np.linalg.norm(hand.at(time_s + 0.01).palm_xy_px - hand.at(time_s - 0.01).palm_xy_px) / 0.02)

    fast = max(speed(t) for t in np.linspace(2.2, 2.8, 25))
    ordinary = max(speed(t) for t in np.linspace(3.2, 6.0, 25))
    assert fast > 3 * ordinary


@pytest.mark.parametrize("name", ["demo", "crossing", "leave_return", "blur"])
def test_motion_has_no_jumps(name: str) -> None:
    config = preset(name)
    for hand in motions(config):
        states = [hand.at(t) for t in np.arange(0, config.duration_s, 1 / 120)]
        steps = np.diff([s.palm_xy_px for s in states], axis=0)
        turns = np.diff([s.pose.angles_deg for s in states], axis=0)
        assert np.abs(steps).max() < 14 and np.abs(np.diff(steps, axis=0)).max() < 1.5
        assert np.abs(turns).max() < 6


def test_rotations_are_rotations() -> None:
    hand, _ = motions(preset("easy"))
    for time_s in (0.0, 1.3, 2.7):
        rotation = hand.at(time_s).rotation
        assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-5)
        assert np.linalg.det(rotation) == pytest.approx(1.0, abs=1e-5)
