"""Ends a hand's mask at the wrist: what a segmenter took of the forearm is cut off."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gest_stream.models.hand_shape import ShapeModel, scale_px_per_cm
from gest_stream.types import HandLandmarks, HandMask

_KNUCKLES = (5, 9, 13, 17)
_DIGIT_BONES = ((2, 3), (3, 4), *((a, a + 1) for base in _KNUCKLES for a in range(base, base + 3)))
_STEEPEST = 1.5
"""Most that the cut's arc may follow the palm's tilt, as depth over length on the picture: beyond it depth is noise."""

_ARM_FROM_CM, _ARM_TO_CM = 3.0, 8.0
"""Distances from the wrist between which the forearm's direction is read off the mask: nearer it is the wrist's own
shape, further the sleeve's."""

_ARM_CONE = 0.5
"""Cosine of the angle around its presumed direction within which the forearm is looked for."""

_LEAST_ARM_CM2 = 6.0
"""A forearm fills about 25 cm2 between those distances; of less than this no direction is taken."""

_TURNS = 3
_SAMPLE_CM = 0.7
_INSIDE = 128
_SHIFT = 4


@dataclass(frozen=True, slots=True)
class WristModel:
    """Where a hand ends.

    Lengths are centimetres of a hand whose palm is 9.7 cm long.

    Args:
        cut_cm: How far the hand reaches beyond the wrist's landmark, towards the elbow. By the rendered truth it is 0;
            MediaPipe puts its landmark about 0.4 cm nearer to the fingers.
        half_width_cm: Half the width of the wrist.
        half_depth_cm: Half its thickness. The border is a plane across the wrist, so that on a palm tilted towards
            the camera it is seen as an arc, as high as this at 45 degrees.
        spread: How much wider than the wrist the arm's strip gets with each centimetre beyond it: arms bend.
        digit_slack: How much thicker than `ShapeModel` says a digit is that lies behind the wrist's line.
        min_palm_cm: Length of the palm on the picture below which the forearm's direction is unknown.
    """

    cut_cm: float = 0.25
    half_width_cm: float = 2.7
    half_depth_cm: float = 1.5
    spread: float = 0.5
    digit_slack: float = 1.15
    min_palm_cm: float = 2.0


@dataclass(frozen=True, slots=True)
class _Wrist:
    """The wrist on one frame: where it is, where the fingers are seen from it, and how long a centimetre is."""

    xy_px: NDArray[np.float64]
    towards_fingers: NDArray[np.float64]
    px_per_cm: float
    tilt: float


def cut_at_wrist(mask: HandMask, landmarks: HandLandmarks, model: WristModel | None = None) -> HandMask:
    """Remove the forearm from a hand's mask.

    Beyond the wrist's line everything goes that hangs together with the wrist or lies where an arm can be. Fingers
    that reach behind the line stay: those beside the arm as they are, those before it as thick as their bones tell.
    The cut's edge is soft over one pixel.

    Args:
        mask: Not changed.
        landmarks: Of the same hand on the same frame.
        model: Where a hand ends.

    Returns:
        The mask without forearm, its crop trimmed; the very same object where nothing lies beyond the wrist, where the
        palm is seen along its length, so that nobody can tell where the forearm is, or where nothing at all would be
        left, so that mask and landmarks cannot be of one hand.
    """
    import cv2

    model = model if model is not None else WristModel()
    wrist = _find_wrist(landmarks, model)
    if wrist is None or mask.crop.size == 0:
        return mask
    wrist = _turned_to_arm(wrist, mask, landmarks, model)
    window = _beyond_window(mask, wrist, model)
    if window is None:
        return mask
    beyond, beside = _distances_px(mask, window, wrist, model)
    alpha = mask.crop[window]
    candidates = (alpha > 0) & (beyond > -0.5)
    if not candidates.any():
        return mask
    digits = _draw_digits(mask, window, landmarks, wrist, model)
    arm = _arm_among(candidates, beyond, beside, digits, wrist, model)
    if not arm.any():
        return mask
    kept = np.clip((0.5 - beyond) * np.float32(255.0), 0.0, 255.0).astype(np.uint8)
    if digits is not None:
        kept = np.maximum(kept, digits)
    kept[~arm] = 255
    crop = mask.crop.copy()
    crop[window] = cv2.multiply(alpha, kept, scale=1.0 / 255.0)
    return _trimmed(mask, crop)


