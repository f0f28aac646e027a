"""How well a mask and the landmarks of a hand describe the same thing."""

from __future__ import annotations

import numpy as np

from gest_stream.types import HAND_CONNECTIONS, HandLandmarks, HandMask

_MARGIN_HANDS = 0.5
_STARTS, _ENDS = np.array(HAND_CONNECTIONS).T


def agreement(landmarks: HandLandmarks, mask: HandMask) -> float | None:
    """The smaller of two shares: of the skeleton inside the mask, and of the mask around the skeleton.

    Args:
        landmarks: Of the frame the mask belongs to.
        mask: May be empty.

    Returns:
        0 to 1; None where less than half of the skeleton is inside the frame, so that there is little to compare.
    """
    points = landmarks.points_xy_px
    skeleton = np.concatenate([points, (points[_STARTS] + points[_ENDS]) / np.float32(2)])
    column, row = np.floor(skeleton).astype(np.int64).T
    width, height = mask.frame_size
    visible = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    if 2 * np.count_nonzero(visible) < len(skeleton):
        return None
    inside = mask.inside
    area = int(np.count_nonzero(inside))
    if area == 0:
        return 0.0
    left, top = mask.origin_xy_px
    crop_height, crop_width = inside.shape
    column, row = column[visible] - left, row[visible] - top
    in_crop = (column >= 0) & (row >= 0) & (column < crop_width) & (row < crop_height)
    covered = np.count_nonzero(inside[row[in_crop], column[in_crop]]) / np.count_nonzero(visible)
    margin = _MARGIN_HANDS * landmarks.palm_width_px
    x0, y0, x1, y1 = landmarks.box_xyxy_px
    rows = slice(max(int(y0 - margin) - top, 0), max(int(y1 + margin) + 1 - top, 0))
    columns = slice(max(int(x0 - margin) - left, 0), max(int(x1 + margin) + 1 - left, 0))
    around = np.count_nonzero(inside[rows, columns]) / area
    return float(min(covered, around))
