"""The part of a frame that is looked at for one hand, on a grid whose size does not depend on the frame's."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_MAX_ENLARGEMENT = 4.0


@dataclass(frozen=True, slots=True)
class CropWindow:
    """A box of whole frame pixels and the small grid it is shrunk (or, for a tiny hand, enlarged) to.

    Args:
        left: First frame column.
        top: First frame row.
        width: Frame columns, 1 or more.
        height: Frame rows, 1 or more.
        grid_size: (width, height) of the grid in cells.
    """

    left: int
    top: int
    width: int
    height: int
    grid_size: tuple[int, int]

    @classmethod
    def around(
        cls, box_xyxy_px: tuple[float, float, float, float], frame_size: tuple[int, int], working_px: int
    ) -> CropWindow | None:
        """The window of a box, clipped to the frame; None where nothing of it lies inside.

        Args:
            box_xyxy_px: The box in frame pixels; may reach outside.
            frame_size: (width, height) of the frame in pixels.
            working_px: Cells of the grid's longer side.
        """
        left, top = max(0, int(np.floor(box_xyxy_px[0]))), max(0, int(np.floor(box_xyxy_px[1])))
        right = min(frame_size[0], int(np.ceil(box_xyxy_px[2])))
        bottom = min(frame_size[1], int(np.ceil(box_xyxy_px[3])))
        if left >= right or top >= bottom:
            return None
        width, height = right - left, bottom - top
        scale = min(_MAX_ENLARGEMENT, working_px / max(width, height))
        return cls(left, top, width, height, (max(1, round(width * scale)), max(1, round(height * scale))))

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Grid cells per frame pixel, in x and y (equal but for rounding)."""
        return self.grid_size[0] / self.width, self.grid_size[1] / self.height

    def overlaps(self, other: CropWindow) -> bool:
        """Whether they have a frame pixel in common."""
        return (
            self.left < other.left + other.width
            and other.left < self.left + self.width
            and self.top < other.top + other.height
            and other.top < self.top + self.height
        )

    def to_grid(self, points_xy_px: NDArray[np.float32]) -> NDArray[np.float64]:
        """Frame pixels to grid cells; whole numbers are centres in both."""
        scaled: NDArray[np.float64] = (points_xy_px.astype(np.float64) + 0.5 - (self.left, self.top)) * self.scale_xy
        return scaled - 0.5

    def cell_centers_px(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Frame x of every grid column and frame y of every grid row, float32."""
        scale_x, scale_y = self.scale_xy
        x = (np.arange(self.grid_size[0], dtype=np.float32) + 0.5) / scale_x + self.left - 0.5
        y = (np.arange(self.grid_size[1], dtype=np.float32) + 0.5) / scale_y + self.top - 0.5
        return x.astype(np.float32), y.astype(np.float32)

    def take(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The window's pixels of a frame, (H, W, 3) uint8, on the grid: (h, w, 3) uint8; so of (H, W), too."""
        import cv2

        part = image[self.top : self.top + self.height, self.left : self.left + self.width]
        # Halved while it can be, the rest by INTER_LINEAR: OpenCV is quick at those.
        while part.shape[1] >= 2 * self.grid_size[0] and part.shape[0] >= 2 * self.grid_size[1]:
            half = (part.shape[1] // 2, part.shape[0] // 2)
            part = cv2.resize(part[: 2 * half[1], : 2 * half[0]], half, interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(part, self.grid_size, interpolation=cv2.INTER_LINEAR), np.uint8)

    def regrid(self, values: NDArray[np.float32], origin: CropWindow, outside: float) -> NDArray[np.float32]:
        """Values on another window's grid, (h, w) float32, moved to this one's; `outside` where it does not reach."""
        import cv2

        if origin == self:
            return values
        (my_x, my_y), (its_x, its_y) = self.scale_xy, origin.scale_xy
        # Of each of my cells: its frame pixel, then its cell on the other grid.
        to_origin = np.array(
            [
                [its_x / my_x, 0.0, (0.5 / my_x + self.left - origin.left) * its_x - 0.5],
                [0.0, its_y / my_y, (0.5 / my_y + self.top - origin.top) * its_y - 0.5],
            ]
        )
        moved = cv2.warpAffine(
            values,
            to_origin,
            self.grid_size,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=outside,
        )
        return np.asarray(moved, np.float32)

    def to_frame(self, cells_xy: NDArray[np.float64]) -> NDArray[np.float32]:
        """Grid cells to frame pixels; the inverse of `to_grid`."""
        placed: NDArray[np.float32] = ((cells_xy + 0.5) / self.scale_xy + (self.left, self.top) - 0.5).astype(
            np.float32
        )
        return placed
