"""A cut-out of the picture: what one hand or object adds to a frame, and how cut-outs lie over each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

_SHORTEST_BLUR_PX = 1.5


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A part of the frame that one thing covers.

    Args:
        origin_xy_px: Top left pixel in the frame.
        colour: (h, w, 3) float32 sRGB times coverage, 0 to 255.
        parts: (P, h, w) float32 share of each pixel that each part of the thing covers; they add up to 1 at most.
    """

    origin_xy_px: tuple[int, int]
    colour: Array
    parts: Array

    @property
    def coverage(self) -> Array:
        """(h, w) share of each pixel that the thing covers."""
        return np.asarray(self.parts.sum(axis=0), np.float32)

    @property
    def slices(self) -> tuple[slice, slice]:
        """(rows, columns) of the layer in the frame."""
        x, y = self.origin_xy_px
        return slice(y, y + self.parts.shape[1]), slice(x, x + self.parts.shape[2])


def blurred(layer: Layer, motion_xy_px: NDArray[np.floating], frame_size: tuple[int, int]) -> Layer:
    """The layer as a shutter sees it that is open while the thing moves by `motion_xy_px`, centred on where it is.

    What lies outside the frame does not blur back into it: an error of less than half the motion, at the border only.
    """
    import cv2

    length = float(np.hypot(*motion_xy_px))
    if length < _SHORTEST_BLUR_PX or layer.parts.shape[1] == 0 or layer.parts.shape[2] == 0:
        return layer
    half = int(np.ceil(length / 2)) + 1
    kernel = np.zeros((2 * half + 1, 2 * half + 1), np.float32)
    count = max(3, int(2 * length))
    for share in (np.arange(count) + 0.5) / count - 0.5:
        x, y = half + share * motion_xy_px[0], half + share * motion_xy_px[1]
        left, top = int(x), int(y)
        for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
            for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
                kernel[row, column] += down * across
    kernel /= kernel.sum()
    (x0, y0), (height, width) = layer.origin_xy_px, layer.parts.shape[1:]
    grow = (min(half, y0), min(half, frame_size[1] - y0 - height), min(half, x0), min(half, frame_size[0] - x0 - width))
    planes = np.concatenate([layer.colour, layer.parts.transpose(1, 2, 0)], axis=2)
    planes = np.pad(planes, ((grow[0], grow[1]), (grow[2], grow[3]), (0, 0)))
    planes = cv2.filter2D(planes, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    parts = np.ascontiguousarray(planes[..., 3:].transpose(2, 0, 1))
    return Layer((x0 - grow[2], y0 - grow[0]), np.ascontiguousarray(planes[..., :3]), parts)


def compose(background: Array, layers: Sequence[Layer]) -> Array:
    """Lay `layers`, the furthest first, over a copy of the (H, W, 3) `background`."""
    picture = background.copy()
    for layer in layers:
        place = layer.slices
        picture[place] *= (1.0 - layer.coverage)[..., None]
        picture[place] += layer.colour
    return picture


def visible_parts(layer: Layer, in_front: Sequence[Layer]) -> Array:
    """(P, h, w) share of each pixel where each part of `layer` is seen past the layers `in_front` of it."""
    seen = layer.parts.copy()
    x, y = layer.origin_xy_px
    height, width = layer.parts.shape[1:]
    for other in in_front:
        ox, oy = other.origin_xy_px
        left, right = max(x, ox), min(x + width, ox + other.parts.shape[2])
        top, bottom = max(y, oy), min(y + height, oy + other.parts.shape[1])
        if left < right and top < bottom:
            hidden = other.coverage[top - oy : bottom - oy, left - ox : right - ox]
            seen[:, top - y : bottom - y, left - x : right - x] *= 1.0 - hidden
    return seen
