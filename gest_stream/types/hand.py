"""The 21 landmarks of one hand, as MediaPipe numbers them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError

LANDMARK_NAMES = (
    "wrist",
    *(f"thumb_{part}" for part in ("cmc", "mcp", "ip", "tip")),
    *(f"{finger}_{part}" for finger in ("index", "middle", "ring", "pinky") for part in ("mcp", "pip", "dip", "tip")),
)
"""Name of each landmark index, MediaPipe's order."""

HAND_CONNECTIONS = (
    *((0, 1), (1, 2), (2, 3), (3, 4)),
    *((0, 5), (5, 6), (6, 7), (7, 8)),
    *((5, 9), (9, 10), (10, 11), (11, 12)),
    *((9, 13), (13, 14), (14, 15), (15, 16)),
    *((13, 17), (0, 17), (17, 18), (18, 19), (19, 20)),
)
"""Pairs of landmark indices that are drawn as bones."""


class Handedness(StrEnum):
    """Which hand of the person it is, seen in a picture that is not mirrored."""

    LEFT = "left"
    RIGHT = "right"
    UNKNOWN = "unknown"


def _check_points(name: str, points: NDArray[np.float32]) -> None:
    if not isinstance(points, np.ndarray) or points.shape != (21, 3) or points.dtype != np.float32:
        got = f"{points.shape} {points.dtype}" if isinstance(points, np.ndarray) else type(points).__name__
        raise InvalidInputError(f"{name}: expected (21, 3) float32, got {got}")
    if not np.isfinite(points).all():
        raise InvalidInputError(f"{name}: expected finite numbers, got nan or inf")


@dataclass(frozen=True, slots=True, eq=False)
class HandLandmarks:
    """One detected hand.

    Args:
        points_px: (21, 3) float32; x and y in pixels of the frame (may lie outside it), z in the same scale as x,
            smaller is nearer, 0 at the wrist.
        points_world_m: (21, 3) float32 metres, origin at the hand's geometric centre; None where the detector has none.
        handedness: Which hand.
        handedness_score: Confidence of `handedness`, 0 to 1.
        presence: Confidence that a hand is there, 0 to 1; None where the detector does not tell.

    Raises:
        InvalidInputError: A field is of another shape, dtype or range.
    """

    points_px: NDArray[np.float32]
    points_world_m: NDArray[np.float32] | None = None
    handedness: Handedness = Handedness.UNKNOWN
    handedness_score: float = 0.0
    presence: float | None = None

    def __post_init__(self) -> None:
        _check_points("points_px", self.points_px)
        if self.points_world_m is not None:
            _check_points("points_world_m", self.points_world_m)
        for name in ("handedness_score", "presence"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= 1.0:
                raise InvalidInputError(f"{name}: expected 0 to 1, got {value}")

    @property
    def points_xy_px(self) -> NDArray[np.float32]:
        """(21, 2) float32 view of x and y in pixels."""
        return self.points_px[:, :2]

    @property
    def box_xyxy_px(self) -> tuple[float, float, float, float]:
        """Smallest box around the landmarks, pixels, not clipped to the frame."""
        low, high = self.points_xy_px.min(axis=0), self.points_xy_px.max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])

    @property
    def palm_width_px(self) -> float:
        """Length in pixels that scales with the hand whatever the fingers do.

        The largest of three palm bones (wrist to index base, wrist to pinky base, index base to pinky base), so that
        it stays sound when the palm is seen edge-on.
        """
        wrist, index, pinky = self.points_xy_px[0], self.points_xy_px[5], self.points_xy_px[17]
        return float(max(np.linalg.norm(wrist - index), np.linalg.norm(wrist - pinky), np.linalg.norm(index - pinky)))
