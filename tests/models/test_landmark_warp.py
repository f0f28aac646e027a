"""Places followed back in time by a hand's landmarks."""

from __future__ import annotations

import numpy as np

from gest_stream.models.landmark_warp import Similarity, bones_back
from gest_stream.testing import make_landmarks

THEN = make_landmarks((100, 100), 120).points_xy_px


def test_a_fit_finds_turn_growth_and_shift() -> None:
    there = Similarity(2j, 30 - 5j)
    found = Similarity.fit(THEN, there.move(THEN))
    assert np.allclose([found.turn, found.shift], [2j, 30 - 5j], atol=1e-3)


def test_a_way_and_its_inverse_lead_back() -> None:
    there = Similarity(0.5 + 0.5j, -7 + 9j)
    assert np.allclose(there.then(there.inverse()).move(THEN), THEN, atol=1e-3)


def test_points_that_are_all_one_give_a_shift() -> None:
    found = Similarity.fit(np.zeros((5, 2), np.float32), np.full((5, 2), 3.0, np.float32))
    assert (found.turn, found.shift) == (1, 3 + 3j)


def test_a_hand_that_moved_as_one_piece_is_followed_exactly() -> None:
    there = Similarity(0.9 + 0.3j, 40 + 10j)
    places = THEN + np.float32(3.0)
    back = bones_back(there.move(places), THEN, there.move(THEN))
    assert np.abs(back - places).max() < 0.01


def test_a_bent_finger_takes_along_what_is_beside_it_and_nothing_else() -> None:
    now = THEN.copy()
    now[6:9, 0] -= np.array([10, 22, 34], np.float32)  # the index finger leans to the side
    beside_tip, on_palm = now[8] + (0, 2), (now[0] + now[17]) / 2
    back = bones_back(np.stack([beside_tip, on_palm]).astype(np.float32), THEN, now)
    assert np.linalg.norm(back[0] - THEN[8]) < 6.0
    assert np.linalg.norm(back[1] - on_palm) < 6.0


def test_landmarks_on_one_spot_give_finite_places() -> None:
    spot = np.full((21, 2), 50.0, np.float32)
    assert np.isfinite(bones_back(THEN, spot, THEN)).all()
    assert np.isfinite(bones_back(THEN, THEN, spot)).all()
