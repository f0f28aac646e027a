"""Fills the small holes that a segmenter leaves inside a hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.types import HandMask

MAX_HOLE_SHARE = 0.003
"""Largest hole that is filled unless told otherwise, as a share of the hand: a disc of 8 mm on 150 cm2. On rendered
hands half of the true holes above 15 px, rings of two fingers and gaps between them, are larger, up to 2.8 %; all that
is filled wrongly adds 0.02 % to the hand's area in the mean, 0.4 % at worst (benchmarks/mask_steps.py)."""

_INSIDE = 128
_HAND, _HOLE, _OUTSIDE = 0, 1, 2
_RIM_PX = 2
"""How far the soft edge of a hole reaches into the hand."""


def fill_holes(mask: HandMask, max_share: float = MAX_HOLE_SHARE, others: Sequence[HandMask] = ()) -> HandMask:
    """Make hand of the background that the hand encloses, where there is little of it.

    A hole is a 4-connected patch of background that reaches no border of the crop: what reaches one goes on outside of
    it, or leaves the frame there and may be anything. Alpha elsewhere stays as it is, but for the rim of a filled hole,
    which was soft only because of the hole.

    Args:
        mask: Not changed.
        max_share: Largest hole that is filled, as a share of the hand's area, 0 to 1; 0 fills none.
        others: Masks of other hands on the frame; what they hold stays theirs.

    Returns:
        A mask of the same crop; the very same object where there is nothing to fill.

    Raises:
        InvalidInputError: `max_share` is out of range.
    """
    import cv2

    if not 0.0 <= max_share <= 1.0:
        raise InvalidInputError(f"max_share: expected 0 to 1 of the hand's area, got {max_share}")
    height, width = mask.crop.shape
    if max_share == 0.0 or height < 3 or width < 3:
        return mask
    background = cv2.compare(mask.crop, _INSIDE, cv2.CMP_LT)
    largest = int(max_share * (height * width - cv2.countNonZero(background)))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(background, connectivity=4, ltype=cv2.CV_32S)
    left, top, wide, high, area = stats.T
    enclosed = (left > 0) & (top > 0) & (left + wide < width) & (top + high < height)
    small = enclosed & (area <= largest)
    small[0] = False  # the hand itself
    if not small.any():
        return mask
    around = _window(stats[small], 2 * _RIM_PX)
    kind = np.where(small, _HOLE, _OUTSIDE).astype(np.uint8)
    kind[0] = _HAND
    kinds = kind[labels[around]]
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _RIM_PX + 1, 2 * _RIM_PX + 1))
    # The largest value wins: an edge that is as near to other background is that background's too, and stays soft.
    filled = (cv2.dilate(kinds, disc) == _HOLE) | (kinds == _HOLE)
    crop = mask.crop.copy()
    crop[around][filled & ~_held(mask, others)[around]] = 255
    return replace(mask, crop=crop)


def _held(mask: HandMask, others: Sequence[HandMask]) -> NDArray[np.bool_]:
    """Which pixels of the mask's crop are inside another mask."""
    held = np.zeros(mask.crop.shape, bool)
    x, y = mask.origin_xy_px
    for other in others:
        left, top = other.origin_xy_px[0] - x, other.origin_xy_px[1] - y
        bottom, right = top + other.crop.shape[0], left + other.crop.shape[1]
        rows, columns = slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0))
        there = held[rows, columns]
        first_row, first_column = max(-top, 0), max(-left, 0)
        there |= other.inside[first_row : first_row + there.shape[0], first_column : first_column + there.shape[1]]
    return held


def _window(stats: NDArray[np.int32], margin: int) -> tuple[slice, slice]:
    """Rows and columns that hold the components of OpenCV's `stats`, with a margin; may end beyond the crop."""
    left, top = (int(v) for v in np.maximum(stats[:, :2].min(axis=0) - margin, 0))
    right, bottom = (int(v) for v in (stats[:, :2] + stats[:, 2:4]).max(axis=0) + margin)
    return slice(top, bottom), slice(left, right)
