"""Prompts as a user or the tracker would give them, drawn from the truth.

Where landmarks are known they are the tracker's own (tracking/prompts.py) with a detector's errors; where only masks
are known, points lie deep inside the mask and the box is a little off, as SAM 2 is trained (Ravi et al. 2024, appendix
D.2; the box's noise after Kirillov et al. 2023, appendix A).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from gest_stream.tracking.prompts import build_prompt
from gest_stream.types import HandLandmarks

LANDMARK_NOISE: Final = 0.02
"""Standard deviation of a detector's errors, in hand sizes: of each landmark, and of all together."""

_ON_MASK: Final = 5
"""Points on an object whose landmarks are not known; the tracker gives up to eight on a hand."""

_BOX_NOISE: Final = 0.1
_BOX_NOISE_MAX: Final = 20 / 1024
"""The box's sides are off by a tenth of its size, and by no more than 20 pixels of the official square."""

Points = tuple[NDArray[np.float32], NDArray[np.int32]]
"""(P, 2) pixels of the square and (P,) labels: 1 on, 0 off, 2 top left and 3 bottom right of a box."""


class PromptKind(StrEnum):
    """What a batch's objects are started with; one kind a batch, because upstream counts a batch's points together."""

    TRACKER = "tracker"
    """The points and the box, as the engine gives them."""
    POINTS = "points"
    POINT = "point"
    """The palm's centre alone, which makes the model answer with several masks."""
    BOX = "box"
    MASK = "mask"


PROMPT_SHARES: Final = {
    PromptKind.TRACKER: 0.55,
    PromptKind.POINTS: 0.15,
    PromptKind.POINT: 0.1,
    PromptKind.BOX: 0.1,
    PromptKind.MASK: 0.1,
}


def draw_kind(frames: int, rng: np.random.Generator) -> PromptKind:
    """The kind of a batch's prompts; no mask where there is but one frame, whose mask would be the answer."""
    kinds = [kind for kind in PROMPT_SHARES if frames > 1 or kind is not PromptKind.MASK]
    chances = np.array([PROMPT_SHARES[kind] for kind in kinds])
    return kinds[rng.choice(len(kinds), p=chances / chances.sum())]


def landmark_points(
    landmarks: Sequence[HandLandmarks], hand: int, frame_size: tuple[int, int], side: int, kind: PromptKind
) -> Points | None:
    """The tracker's prompt for a hand.

    Args:
        landmarks: Of all hands that are seen on the frame, in pixels of the frame.
        hand: Which of them.
        frame_size: (width, height) of the frame.
        side: Of the model's square.
        kind: What of the prompt is given.

    Returns:
        The points, the box first; None where there is no prompt.
    """
    others = [other for k, other in enumerate(landmarks) if k != hand]
    prompt = build_prompt(landmarks[hand], others, frame_size)
    if prompt is None or prompt.box_xyxy_px is None:
        return None
    box = np.array(prompt.box_xyxy_px, np.float32).reshape(2, 2)
    points, labels = prompt.points_xy_px, prompt.labels
    if kind is PromptKind.POINT:
        points, labels = points[:1], labels[:1]
    if kind in (PromptKind.TRACKER, PromptKind.BOX):
        points, labels = _after_box(box, points, labels, kind)
    if len(points) == 0:
        return None
    return points * (np.float32(side) / np.array(frame_size, np.float32)), labels


def mask_points(
    mask: NDArray[np.bool_], others: Sequence[NDArray[np.bool_]], kind: PromptKind, rng: np.random.Generator | None
) -> Points | None:
    """A prompt for an object of which only the mask is known.

    Args:
        mask: (S, S) of the object.
        others: Of the other objects on the frame, whose middles become negative points.
        kind: What is given.
        rng: Draws the places; None takes the deepest ones and the exact box.

    Returns:
        The points, the box first; None where the mask is empty.
    """
    if not mask.any():
        return None
    if kind is PromptKind.BOX:
        points, labels = np.zeros((0, 2), np.float32), np.zeros(0, np.int32)
    elif kind is PromptKind.POINT:
        points, labels = interior_points(mask, 1, rng), np.ones(1, np.int32)
    else:
        on = interior_points(mask, _ON_MASK, rng)
        off = [interior_points(clear, 1, rng) for other in others if (clear := other & ~mask).any()]
        points = np.concatenate([on, *off])
        labels = np.repeat(np.array([1, 0], np.int32), [len(on), len(off)])
    if kind in (PromptKind.TRACKER, PromptKind.BOX):
        return _after_box(_box_of(mask, rng), points, labels, kind)
    return points, labels


def _after_box(
    box: NDArray[np.float32], points: NDArray[np.float32], labels: NDArray[np.int32], kind: PromptKind
) -> Points:
    """The box's corners, and after them the points where the kind has some."""
    keep = slice(None) if kind is PromptKind.TRACKER else slice(0)
    return np.concatenate([box, points[keep]]), np.concatenate([np.array([2, 3], np.int32), labels[keep]])


def interior_points(mask: NDArray[np.bool_], count: int, rng: np.random.Generator | None) -> NDArray[np.float32]:
    """Up to `count` pixels (P, 2) of a mask that is not empty, deep inside it and far from each other.

    Each is where the distance to the mask's edge, or to the points before it, is largest; `rng` takes a share of it
    off at every pixel, so that any deep place may win.
    """
    import cv2

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, left = int(rows[0]), int(columns[0])
    crop = np.pad(mask[top : rows[-1] + 1, left : columns[-1] + 1], 1).astype(np.uint8)
    depth = cv2.distanceTransform(crop, cv2.DIST_L2, 3)
    y, x = np.mgrid[0 : crop.shape[0], 0 : crop.shape[1]]
    points: list[tuple[float, float]] = []
    while len(points) < count and depth.max() > 0:
        preference = depth if rng is None else depth * rng.uniform(0.5, 1.0, depth.shape)
        row, column = np.unravel_index(int(preference.argmax()), depth.shape)
        points.append((float(column + left - 1), float(row + top - 1)))
        depth = np.minimum(depth, np.hypot(x - column, y - row))
    return np.array(points, np.float32)


def _box_of(mask: NDArray[np.bool_], rng: np.random.Generator | None) -> NDArray[np.float32]:
    """(2, 2) corners of a mask's box, inside the square."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = np.array([[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]], np.float64)
    if rng is not None:
        size, side = box[1] - box[0], np.array(mask.shape[::-1])
        most = np.minimum(_BOX_NOISE * size, _BOX_NOISE_MAX * side)
        box += np.clip(rng.normal(0.0, 1.0, (2, 2)) * _BOX_NOISE * size, -most, most)
        box = np.clip(box, 0.0, side)
    return box.astype(np.float32)


def padded(prompts: Sequence[Points | None]) -> tuple[torch.Tensor, torch.Tensor]:
    """Points (B, P, 2) float32 and labels (B, P) int32 of prompts of different length; label -1 is padding.

    An object without a prompt, None, has padding alone.
    """
    longest = max((len(one[1]) for one in prompts if one is not None), default=1)
    points = torch.zeros(len(prompts), longest, 2)
    labels = torch.full((len(prompts), longest), -1, dtype=torch.int32)
    for row, one in enumerate(prompts):
        if one is not None:
            points[row, : len(one[0])] = torch.from_numpy(one[0])
            labels[row, : len(one[1])] = torch.from_numpy(one[1])
    return points, labels
