"""Flat pictures with soft edges that are moved over a frame: cut-out hands, painted people."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gest_stream.synthetic.appearance import Array
from gest_stream.synthetic.layer import Layer
from gest_stream.synthetic.motion import Drift


@dataclass(frozen=True, slots=True, eq=False)
class Sprite:
    """A picture and which part of what is drawn on it covers how much of each pixel.

    Args:
        colour: (h, w, 3) float32 sRGB times coverage, 0 to 255.
        parts: (P, h, w) float32 shares, together 1 at most.
    """

    colour: Array
    parts: Array

    def placed(self, matrix: NDArray[np.float64], frame_size: tuple[int, int]) -> Layer:
        """The sprite on a frame.

        Args:
            matrix: (3, 3) homography from the sprite's pixel corners (0, 0 to w, h) to the frame's.
            frame_size: (width, height) in pixels.
        """
        import cv2

        # OpenCV takes four channels at most
        planes = [self.colour, *self.parts]
        height, width = self.colour.shape[:2]
        scale = float(np.sqrt(abs(np.linalg.det(matrix[:2, :2])))) / abs(matrix[2, 2])
        if scale < 0.7:
            # interpolation looks at four pixels only; what is shrunk further is averaged first
            small = max(1, round(width * scale)), max(1, round(height * scale))
            planes = [np.asarray(cv2.resize(p, small, interpolation=cv2.INTER_AREA), np.float32) for p in planes]
            matrix = matrix @ np.diag([width / small[0], height / small[1], 1.0])
        # OpenCV puts the middles of pixels at whole numbers
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
        matrix = np.linalg.inv(half) @ matrix @ half
        moved = [cv2.warpPerspective(plane, matrix, frame_size, flags=cv2.INTER_LINEAR) for plane in planes]
        parts = np.stack(moved[1:]).astype(np.float32)
        rows, columns = np.nonzero(parts.any(axis=0))
        if not len(rows):
            return Layer((0, 0), np.zeros((0, 0, 3), np.float32), np.zeros((len(self.parts), 0, 0), np.float32))
        top, left = int(rows.min()), int(columns.min())
        cut = slice(top, rows.max() + 1), slice(left, columns.max() + 1)
        return Layer((left, top), np.asarray(moved[0][cut], np.float32), np.ascontiguousarray(parts[:, cut[0], cut[1]]))


def moved_points(points: NDArray[np.floating], matrix: NDArray[np.float64]) -> Array:
    """(N, 2) points after the homography; NaN stays NaN."""
    at = np.concatenate([points, np.ones((len(points), 1))], axis=1) @ matrix.T
    return np.asarray(at[:, :2] / at[:, 2:], np.float32)


class SpritePath:
    """A smooth way of a sprite: it wanders, turns, grows, and tips a little.

    Args:
        rng: Where the way comes from.
        pivot_xy: The sprite's point, in its pixels, that is put at `home`.
        home_xy_px: Where in the frame.
        scale: Frame pixels a sprite pixel.
        roll_deg: How it is turned.
        mirrored: Flipped left to right.
        reach_px: About how far it wanders.
        lively: How much it turns, grows and tips; 1 is a lot.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        pivot_xy: tuple[float, float],
        home_xy_px: tuple[float, float],
        scale: float,
        roll_deg: float = 0.0,
        mirrored: bool = False,
        reach_px: float = 20.0,
        lively: float = 1.0,
    ) -> None:
        self._pivot, self._home = np.array(pivot_xy), np.array(home_xy_px)
        self._scale, self._roll, self._mirror = scale, roll_deg, -1.0 if mirrored else 1.0
        self._reach = reach_px * rng.uniform(0.2, 1.0, 2)
        self._lively = lively * rng.uniform(0.2, 1.0)
        self._place = Drift(rng, 2, 0.1, 0.6)
        self._turn = Drift(rng, 4, 0.08, 0.5)

    def at(self, time_s: float, offset_xy_px: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
        """(3, 3) homography from the sprite to the frame; `offset_xy_px` is added to where it is."""
        place = self._home + self._reach * self._place.at(time_s)
        if offset_xy_px is not None:
            place = place + offset_xy_px
        turn, grow, tip_x, tip_y = self._lively * self._turn.at(time_s)
        angle = np.radians(self._roll + 18.0 * turn)
        scale = self._scale * float(np.exp(0.08 * grow))
        cos, sin = scale * np.cos(angle), scale * np.sin(angle)
        linear = np.array([[cos, -sin], [sin, cos]]) @ np.diag([self._mirror, 1.0])
        # tipped about the pivot, which stays where it is
        tip = np.array([[1, 0, 0], [0, 1, 0], [0.12 * tip_x / 200.0, 0.12 * tip_y / 200.0, 1.0]])
        to_pivot = np.array([[1, 0, -self._pivot[0]], [0, 1, -self._pivot[1]], [0, 0, 1.0]])
        to_frame = np.array([[*linear[0], place[0]], [*linear[1], place[1]], [0, 0, 1.0]])
        return np.asarray(to_frame @ tip @ to_pivot)
