"""Two hands that overlap: which pixel belongs to which."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_RIM_CM = 0.25
_MIN_RIM_CELLS = 8


def front_evidence(
    grey: NDArray[np.uint8], mine_cm: NDArray[np.float32], theirs_cm: NDArray[np.float32]
) -> float | None:
    """Whether my outline or theirs is drawn in the picture where the two hands overlap.

    The nearer hand's outline is an edge of the picture where it crosses the other hand; the farther one's is hidden.

    Args:
        grey: (h, w) uint8 picture.
        mine_cm: (h, w) float32 signed distance to my outline, positive inside.
        theirs_cm: The same of the other hand.

    Returns:
        -1 (they are in front) to 1 (I am); None where the hands do not overlap enough to tell.
    """
    import cv2

    my_rim = (np.abs(mine_cm) < _RIM_CM) & (theirs_cm > _RIM_CM)
    their_rim = (np.abs(theirs_cm) < _RIM_CM) & (mine_cm > _RIM_CM)
    if np.count_nonzero(my_rim) < _MIN_RIM_CELLS or np.count_nonzero(their_rim) < _MIN_RIM_CELLS:
        return None
    smooth = cv2.GaussianBlur(grey, (3, 3), 0)
    slope_x, slope_y = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    edges = np.asarray(cv2.magnitude(slope_x, slope_y))
    mine, theirs = float(edges[my_rim].mean()), float(edges[their_rim].mean())
    return (mine - theirs) / (mine + theirs + 1e-6)


def lead_cm(mine_cm: NDArray[np.float32], theirs_cm: NDArray[np.float32], in_front: bool) -> NDArray[np.float32]:
    """By how much each cell is mine rather than theirs: the deeper one's, but the front one's where both hold it.

    Returns:
        (h, w) float32 centimetres, negative where the cell is theirs.
    """
    both = np.minimum(mine_cm, theirs_cm) > 0
    lead: NDArray[np.float32] = np.where(both, mine_cm if in_front else -theirs_cm, mine_cm - theirs_cm)
    return lead.astype(np.float32)
