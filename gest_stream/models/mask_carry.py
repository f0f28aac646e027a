"""A hand's mask carried from the frame it was made on to a later one, by the hand's landmarks or by optical flow.

With landmarks on both frames the outline is that which the landmarks promise now, corrected by what the mask differed
from the promise then, and by the picture's colours and edges. Where the hand hardly changed its shape meanwhile, the
mask itself, moved with the bones, counts for more. Without landmarks it is moved with the picture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gest_stream.models.colour_model import ColourModel, colour_codes
from gest_stream.models.crop_window import CropWindow
from gest_stream.models.hand_shape import HandShape, ShapeModel
from gest_stream.models.landmark_warp import Similarity, bones_back
from gest_stream.models.mask_flow import FlowFinder, grey_of
from gest_stream.models.mask_refine import (
    RefineModel,
    shape_odds,
    signed_distance,
    smooth_along_edges,
    without_islands,
)
from gest_stream.types import Frame, HandLandmarks, HandMask

Box = tuple[float, float, float, float]
WayBack = Callable[[NDArray[np.float32]], NDArray[np.float32]]

_MARGIN = 0.2
_SHAPE_MARGIN_CM = 3.0
_FAR_PX = -64.0
_FAR_ODDS = -16.0
_ODDS_LIMIT = 4.0
_COARSE_CELLS = 4
_FLOW_MISS_CELLS = 1.5
_MAX_PULL_CELLS = 8.0
_SURE_HAND_CM = 0.2
_BACKGROUND_CM = (0.6, 2.8)

# Chosen on two rendered clips, with true masks 1 to 30 frames old and MediaPipe's landmarks.
_REFINE = RefineModel(play_cm=0.4, inner_play_cm=0.8)
_MAX_CORRECTION_CM = 1.2
_STIFF_SHARE = 0.7
_STIFF_CM = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Anchor:
    """A mask and what must be known of its frame to carry it.

    Args:
        mask: The mask; not empty.
        landmarks: The hand's on the same frame, where they were found.
        window: What was looked at.
        grey: (h, w) uint8 picture on the window's grid.
        distance_px: (h, w) float32 distance to the mask's outline in frame pixels, positive inside.
        correction_cm: (h, w) float32 by how much the mask reaches beyond what the landmarks promise; None without them,
            and where the mask is only to be moved.
        colours: Of the hand and of what is around it; None where they could not be told.
    """

    mask: HandMask
    landmarks: HandLandmarks | None
    window: CropWindow
    grey: NDArray[np.uint8]
    distance_px: NDArray[np.float32]
    correction_cm: NDArray[np.float32] | None
    colours: ColourModel | None


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """Where a hand probably is on a frame.

    Args:
        window: The part of the frame.
        odds: (h, w) float32 log odds of hand on the window's grid.
        followed: Share of the hand that the picture confirms to have moved so, 0 to 1; 1 where landmarks say it.
    """

    window: CropWindow
    odds: NDArray[np.float32]
    followed: float

    def blended(self, older: Outline, share: float) -> Outline:
        """On the way from an older outline to this one, which has `share`, 0 to 1: the outline moves evenly."""
        before = self.window.regrid(older.odds, older.window, _FAR_ODDS)
        distances = [signed_distance((odds > 0).astype(np.uint8)) for odds in (before, self.odds)]
        between = np.float32(1.0 - share) * distances[0] + np.float32(share) * distances[1]
        return Outline(self.window, np.float32(2.0) * between, self.followed)


class MaskCarrier:
    """Carries masks. Its methods are called by one thread at a time.

    Args:
        working_px: Cells of the longer side of the grid that a hand is looked at on.
    """

    def __init__(self, working_px: int = 144) -> None:
        self._working_px = working_px
        self._shape_model = ShapeModel()
        self._flow = FlowFinder()

    def anchor(
        self, frame: Frame, mask: HandMask, landmarks: HandLandmarks | None, briefly: bool = False
    ) -> Anchor | None:
        """What is needed to carry the mask of a frame later; None where it is empty.

        Args:
            frame: The frame.
            mask: Its mask.
            landmarks: The hand's on it, where they were found.
            briefly: It will be carried over a few frames only: moving it is enough, and quicker.
        """
        box = mask.box_xyxy_px
        if box is None:
            return None
        box = _widened(box)
        shape = HandShape.from_landmarks(landmarks, self._shape_model) if landmarks is not None else None
        if shape is not None:
            box = _joined(box, shape.box_xyxy_px(_SHAPE_MARGIN_CM))
        window = CropWindow.around(box, frame.size, self._working_px)
        if window is None:
            return None
        picture = window.take(frame.image)
        distance = signed_distance(_on_grid(mask, window))
        correction, colours = None, None
        if shape is not None and not briefly:
            cells_per_cm = np.float32(shape.px_per_cm * window.scale_xy[0])
            mine_cm, beyond = distance / cells_per_cm, shape.beyond_wrist_cm(window)
            promised_cm = signed_distance(shape.draw(window)) / cells_per_cm
            correction = np.clip(mine_cm - promised_cm, -_MAX_CORRECTION_CM, _MAX_CORRECTION_CM)
            near, far = _BACKGROUND_CM
            # the forearm looks like the hand, and may belong to the mask or not
            around = (mine_cm < -near) & (mine_cm > -far) & (beyond < 0)
            colours = ColourModel.learn(colour_codes(picture), mine_cm > _SURE_HAND_CM, around)
        distance_px = distance / np.float32(window.scale_xy[0])
        return Anchor(mask, landmarks, window, grey_of(picture), distance_px, correction, colours)

    def carry(
        self, anchor: Anchor, frame: Frame, landmarks: HandLandmarks | None, motion: Similarity
    ) -> Outline | None:
        """Where the anchor's hand is on a later frame of the same size.

        Args:
            anchor: From `anchor`.
            frame: The later frame.
            landmarks: The hand's on it, where they were found.
            motion: How the hand moved meanwhile, for where landmarks are missing on either frame.

        Returns:
            None where it left the frame.
        """
        if anchor.landmarks is not None and landmarks is not None:
            return self._by_landmarks(anchor, anchor.landmarks, frame, landmarks)
        return self._by_flow(anchor, frame, motion)

    def follow(self, mask: HandMask, before: Frame, now: Frame) -> Similarity | None:
        """How the picture of a mask moved between two frames of one size; None where it cannot be told."""
        box = mask.box_xyxy_px
        window = CropWindow.around(_widened(box), now.size, self._working_px) if box is not None else None
        if window is None:
            return None
        flow = self._flow.between(grey_of(window.take(before.image)), grey_of(window.take(now.image)))
        if flow is None:
            return None
        inside = flow.carry(_on_grid(mask, window).astype(np.float32)) > 0.5
        corners = np.array([(0.0, 0.0), window.grid_size], np.float64)
        moved = flow.move_points(corners, inside)
        return Similarity.fit(window.to_frame(corners), window.to_frame(moved)) if moved is not None else None

    def _by_landmarks(self, anchor: Anchor, then: HandLandmarks, frame: Frame, now: HandLandmarks) -> Outline | None:
        shape = HandShape.from_landmarks(now, self._shape_model)
        window = CropWindow.around(shape.box_xyxy_px(_SHAPE_MARGIN_CM), frame.size, self._working_px)
        if window is None:
            return None
        whole = Similarity.fit(then.points_xy_px, now.points_xy_px)
        back = _cells_back(window, anchor.window, lambda xy: bones_back(xy, then.points_xy_px, now.points_xy_px))
        moved = np.float32(abs(whole.turn) * window.scale_xy[0] * 2.0) * _sample(anchor.distance_px, back)
        if anchor.correction_cm is None:
            return Outline(window, moved, 1.0)
        odds = self._corrected(anchor, frame, shape, window, _sample(anchor.correction_cm, back))
        share = np.float32(_STIFF_SHARE * np.exp(-((_bent_cm(whole, then, now, shape.px_per_cm) / _STIFF_CM) ** 2)))
        return Outline(window, share * _limited(moved) + (np.float32(1.0) - share) * _limited(odds), 1.0)

    def _corrected(
        self, anchor: Anchor, frame: Frame, shape: HandShape, window: CropWindow, correction_cm: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Log odds of what the landmarks promise, corrected, on the window's grid."""
        picture, cells_per_cm = window.take(frame.image), shape.px_per_cm * window.scale_xy[0]
        expected_cm = signed_distance(shape.draw(window)) / np.float32(cells_per_cm) + correction_cm
        odds = shape_odds(expected_cm, _REFINE)
        if anchor.colours is not None:
            gain = np.float32(_REFINE.colour_gain * anchor.colours.trust)
            odds = odds + gain * anchor.colours.evidence(colour_codes(picture))
        odds = smooth_along_edges(odds, grey_of(picture), cells_per_cm, _REFINE)
        return without_islands(odds, expected_cm > _SURE_HAND_CM)

    def _by_flow(self, anchor: Anchor, frame: Frame, motion: Similarity) -> Outline | None:
        assert anchor.mask.box_xyxy_px is not None
        box = _widened(_moved_box(anchor.mask.box_xyxy_px, motion))
        window = CropWindow.around(box, frame.size, self._working_px)
        if window is None:
            return None
        way_back = motion.inverse()
        back, followed = self._pulled(anchor, window, frame, _cells_back(window, anchor.window, way_back.move))
        distance = _sample(anchor.distance_px, back, _FAR_PX)
        inside = distance > 0
        if not inside.any():
            return None
        scale = np.float32(2.0 * abs(motion.turn) * window.scale_xy[0])
        share = np.count_nonzero(inside & followed) / np.count_nonzero(inside)
        return Outline(window, scale * distance, float(share))

    def _pulled(
        self, anchor: Anchor, window: CropWindow, frame: Frame, back: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The way back corrected by the flow that is left once the anchor's picture was moved; which cells have it."""
        import cv2

        moved = cv2.remap(anchor.grey, back, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        flow = self._flow.between(np.asarray(moved, np.uint8), grey_of(window.take(frame.image)))
        if flow is None:
            return back, np.zeros(back.shape[:2], np.bool_)
        sure = flow.error < _FLOW_MISS_CELLS
        weight = sure.astype(np.float32)
        pull = np.clip(flow.back_xy, -_MAX_PULL_CELLS, _MAX_PULL_CELLS) * weight[..., None]
        # what cannot be followed goes with what is around it
        pull = cv2.blur(pull, (5, 5)) / np.maximum(cv2.blur(weight, (5, 5)), 0.2)[..., None]
        rows, columns = np.indices(weight.shape, np.float32)
        place = np.stack([columns + pull[..., 0], rows + pull[..., 1]], axis=-1)
        return _sample(back, place.astype(np.float32)), sure


def _cells_back(window: CropWindow, origin: CropWindow, way_back: WayBack) -> NDArray[np.float32]:
    """(h, w, 2) float32: of every cell of a window, its cell on an earlier one; exact on every few cells only."""
    import cv2

    width, height = window.grid_size
    columns, rows = (max(2, -(-side // _COARSE_CELLS)) for side in (width, height))
    x = (np.arange(columns, dtype=np.float32) + 0.5) * (window.width / columns) + window.left - 0.5
    y = (np.arange(rows, dtype=np.float32) + 0.5) * (window.height / rows) + window.top - 0.5
    places = np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)
    back = origin.to_grid(way_back(places)).astype(np.float32)
    return np.asarray(cv2.resize(back, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)


def _sample(
    values: NDArray[np.float32], at_xy: NDArray[np.float32], outside: float | None = None
) -> NDArray[np.float32]:
    """Values, (h, w) or (h, w, 2), at places of their grid; the border's, or `outside`, from outside."""
    import cv2

    border = cv2.BORDER_REPLICATE if outside is None else cv2.BORDER_CONSTANT
    found = cv2.remap(values, at_xy, None, cv2.INTER_LINEAR, borderMode=border, borderValue=outside or 0.0)
    return np.asarray(found, np.float32)


def _bent_cm(whole: Similarity, then: HandLandmarks, now: HandLandmarks, px_per_cm: float) -> float:
    """How far the landmarks are from where they would be had the hand moved as one piece, root mean square."""
    apart = whole.move(then.points_xy_px) - now.points_xy_px
    return float(np.sqrt((apart**2).sum(axis=1).mean())) / px_per_cm


def _limited(odds: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.clip(odds, -_ODDS_LIMIT, _ODDS_LIMIT)


def _on_grid(mask: HandMask, window: CropWindow) -> NDArray[np.uint8]:
    """(h, w) uint8 on the window's grid, 1 inside the mask."""
    import cv2

    alpha = np.zeros((window.height, window.width), np.uint8)
    (x, y), (height, width) = mask.origin_xy_px, mask.crop.shape
    left, top = max(x, window.left), max(y, window.top)
    right, bottom = min(x + width, window.left + window.width), min(y + height, window.top + window.height)
    if left < right and top < bottom:
        part = mask.crop[top - y : bottom - y, left - x : right - x]
        alpha[top - window.top : bottom - window.top, left - window.left : right - window.left] = part
    way = cv2.INTER_LINEAR if window.grid_size[0] >= window.width else cv2.INTER_AREA
    shrunk = np.asarray(cv2.resize(alpha, window.grid_size, interpolation=way), np.uint8)
    return (shrunk >= 128).astype(np.uint8)


def _moved_box(box: Box, motion: Similarity) -> Box:
    left, top, right, bottom = box
    corners = motion.move(np.array([(left, top), (right, top), (left, bottom), (right, bottom)], np.float32))
    low, high = corners.min(axis=0), corners.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _widened(box: Box) -> Box:
    left, top, right, bottom = box
    margin = _MARGIN * max(right - left, bottom - top)
    return left - margin, top - margin, right + margin, bottom + margin


def _joined(a: Box, b: Box) -> Box:
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])
