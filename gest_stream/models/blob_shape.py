"""The outline of a hand of which nothing but a mask is known: no fingers, no wrist, a scale guessed from its area."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gest_stream.models.crop_window import CropWindow
from gest_stream.types import HandMask

_HAND_CM2 = 120.0
"""What a hand shows of itself. Rendered hands held open to the camera show 133 to 149 cm2 (medians over the presets of
`gest_stream.synthetic`, in the centimetres of `scale_px_per_cm`), those of a person who gestures 90 (66 to 153, 5th
to 95th percentile over 413 hands); between the two, lengths are wrong by about a seventh."""

_CORE_CM = 0.8
_CORE_SHARE = 0.5

_ALIKE = 0.5
"""Mean log likelihood ratio from which a square, twice `_ALIKE_CM` a side, looks like the hand; one that holds a finger
and background does not."""

_ALIKE_CM = 0.9
_REACH_CM = 0.5
_SHIFT = 4


@dataclass(frozen=True, slots=True, eq=False)
class BlobShape:
    """A mask's outline in the coordinates of one frame.

    Args:
        points_xy_px: (N, 2) float32 pixels, the corners of its closed curves, one curve after the other.
        curve_ends: Number of points up to the end of each curve; the last one is N. What an odd number of curves
            surrounds is hand.
        px_per_cm: Size of a centimetre of this hand.
    """

    points_xy_px: NDArray[np.float32]
    curve_ends: tuple[int, ...]
    px_per_cm: float

    @classmethod
    def from_mask(cls, mask: HandMask) -> BlobShape | None:
        """Follow a mask's outline; None where it is empty.

        Args:
            mask: The hand as far as it is seen. Its area gives the scale, so that a centimetre of a hand that is half
                hidden is taken for 0.7 of one.
        """
        import cv2

        inside = mask.inside
        area = int(np.count_nonzero(inside))
        if area == 0:
            return None
        curves, _ = cv2.findContours(inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        points = np.concatenate([curve[:, 0] for curve in curves]) + np.array(mask.origin_xy_px)
        ends = tuple(int(end) for end in np.cumsum([len(curve) for curve in curves]))
        return cls(points.astype(np.float32), ends, float(np.sqrt(area / _HAND_CM2)))

    def moved_to(self, points_xy_px: NDArray[np.float32]) -> BlobShape:
        """The same outline at other points, which are its own moved, turned and scaled as one piece."""
        before, after = (points - points.mean(axis=0) for points in (self.points_xy_px, points_xy_px))
        grown = float(np.sqrt((after**2).sum() / max(float((before**2).sum()), 1e-6)))
        return BlobShape(points_xy_px, self.curve_ends, self.px_per_cm * (grown if grown > 0.0 else 1.0))

    def box_xyxy_px(self, margin_cm: float) -> tuple[float, float, float, float]:
        """Box around the outline with `margin_cm` on every side, pixels, not clipped."""
        low, high = self.points_xy_px.min(axis=0), self.points_xy_px.max(axis=0)
        margin = margin_cm * self.px_per_cm
        return float(low[0] - margin), float(low[1] - margin), float(high[0] + margin), float(high[1] + margin)

    def draw(self, window: CropWindow) -> NDArray[np.uint8]:
        """Fill the outline on a window's grid.

        Returns:
            (h, w) uint8, 255 inside and 0 outside.
        """
        import cv2

        cells = np.rint(window.to_grid(self.points_xy_px) * (1 << _SHIFT))
        fixed = np.clip(cells, -(2**20), 2**20).astype(np.int32)
        grid = np.zeros((window.grid_size[1], window.grid_size[0]), np.uint8)
        cv2.fillPoly(grid, np.split(fixed, self.curve_ends[:-1]), 255, cv2.LINE_8, _SHIFT)
        return grid

    def draw_core(self, window: CropWindow) -> NDArray[np.uint8]:
        """Draw what is hand even where the outline is not right: all that lies 0.8 cm inside it.

        Returns:
            (h, w) uint8, 255 there and 0 elsewhere; of a thin hand the inner half is left.
        """
        import cv2

        depth = np.asarray(cv2.distanceTransform(self.draw(window), cv2.DIST_L2, 3))
        limit = min(_CORE_CM * self.px_per_cm * window.scale_xy[0], _CORE_SHARE * float(depth.max()))
        return np.where(depth > limit, 255, 0).astype(np.uint8)

    def beyond_wrist_cm(self, window: CropWindow) -> NDArray[np.float32]:
        """-1 for every grid cell, (h, w) float32: where the wrist is is unknown, and nothing is cut."""
        return np.full((window.grid_size[1], window.grid_size[0]), -1.0, np.float32)


def beyond_lookalikes_cm(
    evidence: NDArray[np.float32], distance_cm: NDArray[np.float32], cells_per_cm: float, from_cm: float
) -> NDArray[np.float32]:
    """Where a hand must end at its outline, because what lies beyond looks like it: its forearm, another hand, a face.

    Without this a mask creeps up the forearm, whose colours are the hand's, by some millimetres a frame. A piece of
    the hand that the outline left out has those colours too, but it is smaller.

    Args:
        evidence: (h, w) float32 log likelihood ratio of hand against surroundings.
        distance_cm: (h, w) float32 signed distance to the outline, positive inside.
        cells_per_cm: Size of a centimetre of the hand.
        from_cm: How far a lookalike reaches beyond the outline at least.

    Returns:
        (h, w) float32 centimetres beyond the outline near lookalikes, -1 elsewhere.
    """
    import cv2

    side = 2 * max(1, round(_ALIKE_CM * cells_per_cm)) + 1
    alike = cv2.boxFilter(evidence, -1, (side, side), borderType=cv2.BORDER_REPLICATE) > _ALIKE
    seeds = (alike & (distance_cm < -from_cm)).astype(np.uint8)
    reach = 2 * max(1, round((from_cm + _REACH_CM) * cells_per_cm)) + 1
    near = cv2.dilate(seeds, np.ones((reach, reach), np.uint8))
    return np.where(near > 0, -distance_cm, np.float32(-1.0))
