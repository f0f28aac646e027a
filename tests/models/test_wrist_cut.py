"""A mask ends at the wrist: the forearm goes, the hand stays."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gest_stream.models.hand_shape import scale_px_per_cm
from gest_stream.models.wrist_cut import WristModel, cut_at_wrist
from gest_stream.testing import hull_mask, make_landmarks
from gest_stream.types import HandLandmarks, HandMask, MaskSource

SIZE = (480, 400)
MODEL = WristModel()


def upright(x: float = 240.0, y: float = 150.0) -> HandLandmarks:
    return make_landmarks((x, y), 180.0)


def turned(landmarks: HandLandmarks, degrees: float, about: tuple[float, float] = (240.0, 200.0)) -> HandLandmarks:
    """The hand turned clockwise about a point, as the picture shows it."""
    points, angle = landmarks.points_px.copy(), np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    points[:, :2] = (points[:, :2] - about) @ turn.T + np.array(about, np.float32)
    return HandLandmarks(points.astype(np.float32))


def frame_of(landmarks: HandLandmarks) -> tuple[NDArray[np.float32], NDArray[np.float32], float]:
    """The wrist, the unit vector from it towards the elbow, and how many pixels a centimetre is."""
    points = landmarks.points_xy_px
    back = points[0] - points[[5, 9, 13, 17]].mean(axis=0)
    return points[0], np.asarray(back / np.linalg.norm(back), np.float32), scale_px_per_cm(landmarks)


def hand_alpha(landmarks: HandLandmarks) -> NDArray[np.uint8]:
    return hull_mask(landmarks, SIZE).full()


def strip(
    landmarks: HandLandmarks, from_cm: float, to_cm: float, half_cm: float = 2.5, beside_cm: float = 0.0
) -> NDArray[np.uint8]:
    """A rectangle along the arm's middle line, distances from the wrist towards the elbow."""
    wrist, back, unit = frame_of(landmarks)
    across = np.array([-back[1], back[0]])
    corners = [
        wrist + unit * (along * back + (beside_cm + side) * across)
        for along, side in ((from_cm, -half_cm), (to_cm, -half_cm), (to_cm, half_cm), (from_cm, half_cm))
    ]
    alpha = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    cv2.fillConvexPoly(alpha, np.rint(np.array(corners) * 16).astype(np.int32), 255, cv2.LINE_AA, 4)
    return alpha


def mask_of(*alphas: NDArray[np.uint8]) -> HandMask:
    return HandMask.from_full(np.maximum.reduce(alphas), 0.6, MaskSource.SCRIPTED)


def area(alpha: NDArray[np.uint8]) -> int:
    return int((alpha >= 128).sum())


@pytest.mark.parametrize("degrees", [0.0, 35.0, 90.0, 140.0, 200.0, 300.0])
def test_the_forearm_goes_and_the_hand_stays_whole(degrees: float) -> None:
    landmarks = turned(upright(), degrees)
    hand = hand_alpha(landmarks)
    cut = cut_at_wrist(mask_of(hand, strip(landmarks, -2.0, 8.0)), landmarks).full()
    assert (cut[hand > 0] == hand[hand > 0]).all()
    assert (cut[strip(landmarks, MODEL.cut_cm + 0.3, 12.0, half_cm=9.0) > 0] == 0).all()
    # what lies between wrist and palm is hand, too
    assert (cut[strip(landmarks, -1.5, -0.2, half_cm=2.0) == 255] == 255).all()


@pytest.mark.parametrize("shift", [0.0, 0.2, 0.45, 0.7, 0.9])
def test_the_edge_of_the_cut_is_soft_over_one_pixel_where_the_model_says(shift: float) -> None:
    landmarks = upright(y=150.0 + shift)
    wrist, _, unit = frame_of(landmarks)
    cut = cut_at_wrist(mask_of(hand_alpha(landmarks), strip(landmarks, -2.0, 8.0)), landmarks).full()
    first = round(float(wrist[1])) - 10
    below = cut[first:, round(float(wrist[0]))].astype(float)
    # a pixel's middle is its coordinate: whole rows and the soft one's share end half a pixel beyond the edge
    edge = first + below.sum() / 255.0 - 0.5
    slant = abs(round(float(wrist[0])) - float(wrist[0])) * 0.12
    assert edge == pytest.approx(float(wrist[1]) + MODEL.cut_cm * unit, abs=0.02 + slant)
    assert np.count_nonzero((below > 0) & (below < 255)) <= 2