def _find_wrist(landmarks: HandLandmarks, model: WristModel) -> _Wrist | None:
    """None where the palm is seen along its length."""
    points = landmarks.points_px.astype(np.float64)
    px_per_cm = scale_px_per_cm(landmarks)
    palm = points[list(_KNUCKLES)].mean(axis=0) - points[0]
    length = float(np.hypot(palm[0], palm[1]))
    if length <= model.min_palm_cm * px_per_cm:
        return None
    tilt = min(max(float(palm[2]) / length, -_STEEPEST), _STEEPEST)
    return _Wrist(points[0, :2], palm[:2] / length, px_per_cm, tilt)


def _turned_to_arm(wrist: _Wrist, mask: HandMask, landmarks: HandLandmarks, model: WristModel) -> _Wrist:
    """Let the line halve the angle between hand and forearm, where the mask shows a forearm: wrists bend.

    The forearm is looked for around the direction in which a straight one would lie, then around where it was found.
    """
    samples, each_cm2 = _around_wrist_cm(wrist, mask)
    distance = np.hypot(samples[:, 0], samples[:, 1])
    samples = samples[(distance > _ARM_FROM_CM) & (samples @ wrist.towards_fingers < 0.0)]
    if len(samples) * each_cm2 < _LEAST_ARM_CM2:
        return wrist
    samples = samples[~_on_digit(samples, landmarks, wrist, model)]
    directions = samples / np.hypot(samples[:, 0], samples[:, 1])[:, None]
    towards_arm = -wrist.towards_fingers
    for _ in range(_TURNS):
        ahead = directions[directions @ towards_arm > _ARM_CONE]
        if len(ahead) * each_cm2 < _LEAST_ARM_CM2:
            return wrist
        towards_arm = ahead.sum(axis=0)
        towards_arm /= np.hypot(*towards_arm)
    across = wrist.towards_fingers - towards_arm
    return replace(wrist, towards_fingers=across / np.hypot(*across))


def _around_wrist_cm(wrist: _Wrist, mask: HandMask) -> tuple[NDArray[np.float64], float]:
    """(N, 2) places of the mask near the wrist, seen from it, on a coarse grid, and the area each stands for."""
    step = max(1, round(_SAMPLE_CM * wrist.px_per_cm))
    reach = _ARM_TO_CM * wrist.px_per_cm
    x, y = wrist.xy_px - mask.origin_xy_px
    left, top = max(0, int(x - reach)), max(0, int(y - reach))
    part = mask.crop[top : max(0, int(y + reach)) : step, left : max(0, int(x + reach)) : step]
    rows, columns = np.nonzero(part >= _INSIDE)
    places = np.stack([columns * step + (left - x), rows * step + (top - y)], axis=1) / wrist.px_per_cm
    return places, (step / wrist.px_per_cm) ** 2


def _on_digit(
    samples_cm: NDArray[np.float64], landmarks: HandLandmarks, wrist: _Wrist, model: WristModel
) -> NDArray[np.bool_]:
    """(N,) True where a place lies on a finger or the thumb."""
    points = (landmarks.points_xy_px.astype(np.float64) - wrist.xy_px) / wrist.px_per_cm
    starts, ends = np.array(_DIGIT_BONES).T
    bone = points[ends] - points[starts]
    offset = samples_cm[:, None] - points[starts]
    share = np.clip((offset * bone).sum(axis=2) / np.maximum((bone * bone).sum(axis=1), 1e-6), 0.0, 1.0)
    apart = offset - share[..., None] * bone
    radii = np.asarray(ShapeModel().radii_cm)[starts] * model.digit_slack
    on: NDArray[np.bool_] = ((apart * apart).sum(axis=2) < radii * radii).any(axis=1)
    return on


