"""Soft-edged alpha crops from log odds, and the rule that a pixel belongs to one hand only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gest_stream.models.crop_window import CropWindow
from gest_stream.types import HandMask, MaskSource

_ODDS_LIMIT = 4.0
_STEEPNESS = 2.0
_LEVELS = np.arange(256, dtype=np.float64) / 127.5 - 1.0
# Odds are enlarged as 8 bit levels, so that this table and not a tanh of every frame pixel makes alpha of them.
_ALPHA = np.rint(127.5 * (1.0 + np.tanh(_LEVELS * _ODDS_LIMIT * _STEEPNESS / 2.0))).astype(np.uint8)
_ALPHA[_ALPHA < 3] = 0
_ALPHA[_ALPHA > 252] = 255


def alpha_mask(
    odds: NDArray[np.float32], window: CropWindow, frame_size: tuple[int, int], score: float, source: MaskSource
) -> HandMask:
    """Enlarge log odds to a mask at the frame's resolution, cropped to what is not background.

    Args:
        odds: (h, w) float32 on the window's grid.
        window: Where the grid lies.
        frame_size: (width, height) of the frame.
        score: 0 to 1.
        source: What made it.
    """
    import cv2

    levels = cv2.convertScaleAbs(np.clip(odds, -_ODDS_LIMIT, _ODDS_LIMIT), alpha=127.5 / _ODDS_LIMIT, beta=127.5)
    if window.grid_size != (window.width, window.height):
        levels = cv2.resize(levels, (window.width, window.height), interpolation=cv2.INTER_LINEAR)
    alpha = np.asarray(cv2.LUT(levels, _ALPHA), np.uint8)
    left, top, width, height = cv2.boundingRect(alpha)
    if width == 0 or height == 0:
        return HandMask.empty(frame_size, score, source)
    crop = np.ascontiguousarray(alpha[top : top + height, left : left + width])
    return HandMask(crop, (window.left + left, window.top + top), frame_size, score, source)


def share_pixels(masks: Mapping[int, HandMask]) -> dict[int, HandMask]:
    """Take from each mask what another one holds more firmly, so that no pixel is inside two.

    Where two alphas are the same the smaller id keeps the pixel.
    """
    shared = dict(masks)
    ids = sorted(shared)
    for i, first in enumerate(ids):
        for second in ids[i + 1 :]:
            shared[first], shared[second] = _split(shared[first], shared[second])
    return shared


def _split(a: HandMask, b: HandMask) -> tuple[HandMask, HandMask]:
    (ax, ay), (bx, by) = a.origin_xy_px, b.origin_xy_px
    left, top = max(ax, bx), max(ay, by)
    right = min(ax + a.crop.shape[1], bx + b.crop.shape[1])
    bottom = min(ay + a.crop.shape[0], by + b.crop.shape[0])
    if left >= right or top >= bottom:
        return a, b
    in_a = (slice(top - ay, bottom - ay), slice(left - ax, right - ax))
    in_b = (slice(top - by, bottom - by), slice(left - bx, right - bx))
    of_a, of_b = a.crop[in_a], b.crop[in_b]
    if not (of_a.any() and of_b.any()):
        return a, b
    a_wins = of_a >= of_b
    # What is left of the loser's alpha complements the winner's: compositing both never adds up to more than one.
    a_crop, b_crop = a.crop.copy(), b.crop.copy()
    a_crop[in_a] = np.where(a_wins, of_a, np.minimum(of_a, 255 - of_b))
    b_crop[in_b] = np.where(a_wins, np.minimum(of_b, 255 - of_a), of_b)
    return replace(a, crop=a_crop), replace(b, crop=b_crop)
