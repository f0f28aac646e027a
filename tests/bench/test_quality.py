"""Masks against the truth: overlap, outline, returns and ids."""

from __future__ import annotations

import numpy as np
import pytest

from gest_stream.bench.quality import boundary_f, frames_until_found, id_switches, returns_of, track_of
from gest_stream.bench.scored import Tally
from gest_stream.testing import make_landmarks
from gest_stream.types import Handedness, HandMask, MaskSource, Track, TrackState
from tests.bench.conftest import SIZE, truth_of


def track(track_id: int, mask: HandMask | None) -> Track:
    return Track(track_id, TrackState.TRACKED, Handedness.RIGHT, 0.9, None, mask)


def shifted(mask: HandMask, dx: int) -> HandMask:
    return HandMask.from_full(np.roll(mask.full(), dx, axis=1), 1.0, MaskSource.SCRIPTED)


def test_the_true_mask_scores_one_and_a_shifted_one_less() -> None:
    truth = truth_of().hand_mask
    assert boundary_f(truth, truth) == 1.0
    assert 0.0 < boundary_f(shifted(truth, 12), truth) < 0.9


def test_the_track_on_a_hand_is_the_one_whose_mask_overlaps_most() -> None:
    hand = truth_of()
    near, far = track(1, shifted(hand.hand_mask, 6)), track(2, shifted(hand.hand_mask, 80))
    assert track_of(hand, [far, near]) is near
    assert track_of(hand, [far]) is None


def test_landmarks_find_the_hand_where_no_mask_does() -> None:
    hand = truth_of()
    bare = Track(3, TrackState.TRACKED, Handedness.RIGHT, 0.9, make_landmarks((45, 60), 60))
    assert track_of(hand, [bare]) is bare


def test_a_return_follows_a_frame_out_of_view() -> None:
    assert returns_of([True, True, False, False, True, True, False, True]) == [4, 7]
    assert returns_of([False, True]) == [1] and returns_of([True]) == [] and returns_of([]) == []


def test_a_hand_is_found_again_when_a_mask_overlaps_it_by_half() -> None:
    best = [0.9, 0.0, 0.1, 0.4, 0.6, 0.0, 0.2, 0.3]
    assert frames_until_found([2, 6], best) == [2, None]
    assert frames_until_found([], best) == []


def test_ids_switch_where_they_change() -> None:
    assert id_switches({0: [1, 1, 2, 2, 1], 1: [3, 3]}) == {0: 2, 1: 0}


def test_a_tally_counts_masks_returns_and_ids() -> None:
    seen, covered = (truth_of(0), truth_of(1)), (truth_of(0), truth_of(1, 0.0))
    both = [track(1, seen[0].hand_mask), track(2, seen[1].hand_mask)]
    tally = Tally()
    tally.add(seen, both)
    tally.add(covered, both[:1])
    tally.add(seen, both[:1])  # it is back, and not yet found
    tally.add(seen, [both[0], track(5, seen[1].hand_mask)])  # found, under another id
    assert tally.figures(50.0) == {
        "hands": 7,
        "iou_mean": pytest.approx(6 / 7, abs=1e-4),
        "iou_p10": pytest.approx(0.6, abs=1e-4),
        "boundary_f_mean": pytest.approx(6 / 7, abs=1e-4),
        "masks_missing": 1,
        "returns": 1,
        "found_again": 1,
        "reacquisition_ms_median": 20.0,
        "reacquisition_ms_max": 20.0,
        "id_switches": 1,
    }


def test_a_hand_that_never_comes_back_has_no_delay() -> None:
    tally = Tally()
    for shown in (1.0, 0.0, 0.0):
        tally.add((truth_of(0, shown),), [])
    figures = tally.figures(50.0)
    assert (figures["returns"], figures["found_again"], figures["reacquisition_ms_median"]) == (0, 0, None)
    assert figures["iou_mean"] == 0.0 and SIZE == (160, 120)
