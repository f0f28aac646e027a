"""Masks and landmarks against the truth of rendered clips.

Boundary F follows Perazzi et al. 2016 (DAVIS), with a tolerance of 0.8% of the picture's diagonal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from gest_stream.synthetic import HandTruth
from gest_stream.types import HandMask, Track

MIN_SHOWN: Final = 0.1
MIN_AREA_PX: Final = 400
BOUNDARY_TOLERANCE: Final = 0.008
IN_VIEW: Final = 0.5
"""Share of a hand that can be seen where it counts as back in view."""
FOUND_IOU: Final = 0.5
"""Overlap from which a mask is the hand's."""


def seen(hand: HandTruth) -> bool:
    """Whether a mask can be asked of this hand: a tenth of it can be seen, and 400 pixels."""
    return hand.shown >= MIN_SHOWN and hand.hand_mask.area_px >= MIN_AREA_PX


def in_view(hand: HandTruth) -> bool:
    """Whether half of the hand can be seen."""
    return hand.shown >= IN_VIEW and hand.hand_mask.area_px >= MIN_AREA_PX


def boundary_f(mask: HandMask, truth: HandMask) -> float:
    """Harmonic mean of the shares of either outline that lie within tolerance of the other, 0 to 1."""
    import cv2

    kernel = np.ones((3, 3), np.uint8)
    edges = [cv2.morphologyEx((m.full() >= 128).astype(np.uint8), cv2.MORPH_GRADIENT, kernel) for m in (mask, truth)]
    radius = max(1, round(BOUNDARY_TOLERANCE * float(np.hypot(*mask.frame_size))))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    wide = [cv2.dilate(edge, disc) for edge in edges]
    precision = int(np.count_nonzero(edges[0] & wide[1])) / max(int(np.count_nonzero(edges[0])), 1)
    recall = int(np.count_nonzero(edges[1] & wide[0])) / max(int(np.count_nonzero(edges[1])), 1)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def landmark_error(hand: HandTruth, track: Track) -> float:
    """Mean distance of the 21 landmarks from the truth, in hand sizes (longer side of the true landmarks' box)."""
    assert track.landmarks is not None
    apart = np.linalg.norm(track.landmarks.points_xy_px - hand.landmarks.points_xy_px, axis=1)
    return float(apart.mean() / hand.size_px)


def track_of(hand: HandTruth, tracks: Sequence[Track]) -> Track | None:
    """The track that lies on the hand: the best mask overlap, else landmarks within half a hand of the truth."""
    masked = [(track.mask.iou(hand.hand_mask), track) for track in tracks if track.mask is not None]
    overlap, best = max(masked, key=lambda pair: pair[0], default=(0.0, None))
    if overlap > 0.1:
        return best
    near = [(landmark_error(hand, track), track) for track in tracks if track.landmarks is not None]
    error, nearest = min(near, key=lambda pair: pair[0], default=(1.0, None))
    return nearest if error < 0.5 else None


def returns_of(in_view_by_frame: Sequence[bool]) -> list[int]:
    """The frames on which a hand comes back into view."""
    return [seq for seq in range(1, len(in_view_by_frame)) if in_view_by_frame[seq] and not in_view_by_frame[seq - 1]]


def frames_until_found(starts: Sequence[int], best_iou: Sequence[float]) -> list[int | None]:
    """Frames from each return until a mask overlaps the hand by half; None where none does before the next one.

    Args:
        starts: The returns, as `returns_of` gives them.
        best_iou: Of every frame, the best overlap of any mask with the hand.
    """
    delays: list[int | None] = []
    for start, end in zip(starts, [*starts, len(best_iou)][1:], strict=True):
        delays.append(next((seq - start for seq in range(start, end) if best_iou[seq] >= FOUND_IOU), None))
    return delays


def id_switches(ids_by_hand: Mapping[int, Sequence[int]]) -> dict[int, int]:
    """How often the id on each hand changed from one sight of it to the next."""
    return {hand: int(np.count_nonzero(np.diff(ids))) for hand, ids in ids_by_hand.items()}
