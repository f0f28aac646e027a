"""What the refiner is shown of one hand: a square crop, what is expected in it, and what was there a frame ago.

Training and running go through the same functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gest_stream.models.crop_window import CropWindow
from gest_stream.models.hand_shape import HandShape, ShapeModel
from gest_stream.models.landmark_warp import Similarity
from gest_stream.models.refiner import INPUTS
from gest_stream.types import HandLandmarks

_BOX_SIDES = 1.45
_PALMS = 2.0
_ROOT_AREAS = 2.1
"""Side of the crop in sides of the landmarks' or mask's box, and at least in palm widths or roots of the mask's area:
a fist is to be seen as large as it is when the hand opens."""

_MEAN, _SPREAD = 127.5, 64.0
_SHAPE = ShapeModel()
_GROWTH = (0.6, 1.6)
"""What a hand grows by from frame to frame; landmarks that say otherwise are not of one hand."""


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What is kept of a hand from one frame to the next.

    Args:
        window: Where it was looked at.
        image: (grid, grid, 3) uint8 of the window.
        mask: (grid, grid) float32, 0 to 1.
        points_xy_px: (21, 2) float32 landmarks on that frame; None where there were none.
    """

    window: CropWindow
    image: NDArray[np.uint8]
    mask: NDArray[np.float32]
    points_xy_px: NDArray[np.float32] | None = None


def landmark_window(points_xy_px: NDArray[np.float32], grid: int) -> CropWindow:
    """The crop around landmarks, (21, 2) pixels; may reach outside the frame."""
    low, high = points_xy_px.min(axis=0), points_xy_px.max(axis=0)
    wrist, index, pinky = points_xy_px[0], points_xy_px[5], points_xy_px[17]
    palm = max(float(np.linalg.norm(a - b)) for a, b in ((wrist, index), (wrist, pinky), (index, pinky)))
    return square_window((low + high) / 2, max(_BOX_SIDES * float((high - low).max()), _PALMS * palm), grid)


def mask_window(box_xyxy_px: Sequence[float], area_px: float, grid: int) -> CropWindow:
    """The crop around a mask's box; may reach outside the frame."""
    left, top, right, bottom = box_xyxy_px
    side = max(_BOX_SIDES * max(right - left, bottom - top), _ROOT_AREAS * float(np.sqrt(area_px)))
    return square_window(np.array([left + right - 1, top + bottom - 1]) / 2, side, grid)


def square_window(center_xy_px: NDArray[np.floating], side_px: float, grid: int) -> CropWindow:
    """A square of whole pixels, at least 8 of them a side."""
    side = max(8, round(side_px))
    left, top = (round(float(value) - side / 2) for value in center_xy_px)
    return CropWindow(left, top, side, side, (grid, grid))


def take_square(image: NDArray[np.uint8], window: CropWindow) -> NDArray[np.uint8]:
    """The window's pixels of a frame, (H, W, 3) or (H, W) uint8, on its grid; 128 outside the frame."""
    height, width = image.shape[:2]
    if 0 <= window.left and 0 <= window.top and window.left + window.width <= width:
        if window.top + window.height <= height:
            return window.take(image)
    padded = np.full((window.height, window.width, *image.shape[2:]), 128, np.uint8)
    rows = slice(max(window.top, 0), min(window.top + window.height, height))
    columns = slice(max(window.left, 0), min(window.left + window.width, width))
    if rows.start < rows.stop and columns.start < columns.stop:
        down = slice(rows.start - window.top, rows.stop - window.top)
        across = slice(columns.start - window.left, columns.stop - window.left)
        padded[down, across] = image[rows, columns]
    return CropWindow(0, 0, window.width, window.height, window.grid_size).take(padded)


def frame_plane(window: CropWindow, frame_size: tuple[int, int]) -> NDArray[np.float32]:
    """(grid, grid) float32, 1 where a cell's centre lies in the frame of (width, height) pixels."""
    x, y = window.cell_centers_px()
    inside_x, inside_y = (x > -0.5) & (x < frame_size[0] - 0.5), (y > -0.5) & (y < frame_size[1] - 0.5)
    return (inside_y[:, None] & inside_x[None]).astype(np.float32)


def shape_plane(points_xy_px: NDArray[np.float32], window: CropWindow) -> NDArray[np.float32]:
    """The hand that landmarks, (21, 2) pixels, promise: (grid, grid) float32, 0.5 on its flesh and 1 on its bones."""
    points = np.zeros((21, 3), np.float32)
    points[:, :2] = points_xy_px
    shape = HandShape.from_landmarks(HandLandmarks(points), _SHAPE)
    drawn = shape.draw(window).astype(np.float32) + shape.draw_core(window)
    return drawn * np.float32(1.0 / 510.0)


def past_planes(
    past: Past,
    window: CropWindow,
    points_xy_px: NDArray[np.float32] | None = None,
    shift_xy_px: tuple[float, float] = (0.0, 0.0),
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The last frame's colours and mask where the hand is now.

    Args:
        past: From the last frame.
        window: Of this frame.
        points_xy_px: This frame's landmarks; with the last frame's they tell how the hand moved, turned and grew.
        shift_xy_px: How it moved otherwise.

    Returns:
        (grid, grid, 3) uint8, grey where nothing is known, and (grid, grid) float32.
    """
    import cv2

    turn, shift = 1 + 0j, -complex(*shift_xy_px)  # of a pixel of this frame to its place on the last one
    if points_xy_px is not None and past.points_xy_px is not None:
        back = Similarity.fit(points_xy_px, past.points_xy_px, _GROWTH)
        turn, shift = back.turn, back.shift
    own, theirs = window.scale_xy[0], past.window.scale_xy[0]
    corner = complex(window.left - 0.5, window.top - 0.5) + (0.5 + 0.5j) / own
    origin = complex(past.window.left - 0.5, past.window.top - 0.5)
    linear = turn * theirs / own
    constant = (turn * corner + shift - origin) * theirs - (0.5 + 0.5j)
    matrix = np.array([[linear.real, -linear.imag, constant.real], [linear.imag, linear.real, constant.imag]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    image = cv2.warpAffine(past.image, matrix, window.grid_size, flags=flags, borderValue=(128, 128, 128))
    mask = cv2.warpAffine(past.mask, matrix, window.grid_size, flags=flags)
    return np.asarray(image, np.uint8), np.asarray(mask, np.float32)


def stack_inputs(
    image: NDArray[np.uint8],
    inside: NDArray[np.float32],
    shape: NDArray[np.float32] | None,
    rivals: NDArray[np.float32] | None,
    past: tuple[NDArray[np.uint8], NDArray[np.float32]] | None,
) -> NDArray[np.float32]:
    """All that the network is shown, (10, grid, grid) float32; what is None is 0 everywhere."""
    stacked = np.zeros((INPUTS, *inside.shape), np.float32)
    _put_colours(image, stacked[:3])
    stacked[3] = inside
    if shape is not None:
        stacked[4] = shape
    if rivals is not None:
        stacked[5] = rivals
    if past is not None:
        stacked[6] = past[1]
        _put_colours(past[0], stacked[7:])
    return stacked


def _put_colours(image: NDArray[np.uint8], planes: NDArray[np.float32]) -> None:
    import cv2

    for k, plane in enumerate(cv2.split(image)):
        np.multiply(plane, np.float32(1.0 / _SPREAD), out=planes[k])
    planes -= np.float32(_MEAN / _SPREAD)