def _beyond_window(mask: HandMask, wrist: _Wrist, model: WristModel) -> tuple[slice, slice] | None:
    """The rows and columns of the crop that can lie beyond the wrist; None where none do."""
    height, width = mask.crop.shape
    x, y = wrist.xy_px - mask.origin_xy_px
    along_x = (np.arange(width) - x) * wrist.towards_fingers[0]
    along_y = (np.arange(height) - y) * wrist.towards_fingers[1]
    # The arc can lie on the fingers' side of the line too.
    limit = (max(0.0, wrist.tilt) * model.half_depth_cm - model.cut_cm) * wrist.px_per_cm + 1.0
    columns = np.flatnonzero(along_x + along_y.min() < limit)
    rows = np.flatnonzero(along_y + along_x.min() < limit)
    if rows.size == 0 or columns.size == 0:
        return None
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _distances_px(
    mask: HandMask, window: tuple[slice, slice], wrist: _Wrist, model: WristModel
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(h, w) how far each pixel of the window lies beyond the cut, and how far beside the arm's middle line."""
    rows, columns = window
    axis_x, axis_y = (np.float32(value) for value in wrist.towards_fingers)
    x = np.arange(columns.start, columns.stop, dtype=np.float32) + np.float32(mask.origin_xy_px[0] - wrist.xy_px[0])
    y = np.arange(rows.start, rows.stop, dtype=np.float32) + np.float32(mask.origin_xy_px[1] - wrist.xy_px[1])
    beyond = (-y * axis_y - np.float32(model.cut_cm * wrist.px_per_cm))[:, None] - (x * axis_x)[None, :]
    beside = np.abs((y * axis_x)[:, None] - (x * axis_y)[None, :])
    height = np.float32(wrist.tilt * model.half_depth_cm * wrist.px_per_cm)
    if abs(height) > 0.5:
        share = np.minimum(beside * np.float32(1.0 / (model.half_width_cm * wrist.px_per_cm)), np.float32(1.0))
        beyond += height * np.sqrt(np.float32(1.0) - share * share)
    return beyond, beside


def _draw_digits(
    mask: HandMask, window: tuple[slice, slice], landmarks: HandLandmarks, wrist: _Wrist, model: WristModel
) -> NDArray[np.uint8] | None:
    """(h, w) uint8, up to 255 where fingers and thumb are; None where none of them reaches into the window."""
    import cv2

    rows, columns = window
    origin = np.array([mask.origin_xy_px[0] + columns.start, mask.origin_xy_px[1] + rows.start])
    points = landmarks.points_xy_px.astype(np.float64) - origin
    radii = np.asarray(ShapeModel().radii_cm) * model.digit_slack * wrist.px_per_cm
    near = (points > -radii[:, None]).all(axis=1)
    near &= (points < np.array([columns.stop - columns.start, rows.stop - rows.start]) + radii[:, None]).all(axis=1)
    bones = [(a, b) for a, b in _DIGIT_BONES if near[a] or near[b]]
    if not bones:
        return None
    drawn = np.zeros((rows.stop - rows.start, columns.stop - columns.start), np.uint8)
    ends = np.clip(np.rint(points * (1 << _SHIFT)), -(2**20), 2**20).astype(np.int32).tolist()
    for a, b in bones:
        thickness = max(1, round(float(radii[a] + radii[b])))
        cv2.line(drawn, ends[a], ends[b], 255, thickness, cv2.LINE_AA, _SHIFT)
    return drawn


def _arm_among(
    candidates: NDArray[np.bool_],
    beyond: NDArray[np.float32],
    beside: NDArray[np.float32],
    digits: NDArray[np.uint8] | None,
    wrist: _Wrist,
    model: WristModel,
) -> NDArray[np.bool_]:
    """Of the patches beyond the cut, those that are arm: all that start at the wrist, and those in the arm's strip
    that hold no digit.
    """
    import cv2

    count, labels = cv2.connectedComponents(candidates.astype(np.uint8), connectivity=8)
    half = np.float32(model.half_width_cm * wrist.px_per_cm)
    at_wrist = candidates & (beside < half) & (beyond < np.float32(wrist.px_per_cm))
    of_arm = np.zeros(count, bool)
    of_arm[labels[at_wrist]] = True
    if not of_arm[1:].all():
        in_strip = np.zeros(count, bool)
        in_strip[labels[candidates & (beside < half + np.float32(model.spread) * beyond)]] = True
        if digits is not None:
            in_strip[labels[candidates & (digits > 0)]] = False
        of_arm |= in_strip
    of_arm[0] = False
    found: NDArray[np.bool_] = of_arm[labels]
    return found


def _trimmed(mask: HandMask, crop: NDArray[np.uint8]) -> HandMask:
    """`mask` with another crop at the same place, without the border that is 0."""
    import cv2

    left, top, width, height = cv2.boundingRect(crop)
    if width == 0 or height == 0:
        return mask
    origin = mask.origin_xy_px[0] + left, mask.origin_xy_px[1] + top
    kept = np.ascontiguousarray(crop[top : top + height, left : left + width])
    return replace(mask, crop=kept, origin_xy_px=origin)
