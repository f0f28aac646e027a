"""Landmarks as bones and joints, one colour a finger."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gest_stream.overlay.palette import BLACK, FINGERS, PALM, Colour
from gest_stream.types import HAND_CONNECTIONS, FrameResult, HandLandmarks

_SHIFT = 4  # cv2 draws at 1/16 pixel
_PIXELS_PER_LINE_WIDTH = 300.0  # of the picture's shorter side: 2.4 px at 720 lines


def _finger(index: int) -> int:
    return (index - 1) // 4


def _joint_colour(index: int) -> Colour:
    return PALM if index == 0 else FINGERS[_finger(index)]


def _bone_colour(start: int, end: int) -> Colour:
    same_finger = start > 0 and _finger(start) == _finger(end)
    return FINGERS[_finger(end)] if same_finger or (start, end) == (0, 1) else PALM


def line_width_px(size: tuple[int, int]) -> int:
    """Width of a thin line on a picture of (width, height): it scales with the picture."""
    return max(1, round(min(size) / _PIXELS_PER_LINE_WIDTH))


def with_alpha(colour: Colour, channels: int) -> Sequence[int]:
    """The colour for a picture of 3 or 4 channels, opaque."""
    return colour if channels == 3 else (*colour, 255)


def draw_hand(image: NDArray[np.uint8], hand: HandLandmarks) -> None:
    """Draw one hand onto `image`, (H, W, 3) or (H, W, 4) uint8, in place."""
    import cv2

    height, width, channels = image.shape
    thin = line_width_px((width, height))
    # far outside, cv2's fixed point numbers overflow; a bone that long is off the picture anyway
    low, high = np.array([-width, -height]), np.array([2 * width, 2 * height])
    fixed = np.clip(hand.points_xy_px, low, high) * (1 << _SHIFT)
    points: list[tuple[int, int]] = [(int(x), int(y)) for x, y in fixed.round()]
    dark = with_alpha(BLACK, channels)
    for start, end in HAND_CONNECTIONS:  # a dark rim keeps the lines visible on skin and on walls
        cv2.line(image, points[start], points[end], dark, thin + 2, cv2.LINE_AA, _SHIFT)
    for start, end in HAND_CONNECTIONS:
        colour = with_alpha(_bone_colour(start, end), channels)
        cv2.line(image, points[start], points[end], colour, thin, cv2.LINE_AA, _SHIFT)
    radius = (thin + 1) << _SHIFT
    for index, point in enumerate(points):
        cv2.circle(image, point, radius + (1 << _SHIFT), dark, cv2.FILLED, cv2.LINE_AA, _SHIFT)
        cv2.circle(image, point, radius, with_alpha(_joint_colour(index), channels), cv2.FILLED, cv2.LINE_AA, _SHIFT)


def draw_landmarks(image: NDArray[np.uint8], result: FrameResult) -> NDArray[np.uint8]:
    """Draw the landmarks of every hand that has them.

    Args:
        image: (H, W, 3) RGB or (H, W, 4) RGBA uint8 of the result's frame size; it is not written to.
        result: Whose landmarks.

    Returns:
        A new picture of the same shape.
    """
    out = image.copy()
    for track in result.tracks:
        if track.landmarks is not None:
            draw_hand(out, track.landmarks)
    return out
