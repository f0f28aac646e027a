"""From landmarks or a region to a prompt: where a segmenter should look for the hand, and where it should not."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gest_stream.config import PromptConfig, RegionConfig
from gest_stream.errors import InvalidInputError
from gest_stream.tracking.motion import palm_center_px
from gest_stream.tracking.regions import HandRegion
from gest_stream.types import HandLandmarks, HandMask, Prompt, PromptMode

_FINGER_BONES = ((2, 3), (5, 6), (6, 7), (9, 10), (13, 14), (17, 18), (18, 19))
"""Bones whose middle lies well inside a finger; tips are left out because the skin ends there."""

_BOX_MARGIN_HANDS = 0.25
"""Landmarks run along the bones, and the skin lies about a quarter of a palm width outside them."""

_FOREARM_HANDS = (0.7, 1.2)
"""How far beyond the wrist the forearm's points lie."""

_MIN_PALM_LENGTH_HANDS = 0.4
"""Below this the palm is seen along its length, and where the forearm goes cannot be told."""

_CLEAR_HANDS = 0.25
"""A point nearer than this to a landmark of the other hand may lie on either of the two."""


def build_prompt(
    landmarks: HandLandmarks,
    others: Sequence[HandLandmarks],
    frame_size: tuple[int, int],
    mode: PromptMode = PromptMode.RESET,
    config: PromptConfig | None = None,
) -> Prompt | None:
    """Points on the palm and along the fingers, points off the hand, and a box.

    Args:
        landmarks: The hand.
        others: The other hands on the frame; their middles become negative points.
        frame_size: (width, height) in pixels.
        mode: What the prompt does to the segmenter's memory of the hand.
        config: What is told besides the points on the hand; everything by default.

    Returns:
        The prompt, its points inside the frame and its box clipped to it; None where the hand is outside the frame.
        It has a point on the hand or a box, whatever the config says.
    """
    config = config if config is not None else PromptConfig()
    box = _clipped_box(landmarks, frame_size)
    if box is None:
        return None
    positive = _inside_frame(_on_hand(landmarks, others), frame_size)
    negative = _inside_frame(_off_hand(landmarks, others, config), frame_size)
    points = np.concatenate([positive, negative]).astype(np.float32)
    labels = np.repeat(np.array([1, 0], np.int32), [len(positive), len(negative)])
    # Points that are off the hand do not say where it is.
    return Prompt(points, labels, box if config.box or len(positive) == 0 else None, mode)


def prompt_from_region(
    region: HandRegion,
    other_regions: Sequence[HandRegion],
    other_hands: Sequence[HandLandmarks],
    config: RegionConfig | None = None,
    mode: PromptMode = PromptMode.RESET,
) -> Prompt:
    """Points on the hand, points on its forearm and on the other hands that are not the hand, and a box.

    Args:
        region: The hand.
        other_regions: Other hands that were seen with it.
        other_hands: Other hands of which landmarks are known.
        config: Which of these are told.
        mode: What the prompt does to the segmenter's memory of the hand.
    """
    config = config if config is not None else RegionConfig()
    off = [region.forearm_xy_px[: config.forearm_points]]
    off += [other.inner_xy_px[: config.other_hand_points] for other in other_regions]
    for other in other_hands:
        points = other.points_xy_px
        off.append(
            np.stack([palm_center_px(points), (points[9] + points[10]) / np.float32(2)])[: config.other_hand_points]
        )
    negative = _inside_frame(np.concatenate(off), region.mask.frame_size)
    negative = negative[~_on_mask(negative, region.mask)]
    points = np.concatenate([region.inner_xy_px, negative]).astype(np.float32)
    labels = np.repeat(np.array([1, 0], np.int32), [len(region.inner_xy_px), len(negative)])
    return Prompt(points, labels, region.mask.box_xyxy_px if config.box else None, mode)


def prompt_from_clicks(
    points_xy_px: ArrayLike, labels: ArrayLike | None, box_xyxy_px: Sequence[float] | None
) -> Prompt:
    """What a user gives, checked.

    Args:
        points_xy_px: (N, 2) pixels.
        labels: (N,) 1 or 0; all 1 where None.
        box_xyxy_px: Four pixels, or None.

    Raises:
        InvalidInputError: They are of another shape, or no numbers.
    """
    try:
        points = np.asarray(points_xy_px, np.float32).reshape(-1, 2)
        signs = np.ones(len(points), np.float32) if labels is None else np.asarray(labels, np.float32).reshape(-1)
        box = None if box_xyxy_px is None else np.asarray(box_xyxy_px, np.float64).reshape(4).tolist()
    except (ValueError, TypeError) as exc:
        raise InvalidInputError(
            f"prompt: expected points (N, 2), labels (N,) and a box of 4 numbers, got {points_xy_px!r}, {labels!r} and "
            f"{box_xyxy_px!r}"
        ) from exc
    if not np.isin(signs, (0, 1)).all():
        raise InvalidInputError(f"prompt labels: expected 0 or 1, got {signs.tolist()}")
    return Prompt(points, signs.astype(np.int32), None if box is None else (box[0], box[1], box[2], box[3]))