def test_the_crop_is_trimmed_and_all_else_is_kept() -> None:
    landmarks = turned(upright(), 180.0)
    hand = hand_alpha(landmarks)
    mask = mask_of(hand, strip(landmarks, -2.0, 8.0))
    before = mask.crop.copy()
    cut = cut_at_wrist(mask, landmarks)
    assert cut.crop.shape[0] < mask.crop.shape[0] - 40
    assert cut.origin_xy_px[1] > mask.origin_xy_px[1] + 40
    assert cut.crop[0].any() and cut.crop[-1].any() and cut.crop[:, 0].any() and cut.crop[:, -1].any()
    assert (cut.frame_size, cut.score, cut.source) == (SIZE, 0.6, MaskSource.SCRIPTED)
    np.testing.assert_array_equal(mask.crop, before)


def test_a_hand_without_forearm_comes_back_as_it_is() -> None:
    for degrees in (0.0, 70.0, 250.0):
        landmarks = turned(upright(), degrees)
        mask = mask_of(hand_alpha(landmarks))
        assert cut_at_wrist(mask, landmarks) is mask


def test_nothing_is_cut_where_the_palm_is_seen_along_its_length() -> None:
    landmarks = upright()
    mask = mask_of(hand_alpha(landmarks), strip(landmarks, -2.0, 8.0))
    points = landmarks.points_px.copy()
    points[:, 1] = points[0, 1] + 0.1 * (points[:, 1] - points[0, 1])
    assert cut_at_wrist(mask, HandLandmarks(points)) is mask
    assert cut_at_wrist(mask, landmarks) is not mask


def test_a_forearm_that_a_watch_cuts_off_goes_too() -> None:
    landmarks = turned(upright(), 20.0)
    hand, arm = hand_alpha(landmarks), strip(landmarks, 3.0, 8.0)
    cut = cut_at_wrist(mask_of(hand, arm), landmarks).full()
    assert area(cut) == area(hand)
    assert not cut[arm > 0].any()


def test_a_sliver_of_the_forearm_that_shows_behind_something_goes_too() -> None:
    landmarks = upright()
    hand, sliver = hand_alpha(landmarks), strip(landmarks, 4.0, 8.0, half_cm=0.5, beside_cm=4.0)
    cut = cut_at_wrist(mask_of(hand, sliver), landmarks).full()
    assert area(cut) == area(hand)


def test_what_lies_beyond_the_line_but_beside_the_arm_stays() -> None:
    landmarks = upright()
    beside = strip(landmarks, 1.0, 3.0, half_cm=1.0, beside_cm=6.0)
    cut = cut_at_wrist(mask_of(hand_alpha(landmarks), strip(landmarks, -2.0, 8.0), beside), landmarks).full()
    np.testing.assert_array_equal(cut[beside > 0], beside[beside > 0])
    assert not cut[strip(landmarks, 1.0, 8.0) > 0].any()


def test_where_only_something_beside_the_arm_lies_beyond_the_line_the_mask_itself_comes_back() -> None:
    landmarks = upright()
    mask = mask_of(hand_alpha(landmarks), strip(landmarks, 1.0, 3.0, half_cm=1.0, beside_cm=6.0))
    assert cut_at_wrist(mask, landmarks) is mask


def bent_back(landmarks: HandLandmarks, beside_cm: float) -> HandLandmarks:
    """The little finger reaches behind the wrist, `beside_cm` from the arm's middle line."""
    wrist, back, unit = frame_of(landmarks)
    across = np.array([-back[1], back[0]], np.float32)
    points = landmarks.points_px.copy()
    for joint, along_cm in zip((18, 19, 20), (-2.0, 1.0, 3.5), strict=True):
        points[joint, :2] = wrist + unit * (along_cm * back + beside_cm * across)
    return HandLandmarks(points)


