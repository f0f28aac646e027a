"""The real detector on a real clip: a person, not mirrored, both hands before her body."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from gest_stream.config import HandsConfig
from gest_stream.models.hands import MediaPipeHands
from gest_stream.types import Frame, Handedness

pytestmark = [pytest.mark.weights, pytest.mark.clips]

FRAMES = 210


@pytest.fixture(scope="module")
def frames(clips_folder: Path) -> list[Frame]:
    import av

    with av.open(str(clips_folder / "two_hands.mp4")) as container:
        return [
            Frame(
                np.asarray(picture.to_ndarray(format="rgb24"), np.uint8),
                picture.pts or 0,
                Fraction(picture.time_base or 0),
                0,
                seq,
            )
            for seq, picture in enumerate(container.decode(video=0))
        ]


def test_two_hands_are_found_on_95_percent_of_the_frames(frames: list[Frame], hand_model: Path) -> None:
    with MediaPipeHands(HandsConfig(), hand_model) as detector:
        counts = [len(detector.detect(frame)) for frame in frames]
    assert len(counts) == FRAMES
    assert counts.count(2) >= 0.95 * FRAMES
    assert 0 not in counts


def test_the_persons_right_hand_on_the_left_of_the_picture_is_called_right(
    frames: list[Frame], hand_model: Path
) -> None:
    with MediaPipeHands(HandsConfig(), hand_model) as detector:
        hands = [detector.detect(frame) for frame in frames[:5]][-1]
    left_of_picture, right_of_picture = sorted(hands, key=lambda hand: hand.points_px[0, 0])
    assert left_of_picture.handedness is Handedness.RIGHT
    assert right_of_picture.handedness is Handedness.LEFT
    assert min(hand.handedness_score for hand in hands) > 0.8


def test_mirrored_swaps_left_and_right_and_moves_no_landmark(frames: list[Frame], hand_model: Path) -> None:
    with MediaPipeHands(HandsConfig(), hand_model) as plain:
        expected = plain.detect(frames[0])
    with MediaPipeHands(HandsConfig(mirrored=True), hand_model) as mirrored:
        got = mirrored.detect(frames[0])
    assert {hand.handedness for hand in expected} == {Handedness.LEFT, Handedness.RIGHT}
    for a, b in zip(expected, got, strict=True):
        assert {a.handedness, b.handedness} == {Handedness.LEFT, Handedness.RIGHT}
        np.testing.assert_array_equal(a.points_px, b.points_px)


def test_landmarks_are_pixels_of_the_frame_and_metres_of_the_hand(frames: list[Frame], hand_model: Path) -> None:
    with MediaPipeHands(HandsConfig(), hand_model) as detector:
        hands = detector.detect(frames[0])
    for hand in hands:
        left, top, right, bottom = hand.box_xyxy_px
        assert 0 < left < right < frames[0].width and 0 < top < bottom < frames[0].height
        assert 150 < max(right - left, bottom - top) < 500
        assert hand.presence is None
        assert hand.points_world_m is not None
        span_m = np.linalg.norm(hand.points_world_m[0] - hand.points_world_m[9])  # wrist to middle base
        assert 0.05 < span_m < 0.13
        assert np.abs(hand.points_world_m.mean(axis=0)).max() < 0.06


def test_the_number_of_hands_is_bounded(frames: list[Frame], hand_model: Path) -> None:
    with MediaPipeHands(HandsConfig(max_hands=1), hand_model) as detector:
        assert len(detector.detect(frames[0])) == 1


def test_hands_are_found_again_when_the_picture_changes_size(frames: list[Frame], hand_model: Path) -> None:
    with MediaPipeHands(HandsConfig(), hand_model) as detector:
        for frame in frames[:2]:
            large = detector.detect(frame)
        for frame in frames[2:5]:
            half = Frame(np.ascontiguousarray(frame.image[::2, ::2]), frame.pts, frame.time_base, 0, frame.seq)
            small = detector.detect(half)
    assert len(large) == len(small) == 2
    for hand in small:
        nearest = min(np.linalg.norm(hand.points_px[0, :2] * 2 - other.points_px[0, :2]) for other in large)
        assert nearest < 60