def _on_mask(points: NDArray[np.float32], mask: HandMask) -> NDArray[np.bool_]:
    """(N,) which points, inside the frame, lie on the mask."""
    column, row = np.floor(points).astype(np.int64).reshape(-1, 2).T
    column, row = column - mask.origin_xy_px[0], row - mask.origin_xy_px[1]
    height, width = mask.crop.shape
    found = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    found[found] = mask.inside[row[found], column[found]]
    return np.asarray(found)


def inside_hull(points_xy_px: NDArray[np.float32], hull_of_px: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of the points (N, 2) lie strictly inside the convex hull of others (M, 2).

    A point is inside when seen from it the others leave no open half-plane, that is, when the largest gap between
    their directions is below 180 degrees.
    """
    rays = hull_of_px[None] - points_xy_px[:, None]
    angles = np.sort(np.arctan2(rays[..., 1], rays[..., 0]).astype(np.float64), axis=1)
    gaps = np.diff(angles, axis=1, append=angles[:, :1] + 2 * np.pi)
    return np.asarray(gaps.max(axis=1) < np.pi - 1e-6)


def _clipped_box(landmarks: HandLandmarks, frame_size: tuple[int, int]) -> tuple[float, float, float, float] | None:
    margin = _BOX_MARGIN_HANDS * landmarks.palm_width_px
    left, top, right, bottom = landmarks.box_xyxy_px
    width, height = frame_size
    left, top = max(left - margin, 0.0), max(top - margin, 0.0)
    right, bottom = min(right + margin, float(width)), min(bottom + margin, float(height))
    # Below a pixel there is nothing to segment, and a prompt's box may not be empty.
    return (left, top, right, bottom) if right - left >= 1.0 and bottom - top >= 1.0 else None


def _inside_frame(points: NDArray[np.float32], frame_size: tuple[int, int]) -> NDArray[np.float32]:
    low, high = np.zeros(2), np.array(frame_size) - 1
    return points[((points >= low) & (points <= high)).all(axis=1)]


def _on_hand(landmarks: HandLandmarks, others: Sequence[HandLandmarks]) -> NDArray[np.float32]:
    """The palm's centre first, then finger points that no other hand may lie over."""
    points = landmarks.points_xy_px
    starts, ends = np.array(_FINGER_BONES).T
    fingers = (points[starts] + points[ends]) / np.float32(2)
    clear = np.ones(len(fingers), bool)
    for other in others:
        clear &= _distance_px(fingers, other) > _CLEAR_HANDS * other.palm_width_px
    return np.concatenate([palm_center_px(points)[None], fingers[clear]])


def _off_hand(landmarks: HandLandmarks, others: Sequence[HandLandmarks], config: PromptConfig) -> NDArray[np.float32]:
    """The forearm beyond the wrist and the middles of the other hands, where they are clear of this hand."""
    own, palm_px = landmarks.points_xy_px, landmarks.palm_width_px
    points: list[NDArray[np.float32]] = []
    towards_arm = own[0] - own[9]
    length = float(np.linalg.norm(towards_arm))
    if config.forearm_points and length > 0.0 and length >= _MIN_PALM_LENGTH_HANDS * palm_px:
        points += [own[0] + towards_arm * np.float32(reach * palm_px / length) for reach in _FOREARM_HANDS]
    for other in others if config.other_hand_points else ():
        theirs = other.points_xy_px
        points += [palm_center_px(theirs), (theirs[9] + theirs[10]) / np.float32(2)]
    if not points:
        return np.zeros((0, 2), np.float32)
    candidates = np.stack(points)
    clear = (_distance_px(candidates, landmarks) > _CLEAR_HANDS * palm_px) & ~inside_hull(candidates, own)
    return candidates[clear]


def _distance_px(points: NDArray[np.float32], hand: HandLandmarks) -> NDArray[np.float32]:
    """(N,) distance of each point from the nearest landmark."""
    apart = np.linalg.norm(points[:, None] - hand.points_xy_px[None], axis=2)
    return np.asarray(apart.min(axis=1), np.float32)