def test_a_finger_behind_the_wrist_and_beside_the_arm_stays_as_it_is() -> None:
    landmarks = bent_back(upright(), 5.0)
    # thicker than its bones say
    finger = strip(landmarks, -4.0, 4.5, half_cm=1.5, beside_cm=5.0)
    cut = cut_at_wrist(mask_of(hand_alpha(upright()), strip(landmarks, -2.0, 8.0), finger), landmarks).full()
    np.testing.assert_array_equal(cut[finger == 255], 255)
    assert not cut[strip(landmarks, 1.0, 8.0) > 0].any()


def test_a_finger_before_the_arm_stays_as_thick_as_its_bones() -> None:
    landmarks = bent_back(upright(), 1.5)
    cut = cut_at_wrist(mask_of(hand_alpha(upright()), strip(landmarks, -2.0, 8.0)), landmarks).full()
    assert (cut[strip(landmarks, 0.5, 3.5, half_cm=0.5, beside_cm=1.5) == 255] == 255).all()
    assert not cut[strip(landmarks, 1.0, 8.0, half_cm=0.8, beside_cm=-1.5) > 0].any()
    assert not cut[strip(landmarks, 5.0, 8.0) > 0].any()


@pytest.mark.parametrize("bend", [-50.0, 50.0])
def test_where_the_wrist_is_bent_the_line_halves_the_angle(bend: float) -> None:
    landmarks = upright()
    wrist, _, _ = frame_of(landmarks)
    about = (float(wrist[0]), float(wrist[1]))
    arm = strip(turned(landmarks, bend, about), 0.0, 8.0)
    cut = cut_at_wrist(mask_of(hand_alpha(landmarks), arm), landmarks).full()
    halved = turned(landmarks, bend / 2, about)
    assert not cut[strip(halved, MODEL.cut_cm + 0.5, 8.0, half_cm=6.0) > 0].any()
    mine = (strip(halved, -1.0, MODEL.cut_cm - 0.5, half_cm=6.0) == 255) & (arm == 255)
    assert mine.sum() > 50
    assert (cut[mine] == 255).all()


def test_on_a_palm_tilted_to_the_camera_the_cut_is_an_arc() -> None:
    landmarks = upright()
    wrist, _, unit = frame_of(landmarks)
    mask = mask_of(hand_alpha(landmarks), strip(landmarks, -2.0, 8.0))

    def reach_cm(tilt: float, beside_cm: float) -> float:
        """How far the mask reaches beyond the wrist where the fingers are `tilt` times their length nearer."""
        points = landmarks.points_px.copy()
        points[:, 2] = -tilt * (points[0, 1] - points[:, 1])
        cut = cut_at_wrist(mask, HandLandmarks(points)).full()
        # the hand leans a little: what that adds on one side it takes on the other
        columns = [cut[:, round(float(wrist[0] + side * unit))] for side in (-beside_cm, beside_cm)]
        return float(np.mean([np.flatnonzero(column >= 128)[-1] - wrist[1] for column in columns])) / unit

    arc_cm = 0.6 * MODEL.half_depth_cm
    assert reach_cm(0.0, 0.0) == pytest.approx(MODEL.cut_cm, abs=0.1)
    assert reach_cm(0.6, 0.0) == pytest.approx(MODEL.cut_cm + arc_cm, abs=0.1)
    assert reach_cm(-0.6, 0.0) == pytest.approx(MODEL.cut_cm - arc_cm, abs=0.1)
    edge_share = np.sqrt(1 - (2.2 / MODEL.half_width_cm) ** 2)
    assert reach_cm(0.6, 2.2) == pytest.approx(MODEL.cut_cm + arc_cm * edge_share, abs=0.1)


def test_landmarks_that_leave_nothing_of_a_mask_are_not_its_own() -> None:
    landmarks = upright()
    elsewhere = mask_of(strip(landmarks, 1.0, 8.0))
    assert cut_at_wrist(elsewhere, landmarks) is elsewhere


def test_a_wrist_outside_of_the_frame_cuts_nothing() -> None:
    landmarks = upright(y=330.0)
    assert landmarks.points_xy_px[0, 1] > SIZE[1] + 10
    mask = mask_of(hand_alpha(landmarks))
    assert cut_at_wrist(mask, landmarks) is mask


def test_an_empty_mask_stays_empty() -> None:
    empty = HandMask(np.zeros((0, 0), np.uint8), (0, 0), SIZE, 0.0, MaskSource.SCRIPTED)
    assert cut_at_wrist(empty, upright()) is empty
