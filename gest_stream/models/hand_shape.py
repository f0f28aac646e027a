"""The outline of a hand, told by its landmarks alone: tapered fingers, palm, webs, thenar, cut at the wrist."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gest_stream.models.crop_window import CropWindow
from gest_stream.types import HAND_CONNECTIONS, HandLandmarks

# arrays, not tuples: NumPy takes longer to make one into an index than to pick by it
_TIPS = np.array((4, 8, 12, 16, 20))
_BONE_STARTS = np.array((1, 2, 3, 5, 6, 7, 9, 10, 11, 13, 14, 15, 17, 18, 19))
_KNUCKLES = np.array((5, 9, 13, 17))
_WEB_ENDS = _KNUCKLES + 1
_PALM = np.array((0, 1, 5, 9, 13, 17))
_PALM_BONES = ((0, 5), (0, 9), (0, 13), (0, 17), (5, 17))
_PALM_BONES_CM = (10.1, 9.7, 9.2, 8.3, 6.3)
"""Palm bones of the reference hand that the radii are fitted to. It is 1 to 3 % smaller than the median of MediaPipe's
world landmarks over 470 hands (10.2, 9.9, 9.4, 8.4, 6.5); only the ratio of radii to bones matters."""

_SHIFT = 4
_TURNED = np.array((-1.0, 1.0))
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
        *(1.1, 1.3, 1.0, 0.95, 0.74),
        *(1.3, 0.95, 0.87, 0.71),
        *(1.0, 0.95, 0.86, 0.73),
        *(1.2, 0.9, 0.79, 0.71),
        *(1.1, 0.8, 0.73, 0.61),
    )
    tip_cm: float = 0.05
    web: float = 0.5
    thumb_web: float = 0.3
    hypothenar_cm: float = 2.1
    wrist_half_width_cm: float = 2.7
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
        axis = points[_KNUCKLES].mean(axis=0) - points[0]
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
            axis = points_xy_px[_KNUCKLES].mean(axis=0) - points_xy_px[0]
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
        palm, webs = self._palm(points, radii, unit), self._webs(points)
        _extend_tips(points, self.model.tip_cm * unit)
        for center, radius in zip(_fixed(points).tolist(), _fixed(radii).tolist(), strict=True):
            cv2.circle(grid, center, max(1, radius), 255, -1, cv2.LINE_8, _SHIFT)
        for quad in _fixed(_tapered(points, radii)):
            cv2.fillConvexPoly(grid, quad, 255, cv2.LINE_8, _SHIFT)
        for polygon in (*webs, palm):
            cv2.fillConvexPoly(grid, cv2.convexHull(_fixed(polygon)), 255, cv2.LINE_8, _SHIFT)
        return grid

    def draw_core(self, window: CropWindow) -> NDArray[np.uint8]:
        """Draw the bones half as thick as the hand: what is hand even where the outline is not right.

        Returns:
            (h, w) uint8, 255 on the bones and 0 off them.
        """
        import cv2

        points = window.to_grid(self.points_xy_px)
        unit = self.px_per_cm * window.scale_xy[0]
        grid = np.zeros((window.grid_size[1], window.grid_size[0]), np.uint8)
        ends = _fixed(points)
        for a, b in HAND_CONNECTIONS:
            thickness = max(1, round((self.model.radii_cm[a] + self.model.radii_cm[b]) / 2.0 * unit))
            cv2.line(grid, ends[a].tolist(), ends[b].tolist(), 255, thickness, cv2.LINE_8, _SHIFT)
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

    def _webs(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(4, 4, 2) corners of the skin between neighbouring fingers, thumb last."""
        bases = points[_KNUCKLES]
        ends = bases + self.model.web * (points[_WEB_ENDS] - bases)
        between = np.stack([bases[:-1], ends[:-1], ends[1:], bases[1:]], axis=1)
        thumb = points[2] + self.model.thumb_web * (points[3] - points[2])
        return np.concatenate([between, np.stack([points[1], points[2], thumb, points[5]])[None]])

    def _palm(self, points: NDArray[np.float64], radii: NDArray[np.float64], unit: float) -> NDArray[np.float64]:
        blobs = [(points[_PALM, None] + radii[_PALM, None, None] * _CIRCLE).reshape(-1, 2)]
        blobs.append((points[0] + points[17]) / 2.0 + self.model.hypothenar_cm * unit * _CIRCLE)
        axis = self.wrist_axis_xy.astype(np.float64)
        if axis.any():
            # Assumed, as no evaluation set has hands seen edge-on: a wrist is two thirds as thick as it is wide.
            spread = float(np.linalg.norm(points[5] - points[17])) / (_PALM_BONES_CM[-1] * unit + 1e-9)
            half = self.model.wrist_half_width_cm * unit * min(1.0, max(0.67, spread))
            across, back = np.array([-axis[1], axis[0]]), -axis * self.model.wrist_cut_cm * unit
            blobs.append(np.stack([points[0] + across * half + back, points[0] - across * half + back]))
        return np.concatenate(blobs)


def scale_px_per_cm(landmarks: HandLandmarks) -> float:
    """Pixels a centimetre of the hand takes, at least 0.05 (degenerate landmarks included).

    The mean of two measures that err in different poses: the least foreshortened palm bone on the picture, and the
    landmarks' spread on the picture against their spread in metres, whose palm bones tell the hand's true size.
    """
    xy = landmarks.points_xy_px.astype(np.float64)
    scale = float((_palm_bones(xy) / _PALM_BONES_CM).max())
    if landmarks.points_world_m is not None:
        world_cm = landmarks.points_world_m.astype(np.float64) * 100.0
        spread_cm = float(np.sqrt(((world_cm[:, :2] - world_cm[:, :2].mean(axis=0)) ** 2).sum()))
        if spread_cm > 1.0:
            spread_px = float(np.sqrt(((xy - xy.mean(axis=0)) ** 2).sum()))
            size = float(np.median(_palm_bones(world_cm) / _PALM_BONES_CM))
            scale = (scale + spread_px / spread_cm * size) / 2.0
    return max(scale, 0.05)


def _palm_bones(points: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths: NDArray[np.float64] = np.array([np.linalg.norm(points[a] - points[b]) for a, b in _PALM_BONES])
    return lengths


def _fixed(values: NDArray[np.float64]) -> NDArray[np.int32]:
    """To OpenCV's fixed point, clipped to what it can draw."""
    return np.clip(np.rint(values * (1 << _SHIFT)), -(2**20), 2**20).astype(np.int32)


def _extend_tips(points: NDArray[np.float64], reach: float) -> None:
    """Move the five tips by `reach` along their last bones, in place."""
    last = points[_TIPS] - points[_TIPS - 1]
    points[_TIPS] += last * (reach / _lengths(last))


def _tapered(points: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """(15, 4, 2) corners of what connects the circles at the ends of each finger bone."""
    near, far = points[_BONE_STARTS], points[_BONE_STARTS + 1]
    bones = far - near
    across = bones[:, ::-1] * _TURNED / _lengths(bones)
    wide, narrow = across * radii[_BONE_STARTS, None], across * radii[_BONE_STARTS + 1, None]
    corners = np.empty((len(near), 4, 2))
    corners[:, 0], corners[:, 1], corners[:, 2], corners[:, 3] = near + wide, far + narrow, far - narrow, near - wide
    return corners


def _lengths(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    """(N, 1) of (N, 2) vectors, at least 1e-6."""
    squared = vectors * vectors
    return np.maximum(np.sqrt(squared[:, :1] + squared[:, 1:]), 1e-6)
