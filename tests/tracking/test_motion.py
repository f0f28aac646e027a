"""Where a hand is expected, and which hand it is held to be."""

from __future__ import annotations

import numpy as np
import pytest

from gest_stream.config import AssociationConfig
from gest_stream.tracking.handedness import HandednessVote
from gest_stream.tracking.motion import HandMotion, frame_steps
from gest_stream.types import Handedness
from tests.tracking.scenes import LEFT, RIGHT, hand

UNDAMPED = AssociationConfig(velocity_damping=1.0)


def moving(xs: list[float], config: AssociationConfig = UNDAMPED, steps: int = 1) -> HandMotion:
    motion = HandMotion(hand(xs[0]).points_xy_px, hand(xs[0]).palm_width_px, config)
    for x in xs[1:]:
        motion.see(hand(x), steps, jumped=False)
    return motion


def test_a_steady_hand_is_expected_where_it_arrives() -> None:
    np.testing.assert_allclose(moving([100, 110, 120]).predict(1), hand(130).points_xy_px, atol=1e-3)


def test_dropped_frames_are_reckoned_with() -> None:
    motion = moving([100, 130, 160], steps=3)
    np.testing.assert_allclose(motion.predict(2), hand(180).points_xy_px, atol=1e-3)


def test_a_missing_hand_goes_on_and_slows_down() -> None:
    motion = moving([100, 110, 120], AssociationConfig(velocity_damping=0.5))
    motion.miss(1)
    motion.miss(1)
    np.testing.assert_allclose(motion.predict(1), hand(120 + 10 + 5 + 2.5).points_xy_px, atol=1e-3)


def test_a_hand_seen_once_or_after_a_jump_is_expected_to_rest() -> None:
    motion = moving([100, 110, 120])
    motion.see(hand(400), 1, jumped=True)
    for resting, x in ((HandMotion(hand(100).points_xy_px, hand(100).palm_width_px, UNDAMPED), 100), (motion, 400)):
        np.testing.assert_allclose(resting.predict(1), hand(x).points_xy_px)


def test_velocity_is_smoothed() -> None:
    motion = moving([100, 110, 140], AssociationConfig(velocity_damping=1.0, velocity_gain=0.5))
    np.testing.assert_allclose(motion.predict(1), hand(140 + 20).points_xy_px, atol=1e-3)


def test_rescaling_scales_place_size_and_velocity() -> None:
    motion = moving([100, 110, 120])
    width = motion.palm_width_px
    motion.rescale((2.0, 2.0))
    np.testing.assert_allclose(motion.predict(1), hand(130).points_xy_px * 2, atol=1e-3)
    assert motion.palm_width_px == pytest.approx(2 * width)


@pytest.mark.parametrize(
    ("seq", "previous", "steps"), [(0, None, 1), (5, 4, 1), (7, 4, 3), (900, 4, 8), (0, 70, 1), (4, 4, 1)]
)
def test_steps_between_frames_are_bounded(seq: int, previous: int | None, steps: int) -> None:
    assert frame_steps(seq, previous) == steps


def test_the_vote_is_weighted_by_score() -> None:
    vote = HandednessVote()
    for side, score in ((LEFT, 0.9), (RIGHT, 0.4), (RIGHT, 0.4)):
        vote.add(hand(0, side=side, score=score))
    assert vote.winner is LEFT
    vote.add(hand(0, score=0.4))
    assert vote.winner is RIGHT


def test_the_vote_has_no_winner_before_an_opinion() -> None:
    vote = HandednessVote()
    vote.add(hand(0, label=Handedness.UNKNOWN))
    assert (vote.winner, vote.certainty) == (Handedness.UNKNOWN, 0.0)


def test_a_settled_hand_outlasts_a_run_of_wrong_labels_but_not_a_lasting_change() -> None:
    vote = HandednessVote()
    for _ in range(1000):
        vote.add(hand(0, score=1.0))
    for _ in range(29):
        vote.add(hand(0, side=LEFT, score=1.0))
    assert vote.winner is RIGHT
    for _ in range(2):
        vote.add(hand(0, side=LEFT, score=1.0))
    assert vote.winner is LEFT


def test_certainty_grows_to_one_over_three_sure_votes() -> None:
    vote = HandednessVote()
    grown = []
    for _ in range(4):
        vote.add(hand(0, score=1.0))
        grown.append(vote.certainty)
    assert grown == pytest.approx([1 / 3, 2 / 3, 1.0, 1.0])


def test_a_place_without_landmarks_tells_how_fast_the_hand_moves() -> None:
    motion = moving([100, 100])
    for x in (110, 120, 130):
        motion.miss(1)
        motion.move_to(np.array([x, 180], np.float32), jumped=False)
    middle = motion.predict(1).mean(axis=0)
    assert 135 < middle[0] <= 140
    motion.move_to(np.array([134, 180], np.float32), jumped=False)  # of the same frame: a correction
    assert motion.predict(1).mean(axis=0)[0] - middle[0] == pytest.approx(4, abs=0.01)
    motion.miss(1)
    motion.move_to(np.array([300, 180], np.float32), jumped=True)
    assert motion.predict(1).mean(axis=0)[0] == pytest.approx(300, abs=0.01)
