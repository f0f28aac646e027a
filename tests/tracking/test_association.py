"""Who gets which detection."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gest_stream.config import AssociationConfig
from gest_stream.errors import ConfigError
from gest_stream.tracking.association import Candidate, Match, associate
from gest_stream.types import Handedness, HandLandmarks, HandMask, MaskSource
from tests.tracking.scenes import LEFT, RIGHT, SIZE, hand

CONFIG = AssociationConfig()
PALM = hand(0).palm_width_px


def expecting(landmarks: HandLandmarks, **changes: object) -> Candidate:
    """A settled track that expects to see `landmarks`."""
    settled = Candidate(
        np.stack([landmarks.points_xy_px] * 2),
        landmarks.palm_width_px,
        landmarks.handedness,
        1.0,
        tentative=False,
        lost=False,
        missed_frames=0,
        anywhere=False,
    )
    return replace(settled, **changes)  # type: ignore[arg-type]


def lost(landmarks: HandLandmarks, **changes: object) -> Candidate:
    return expecting(landmarks, **{"lost": True, "missed_frames": 10, "anywhere": True, **changes})


def mask_around(x: float, y: float = 180.0) -> HandMask:
    """A mask of a hand and a bit around it."""
    (left, top), size = (max(int(x) - 60, 0), int(y) - 60), 120
    return HandMask(np.full((size, size), 255, np.uint8), (left, top), SIZE, 0.9, MaskSource.CARRIED)


def pairs(detections: list[HandLandmarks], candidates: list[Candidate]) -> dict[int, int]:
    """Detection index by track index."""
    return {m.track: m.detection for m in associate(detections, candidates, CONFIG).matches}


def test_nothing_and_nobody_is_fine() -> None:
    empty = associate([], [], CONFIG)
    assert (empty.matches, empty.new, empty.missed, empty.ignored) == ((), (), (), ())
    assert associate([], [expecting(hand(10))], CONFIG).missed == (0,)
    assert associate([hand(10)], [], CONFIG).new == (0,)


def test_the_order_of_detections_does_not_matter() -> None:
    tracks = [expecting(hand(100, side=LEFT)), expecting(hand(300))]
    near, far = hand(104, side=LEFT), hand(296)
    assert pairs([near, far], tracks) == {0: 0, 1: 1}
    assert pairs([far, near], tracks) == {0: 1, 1: 0}


def test_beyond_the_gate_is_another_hand_and_the_gate_grows_with_missing_frames() -> None:
    detection = hand(100 + 1.6 * PALM, label=Handedness.UNKNOWN)
    found = associate([detection], [expecting(hand(100))], CONFIG)
    assert (found.matches, found.new, found.missed) == ((), (0,), (0,))
    assert pairs([detection], [expecting(hand(100), missed_frames=1)]) == {0: 0}
    beyond = hand(100 + 4.1 * PALM, label=Handedness.UNKNOWN)
    assert pairs([beyond], [expecting(hand(100), missed_frames=59)]) == {}


def test_the_gate_is_measured_in_hands_not_in_pixels() -> None:
    apart = 100
    assert pairs([hand(100 + apart, size_px=80)], [expecting(hand(100, size_px=80))]) == {}
    assert pairs([hand(100 + apart, size_px=300)], [expecting(hand(100, size_px=300))]) == {0: 0}


def test_clear_geometry_beats_wrong_handedness() -> None:
    tracks = [expecting(hand(100, side=LEFT)), expecting(hand(100 + PALM))]
    wrong = [hand(100, side=LEFT, label=RIGHT, score=1.0), hand(100 + PALM, label=LEFT, score=1.0)]
    assert pairs(wrong, tracks) == {0: 0, 1: 1}


def test_handedness_decides_between_hands_on_top_of_each_other() -> None:
    here, beside = hand(100), hand(100 + 0.28 * PALM)
    between = [hand(100 + share * 0.28 * PALM) for share in (0.0, 1.0)]
    tracks = [expecting(here, handedness=RIGHT), expecting(beside, handedness=LEFT)]
    labelled = [HandLandmarks(h.points_px, None, side, 1.0) for h, side in zip(between, (LEFT, RIGHT), strict=True)]
    assert pairs(labelled, tracks) == {0: 1, 1: 0}
    doubtful = [HandLandmarks(h.points_px, None, side, 0.3) for h, side in zip(between, (LEFT, RIGHT), strict=True)]
    assert pairs(doubtful, tracks) == {0: 0, 1: 1}


def test_a_present_hand_does_not_move_over_for_a_new_one() -> None:
    tracks = [expecting(hand(100)), expecting(hand(100 - 1.3 * PALM), missed_frames=4)]
    found = associate([hand(100), hand(100 + 1.4 * PALM)], tracks, CONFIG)
    assert [(m.track, m.detection) for m in found.matches] == [(0, 0)]
    assert found.new == (1,)


def test_between_two_hands_equally_near_the_present_one_goes_first() -> None:
    between = hand(200, label=Handedness.UNKNOWN)
    for missing_first in (True, False):
        tracks = [expecting(hand(190), missed_frames=2), expecting(hand(210))]
        assert pairs([between], tracks if missing_first else tracks[::-1]) == {1 if missing_first else 0: 0}


def test_of_two_reports_of_one_hand_the_surer_one_stays() -> None:
    found = associate([hand(100, score=0.6), hand(101, score=0.9)], [expecting(hand(100))], CONFIG)
    assert found.matches == (Match(1, 0),)
    assert (found.new, found.ignored) == ((), (0,))


def test_a_repeat_of_a_hand_does_not_wake_the_missing_hand_beside_it() -> None:
    tracks = [expecting(hand(100)), expecting(hand(100 + PALM, side=LEFT), missed_frames=3)]
    found = associate([hand(100), hand(102)], tracks, CONFIG)
    assert [match.track for match in found.matches] == [0]
    assert found.missed == (1,)


def test_a_mirrored_repeat_of_a_known_hand_opens_no_track() -> None:
    found = associate([hand(100), hand(100, side=LEFT)], [expecting(hand(100))], CONFIG)
    assert found.matches == (Match(0, 0),)
    assert (found.new, found.ignored) == ((), (1,))


def test_new_hands_come_surest_first() -> None:
    found = associate([hand(100, score=0.6), hand(300, presence=0.95), hand(500, score=0.8)], [], CONFIG)
    assert found.new == (1, 2, 0)


def test_the_only_missing_left_hand_is_recognised_wherever_it_returns() -> None:
    tracks = [expecting(hand(300)), lost(hand(20, side=LEFT))]
    found = associate([hand(300), hand(620, side=LEFT)], tracks, CONFIG)
    assert found.matches == (Match(0, 0), Match(1, 1, relocated=True))


@pytest.mark.parametrize(
    ("returning", "tracks"),
    [
        pytest.param([hand(620)], [lost(hand(20, side=LEFT))], id="the other hand"),
        pytest.param([hand(620, side=LEFT, score=0.6)], [lost(hand(20, side=LEFT))], id="unsure which hand"),
        pytest.param([hand(620, label=Handedness.UNKNOWN)], [lost(hand(20, side=LEFT))], id="unknown hand"),
        pytest.param(
            [hand(620, side=LEFT)], [lost(hand(20, side=LEFT)), lost(hand(300, side=LEFT))], id="two are missing"
        ),
        pytest.param([hand(620, side=LEFT), hand(400, side=LEFT)], [lost(hand(20, side=LEFT))], id="two return"),
        pytest.param(
            [hand(620, side=LEFT), hand(400, side=LEFT, score=0.6)], [lost(hand(20, side=LEFT))], id="two may return"
        ),
        pytest.param([hand(620, side=LEFT)], [lost(hand(20, side=LEFT), handedness_certainty=0.3)], id="unsettled"),
        pytest.param([hand(500, side=LEFT, size_px=240)], [lost(hand(20, side=LEFT))], id="three times the size"),
        pytest.param([hand(620, side=LEFT)], [lost(hand(20, side=LEFT), anywhere=False)], id="missing too shortly"),
        pytest.param([hand(20)], [lost(hand(20, side=LEFT))], id="the other hand in its place"),
    ],
)
def test_no_other_hand_gets_a_lost_hands_id(returning: list[HandLandmarks], tracks: list[Candidate]) -> None:
    assert associate(returning, tracks, CONFIG).matches == ()


def test_a_lost_hand_is_recognised_where_it_was_last_seen() -> None:
    gone, here = hand(600), hand(100, label=Handedness.UNKNOWN)
    both = np.stack([gone.points_xy_px, here.points_xy_px])
    assert pairs([here], [lost(gone, hypotheses_px=both)]) == {0: 0}


def test_a_returning_hand_is_taken_from_the_tentative_track_that_it_opened() -> None:
    tracks = [lost(hand(20, side=LEFT)), expecting(hand(620, side=LEFT), tentative=True)]
    found = associate([hand(620, side=LEFT)], tracks, CONFIG)
    assert found.matches == (Match(0, 0, relocated=True),)
    assert found.missed == (1,)

    assert found.absorbed == (1,)


def test_where_as_many_hands_are_known_as_can_be_found_the_missing_one_is_back_whatever_it_is_called() -> None:
    tracks = [expecting(hand(300)), lost(hand(20, side=LEFT))]
    seen = [hand(300), hand(620)]
    assert associate(seen, tracks, CONFIG).new == (1,)
    assert associate(seen, tracks, CONFIG, most_hands=3).new == (1,)
    assert associate(seen, tracks, CONFIG, most_hands=2).matches == (Match(0, 0), Match(1, 1, relocated=True))


def test_it_is_taken_from_the_tentative_track_that_it_opened_whatever_it_is_called() -> None:
    tracks = [expecting(hand(300)), lost(hand(20, side=LEFT)), expecting(hand(620), tentative=True)]
    found = associate([hand(300), hand(620)], tracks, CONFIG, most_hands=2)
    assert found.matches == (Match(0, 0), Match(1, 1, relocated=True))
    assert found.missed == found.absorbed == (2,)


@pytest.mark.parametrize(
    ("returning", "tracks"),
    [
        pytest.param([hand(620)], [lost(hand(20, side=LEFT)), lost(hand(300, side=LEFT))], id="two are missing"),
        pytest.param([hand(620), hand(420)], [lost(hand(20, side=LEFT)), expecting(hand(300))], id="two turn up"),
        pytest.param([hand(620)], [lost(hand(20, side=LEFT))], id="one hand was never seen"),
        pytest.param(
            [hand(300), hand(620)],
            [lost(hand(20, side=LEFT), anywhere=False), expecting(hand(300))],
            id="missing too shortly",
        ),
        pytest.param(
            [hand(300), hand(560, size_px=240)], [lost(hand(20, side=LEFT)), expecting(hand(300))], id="thrice the size"
        ),
        pytest.param(
            [hand(300), hand(620)],
            [lost(hand(20, side=LEFT), carried=mask_around(20)), expecting(hand(300))],
            id="its mask is elsewhere",
        ),
    ],
)
def test_no_other_hand_is_taken_for_the_missing_one(returning: list[HandLandmarks], tracks: list[Candidate]) -> None:
    matches = associate(returning, tracks, CONFIG, most_hands=2).matches
    assert all(not tracks[match.track].lost for match in matches)


def test_a_detection_outside_a_carried_mask_goes_to_the_other_missing_hand_first() -> None:
    nearer, other = lost(hand(100), carried=mask_around(500)), lost(hand(100 + 0.9 * PALM))
    between = hand(100 + 0.3 * PALM)
    assert pairs([between], [replace(nearer, carried=None), other]) == {0: 0}
    assert pairs([between], [replace(nearer, carried=mask_around(100 + 0.3 * PALM)), other]) == {0: 0}
    assert pairs([between], [nearer, other]) == {1: 0}
    assert pairs([between], [nearer]) == {0: 0}  # a mask may have gone astray


def test_a_hand_that_just_went_missing_leaves_a_detection_that_is_surely_the_other_to_the_other() -> None:
    near, far = hand(100, side=LEFT), hand(100 + 1.2 * PALM)
    detection = hand(100 + 0.2 * PALM, side=LEFT, label=RIGHT)
    missing = {"missed_frames": 2}
    assert pairs([detection], [expecting(near, **missing), expecting(far, **missing)]) == {0: 0}
    assert pairs([detection], [expecting(near, anywhere=True, **missing), expecting(far, **missing)]) == {1: 0}


@pytest.mark.parametrize(
    "wrong",
    [
        {"gate_hands": 0.0},
        {"gate_growth_hands": -1.0},
        {"max_gate_hands": 1.0},
        {"velocity_gain": 0.0},
        {"velocity_damping": 1.1},
        {"handedness_hands": -0.1},
        {"sure_handedness": 2.0},
        {"relocate_after_frames": 0},
        {"duplicate_hands": -1.0},
        {"clearance_hands": -1.0},
    ],
)
def test_settings_out_of_range_name_themselves(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"association.{next(iter(wrong))}"):
        replace(CONFIG, **wrong)  # type: ignore[arg-type]


def test_landmarks_outside_a_mask_in_which_the_redetector_saw_the_hand_are_another_hand() -> None:
    near, carried = hand(140, side=LEFT), mask_around(500)
    held = expecting(hand(100, side=LEFT), missed_frames=6, carried=carried)
    assert pairs([near], [held]) == {0: 0}
    assert pairs([near], [replace(held, confirmed=True)]) == {}
    assert pairs([near], [replace(held, confirmed=True, carried=mask_around(140))]) == {0: 0}
    returning, gone = hand(620, side=LEFT), lost(hand(100, side=LEFT), carried=carried)
    assert associate([returning], [gone], CONFIG).matches == (Match(0, 0, relocated=True),)
    assert associate([returning], [replace(gone, confirmed=True)], CONFIG).matches == ()


MISSING = {"missed_frames": 8, "missing": True}


@pytest.mark.parametrize("more", [{}, {"anywhere": True}])
def test_a_second_report_of_a_hand_is_not_the_missing_one_elsewhere(more: dict[str, object]) -> None:
    seen, repeat = hand(300, presence=0.9), hand(312, 190, side=LEFT, presence=0.8)
    assert associate([seen, repeat], [], CONFIG).ignored == (1,)
    tracks = [expecting(hand(298)), expecting(hand(300 + 2 * PALM, side=LEFT), **MISSING, **more)]
    assert pairs([seen, repeat], tracks) == {0: 0}


@pytest.mark.parametrize("place", [-1.0, -0.8, 1.0])
@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_nor_does_it_take_the_hand_so_that_the_first_report_is_the_missing_one(place: float, side: Handedness) -> None:
    reports = [hand(300, presence=0.9), hand(300 + 0.35 * PALM, side=LEFT, presence=0.8)]
    tracks = [expecting(hand(298)), expecting(hand(300 + place * PALM, side=side), **MISSING)]
    assert pairs(reports, tracks) == {0: 0}


def test_only_what_lies_at_a_report_that_stands_for_itself_is_a_second_one() -> None:
    chain = [hand(300 + k * 0.45 * PALM, presence=0.9 - 0.1 * k) for k in range(3)]
    tracks = [expecting(hand(300)), expecting(hand(300 + 1.6 * PALM), **MISSING)]
    assert pairs(chain, tracks) == {0: 0, 1: 2}


def test_a_hand_that_was_just_seen_is_not_missing_for_frames_that_were_dropped() -> None:
    near, behind = hand(300, presence=0.9), hand(300 + 0.4 * PALM, side=LEFT, presence=0.8)
    tracks = [expecting(hand(300)), expecting(hand(300 + PALM, side=LEFT), missed_frames=1)]
    assert pairs([near, behind], tracks) == {0: 0, 1: 1}


def test_a_second_hand_behind_another_is_the_missing_one_that_is_expected_there() -> None:
    tracks = [expecting(hand(298)), expecting(hand(310, 190, side=LEFT), **MISSING)]
    assert pairs([hand(300, presence=0.9), hand(312, 190, side=LEFT, presence=0.8)], tracks) == {0: 0, 1: 1}
