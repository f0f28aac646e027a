"""The outline of a hand, told by its landmarks alone: tapered fingers, palm, webs, thenar, cut at the wrist."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gest_stream.models.crop_window import CropWindow
from gest_stream.types import HandLandmarks

_FINGERS = ((5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20))
_THUMB = (1, 2, 3, 4)
_KNUCKLES = (5, 9, 13, 17)
_PALM = (0, 1, 5, 9, 13, 17)
_PALM_BONES = ((0, 5), (0, 9), (0, 13), (0, 17), (5, 17))
_PALM_BONES_CM = (10.1, 9.7, 9.2, 8.3, 6.3)
"""Median lengths in MediaPipe's world landmarks over 470 upright hands of the evaluation sets."""

_SHIFT = 4
_CIRCLE = np.stack([np.cos(np.arange(16) * np.pi / 8), np.sin(np.arange(16) * np.pi / 8)], axis=1)


@dataclass(frozen=True, slots=True)
class ShapeModel:
    """How thick a hand is.

    Args:
        radii_cm: Radius at each of the 21 landmarks, centimetres of a hand whose palm is 9.7 cm long.
        tip_cm: How far the flesh reaches beyond the landmark of a fingertip, along the last bone.
        web: How far the skin between two fingers reaches along their first bones, 0 to 1.
        thumb_web: The same between thumb and index finger.
        hypothenar_cm: Radius of the ball of the little finger, halfway between wrist and the finger's base.
        wrist_half_width_cm: Half the width of the wrist, at its landmark.
        wrist_cut_cm: How far the hand reaches beyond the wrist's landmark, towards the elbow.
    """

    radii_cm: tuple[float, ...] = (
        *(1.05, 1.25, 0.95, 0.9, 0.7),
        *(1.25, 0.9, 0.82, 0.7),
        *(1.0, 0.95, 0.82, 0.7),
        *(1.15, 0.9, 0.75, 0.68),
        *(1.2, 0.75, 0.7, 0.58),
    )
    tip_cm: float = 0.05
    web: float = 0.5
    thumb_web: float = 0.3
    hypothenar_cm: float = 2.0
    wrist_half_width_cm: float = 2.9
    wrist_cut_cm: float = 1.1


