"""Do a mask and the landmarks describe the same hand?"""

from __future__ import annotations

import numpy as np
import pytest

from gest_stream.testing import hull_mask
from gest_stream.tracking.agreement import agreement
from gest_stream.types import HandMask, MaskSource
from tests.tracking.scenes import SIZE, hand


def filled(rows: slice, columns: slice) -> HandMask:
    alpha = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    alpha[rows, columns] = 255
    return HandMask.from_full(alpha, 0.9, MaskSource.SCRIPTED)


def test_the_hull_of_the_landmarks_agrees_with_them() -> None:
    landmarks = hand(320)
    assert (agreement(landmarks, hull_mask(landmarks, SIZE)) or 0.0) > 0.9


def test_a_mask_elsewhere_disagrees() -> None:
    assert agreement(hand(320), hull_mask(hand(500), SIZE)) == 0.0


def test_a_mask_that_covers_everything_disagrees() -> None:
    assert (agreement(hand(320), filled(slice(None), slice(None))) or 0.0) < 0.1


def test_a_mask_of_the_finger_tips_agrees_by_the_share_of_the_skeleton_it_holds() -> None:
    # Above y=180 lie 12 of the 21 landmarks and 11 of the 21 bones' middles of an upright hand around (320, 180).
    assert agreement(hand(320), filled(slice(130, 180), slice(290, 350))) == pytest.approx(23 / 42)


def test_an_empty_mask_disagrees() -> None:
    assert agreement(hand(320), filled(slice(0), slice(0))) == 0.0


def test_a_hand_mostly_outside_the_frame_cannot_be_judged() -> None:
    landmarks = hand(-15)
    assert agreement(landmarks, hull_mask(landmarks, SIZE)) is None


def test_a_hand_cut_by_the_border_is_judged_by_what_is_visible() -> None:
    landmarks = hand(10)
    assert (agreement(landmarks, hull_mask(landmarks, SIZE)) or 0.0) > 0.9
