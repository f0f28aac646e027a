"""Two hands that cross keep their ids, whatever the detector does meanwhile."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gest_stream.types import HandLandmarks, Track
from tests.tracking.scenes import LEFT, RIGHT, by_id, center_x, hand, jittered, track_all

_HAND_PX = 80.0
_MIDDLE = np.array([320.0, 180.0])


class Crossing:
    """A right hand from the left and a left hand that meets it at an angle, both at `speed` pixels a frame."""

    def __init__(self, speed: float, angle: float, offset_px: float = 0.0) -> None:
        self.half = max(math.ceil(300 / speed), 10)
        self.frames = 2 * self.half
        self._speeds = np.array([[1.0, 0.0], [-math.cos(angle), -math.sin(angle)]]) * speed
        self._starts = np.stack([_MIDDLE, _MIDDLE + (0.0, offset_px)]) - self._speeds * self.half

    def at(self, seq: int, which: int) -> tuple[float, float]:
        x, y = self._starts[which] + self._speeds[which] * seq
        return float(x), float(y)

    def near(self, seq: int, frames: int) -> bool:
        """Is `seq` one of the `frames` frames about the crossing?"""
        return -frames // 2 <= seq - self.half < frames - frames // 2

    def whose(self, track: Track, seq: int) -> int:
        """Which of the two hands the track's landmarks are on."""
        assert track.landmarks is not None
        middle = track.landmarks.points_xy_px.mean(axis=0)
        return int(np.argmin([np.linalg.norm(middle - self.at(seq, which)) for which in (0, 1)]))


def crossed(
    crossing: Crossing, seed: int = 0, sigma_px: float = 0.8, missing: int = 0, wrong: int = 0, both_wrong: bool = False
) -> bool:
    """Do both hands end with the id they began with, and is there no third id?"""
    rng = np.random.default_rng(seed)

    def script(seq: int) -> list[HandLandmarks]:
        hands = []
        for which, side in enumerate((RIGHT, LEFT)):
            mislabelled = crossing.near(seq, wrong) and (which == 0 or both_wrong)
            label = {RIGHT: LEFT, LEFT: RIGHT}[side] if mislabelled else side
            x, y = crossing.at(seq, which)
            if not (which == 1 and crossing.near(seq, missing)):
                hands.append(jittered(hand(x, y, side, 0.95, _HAND_PX, label), rng, sigma_px))
        return hands if rng.random() < 0.5 else hands[::-1]

    results = track_all(script, crossing.frames)
    assert {track.id for result in results for track in result.tracks} == {1, 2}
    first = {i: crossing.whose(track, 0) for i, track in by_id(results[0]).items()}
    last = {i: crossing.whose(track, crossing.frames - 1) for i, track in by_id(results[-1]).items()}
    assert set(first.values()) == {0, 1}
    return first == last


@pytest.mark.parametrize("speed", [3.0, 8.0, 15.0, 30.0, 50.0])
@pytest.mark.parametrize("angle", [0.0, 0.5, 1.2])
@pytest.mark.parametrize("offset_px", [0.0, 15.0])
def test_crossing_hands_keep_their_ids_at_any_speed_and_angle(speed: float, angle: float, offset_px: float) -> None:
    assert crossed(Crossing(speed, angle, offset_px))


@pytest.mark.parametrize("speed", [3.0, 8.0, 15.0, 30.0])
@pytest.mark.parametrize("missing", [1, 3, 6, 10])
def test_a_hand_that_is_lost_while_crossing_keeps_its_id(speed: float, missing: int) -> None:
    assert crossed(Crossing(speed, 0.3), missing=missing)


@pytest.mark.parametrize("speed", [3.0, 8.0, 15.0, 30.0])
@pytest.mark.parametrize("both_wrong", [False, True])
def test_wrong_handedness_for_three_frames_of_the_crossing_swaps_no_ids(speed: float, both_wrong: bool) -> None:
    assert crossed(Crossing(speed, 0.3), wrong=3, both_wrong=both_wrong)


@pytest.mark.parametrize("seed", range(5))
def test_everything_at_once_swaps_no_ids(seed: int) -> None:
    assert crossed(Crossing(12.0, 0.4, 10.0), seed, sigma_px=1.6, missing=6, wrong=3)


def test_crossing_hands_keep_their_handedness() -> None:
    crossing = Crossing(10.0, 0.0)

    def script(seq: int) -> list[HandLandmarks]:
        sides = (LEFT, RIGHT) if crossing.near(seq, 3) else (RIGHT, LEFT)
        return [
            hand(*crossing.at(seq, which), side, 0.95, _HAND_PX, label)
            for which, (side, label) in enumerate(zip((RIGHT, LEFT), sides, strict=True))
        ]

    results = track_all(script, crossing.frames)
    first, last = by_id(results[0]), by_id(results[-1])
    assert {i: t.handedness for i, t in first.items()} == {i: t.handedness for i, t in last.items()}
    for i, track in first.items():
        assert (center_x(track) < 320) is (center_x(last[i]) > 320)