@dataclass(frozen=True, slots=True, eq=False)
class HandShape:
    """A hand's outline in the coordinates of one frame.

    Args:
        points_xy_px: (21, 2) float32 pixels.
        px_per_cm: Size of a centimetre of this hand.
        wrist_axis_xy: Unit vector from wrist towards the knuckles; zero where the palm points at the camera.
        model: How thick it is.
    """

    points_xy_px: NDArray[np.float32]
    px_per_cm: float
    wrist_axis_xy: NDArray[np.float32]
    model: ShapeModel

    @classmethod
    def from_landmarks(cls, landmarks: HandLandmarks, model: ShapeModel) -> HandShape:
        """Measure a hand: its scale comes from the palm, whatever the fingers do."""
        points = landmarks.points_xy_px
        px_per_cm = scale_px_per_cm(landmarks)
        axis = points[list(_KNUCKLES)].mean(axis=0) - points[0]
        length = float(np.linalg.norm(axis))
        # A palm that points at the camera shows no direction of the forearm: then nothing is cut.
        axis = axis / np.float32(length) if length > 2.0 * px_per_cm else np.zeros(2, np.float32)
        return cls(points, px_per_cm, axis.astype(np.float32), model)

    def moved_to(self, points_xy_px: NDArray[np.float32]) -> HandShape:
        """The same hand at other points, which are its own moved, turned and scaled as one piece."""
        before, after = (points - points.mean(axis=0) for points in (self.points_xy_px, points_xy_px))
        grown = float(np.sqrt((after**2).sum() / max(float((before**2).sum()), 1e-6)))
        axis = self.wrist_axis_xy
        if axis.any():
            axis = points_xy_px[list(_KNUCKLES)].mean(axis=0) - points_xy_px[0]
            axis = axis / max(float(np.linalg.norm(axis)), 1e-6)
        return HandShape(points_xy_px, self.px_per_cm * grown, axis.astype(np.float32), self.model)

    def box_xyxy_px(self, margin_cm: float) -> tuple[float, float, float, float]:
        """Box around the landmarks with `margin_cm` on every side, pixels, not clipped."""
        low, high = self.points_xy_px.min(axis=0), self.points_xy_px.max(axis=0)
        margin = margin_cm * self.px_per_cm
        return float(low[0] - margin), float(low[1] - margin), float(high[0] + margin), float(high[1] + margin)

    def draw(self, window: CropWindow) -> NDArray[np.uint8]:
        """Fill the outline on a window's grid.

        Returns:
            (h, w) uint8, 255 inside and 0 outside.
        """
        import cv2

        points = window.to_grid(self.points_xy_px)
        unit = self.px_per_cm * window.scale_xy[0]
        radii = np.asarray(self.model.radii_cm) * unit
        grid = np.zeros((window.grid_size[1], window.grid_size[0]), np.uint8)
        for limb in (*_FINGERS, _THUMB):
            _fill_limb(grid, points[list(limb)], radii[list(limb)], self.model.tip_cm * unit)
        for polygon in (*self._webs(points), self._palm(points, radii, unit)):
            cv2.fillConvexPoly(grid, cv2.convexHull(_fixed(polygon)), 255, cv2.LINE_8, _SHIFT)
        return grid

    def beyond_wrist_cm(self, window: CropWindow) -> NDArray[np.float32]:
        """How far each grid cell lies beyond the wrist's cut, towards the elbow.

        Returns:
            (h, w) float32 centimetres, negative on the hand's side; -1 everywhere where the cut is unknown.
        """
        if not self.wrist_axis_xy.any():
            return np.full((window.grid_size[1], window.grid_size[0]), -1.0, np.float32)
        x, y = window.cell_centers_px()
        wrist, axis = self.points_xy_px[0], self.wrist_axis_xy
        along = (x - wrist[0])[None, :] * axis[0] + (y - wrist[1])[:, None] * axis[1]
        beyond: NDArray[np.float32] = -along / np.float32(self.px_per_cm) - np.float32(self.model.wrist_cut_cm)
        return beyond

    def _webs(self, points: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        webs = []
        for (a, a2, *_), (b, b2, *_) in zip(_FINGERS, _FINGERS[1:], strict=False):
            reach = self.model.web
            webs.append(
                np.stack(
                    [
                        points[a],
                        points[a] + reach * (points[a2] - points[a]),
                        points[b] + reach * (points[b2] - points[b]),
                        points[b],
                    ]
                )
            )
        reach = self.model.thumb_web
        thumb = points[2] + reach * (points[3] - points[2])
        webs.append(np.stack([points[1], points[2], thumb, points[5]]))
        return webs

    def _palm(self, points: NDArray[np.float64], radii: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
        blobs = [points[j] + radii[j] * _CIRCLE for j in _PALM]
        blobs.append((points[0] + points[17]) / 2.0 + self.model.hypothenar_cm * unit * _CIRCLE)
        axis = self.wrist_axis_xy.astype(np.float64)
        if axis.any():
            # Seen edge-on a wrist is as thick as two thirds of its width.
            spread = float(np.linalg.norm(points[5] - points[17])) / (_PALM_BONES_CM[-1] * unit + 1e-9)
            half = self.model.wrist_half_width_cm * unit * min(1.0, max(0.67, spread))
            across, back = np.array([-axis[1], axis[0]]), -axis * self.model.wrist_cut_cm * unit
            blobs.append(np.stack([points[0] + across * half + back, points[0] - across * half + back]))
        return np.concatenate(blobs)


def scale_px_per_cm(landmarks: HandLandmarks) -> float:
    """Pixels a centimetre of the hand takes, 0.5 at least a hand (degenerate landmarks included)."""
    xy = landmarks.points_xy_px.astype(np.float64)
    flat = np.array([np.linalg.norm(xy[a] - xy[b]) for a, b in _PALM_BONES]) / _PALM_BONES_CM
    scale = float(flat.max())
    if landmarks.points_world_m is not None:
        world = landmarks.points_world_m.astype(np.float64) * 100.0
        world_xy = world[:, :2] - world[:, :2].mean(axis=0)
        spread = float((world_xy**2).sum())
        if spread > 1.0:
            px_per_world = float(np.sqrt(((xy - xy.mean(axis=0)) ** 2).sum() / spread))
            bones = np.array([np.linalg.norm(world[a] - world[b]) for a, b in _PALM_BONES]) / _PALM_BONES_CM
            scale = px_per_world * float(np.median(bones))
    return max(scale, 0.05)


def _fixed(points: NDArray[np.float64]) -> NDArray[np.int32]:
    return np.clip(np.rint(points * (1 << _SHIFT)), -(2**20), 2**20).astype(np.int32)


def _fill_limb(grid: NDArray[np.uint8], points: NDArray[np.float64], radii: NDArray[np.float64], tip: float) -> None:
    """Draw tapered capsules through `points`; the last one reaches `tip` beyond its landmark."""
    import cv2

    last = points[-1] - points[-2]
    points = points.copy()
    points[-1] += last * (tip / max(float(np.linalg.norm(last)), 1e-6))
    for center, radius in zip(_fixed(points), radii, strict=True):
        cv2.circle(
            grid, (int(center[0]), int(center[1])), max(1, round(radius * (1 << _SHIFT))), 255, -1, cv2.LINE_8, _SHIFT
        )
    for a, b, ra, rb in zip(points, points[1:], radii, radii[1:], strict=False):
        bone = b - a
        length = float(np.linalg.norm(bone))
        if length <= abs(ra - rb):
            continue
        across = np.array([-bone[1], bone[0]]) / length
        quad = np.stack([a + across * ra, b + across * rb, b - across * rb, a - across * ra])
        cv2.fillConvexPoly(grid, _fixed(quad), 255, cv2.LINE_8, _SHIFT)
