"""The mask of one hand: a crop of alpha values and where it lies in the frame."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError

_INSIDE = 128


class MaskSource(StrEnum):
    """What made a mask."""

    LIGHT = "light"
    SAM2 = "sam2"
    BUILTIN = "builtin"
    CARRIED = "carried"
    """Moved here from an earlier frame."""
    SHAPE = "shape"
    """Made of landmarks or region alone, because the segmenter has not answered for the hand yet."""
    SCRIPTED = "scripted"


@dataclass(frozen=True, slots=True, eq=False)
class HandMask:
    """One hand's mask.

    Only the crop around the hand is kept: at 720p that is about a tenth of the pixels.

    Args:
        crop: (h, w) uint8 alpha; 128 and more is hand, values between are soft edges. May be empty (0, 0).
        origin_xy_px: Top left pixel of the crop in the frame.
        frame_size: (width, height) of the frame in pixels; the crop lies wholly inside it.
        score: The segmenter's confidence, 0 to 1.
        source: What made it.
        age_ms: How much earlier in the stream the frame is that the segmenter made it of, milliseconds; 0 where that
            is this frame.

    Raises:
        InvalidInputError: The crop is of another dtype or shape, or reaches outside the frame; score or age is out of
            range.
    """

    crop: NDArray[np.uint8]
    origin_xy_px: tuple[int, int]
    frame_size: tuple[int, int]
    score: float
    source: MaskSource
    age_ms: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.crop, np.ndarray) or self.crop.ndim != 2 or self.crop.dtype != np.uint8:
            got = f"{self.crop.shape} {self.crop.dtype}" if isinstance(self.crop, np.ndarray) else repr(self.crop)
            raise InvalidInputError(f"mask crop: expected (h, w) uint8, got {got}")
        x, y = self.origin_xy_px
        height, width = self.crop.shape
        if x < 0 or y < 0 or x + width > self.frame_size[0] or y + height > self.frame_size[1]:
            raise InvalidInputError(
                f"mask crop: {width}x{height} at ({x}, {y}) reaches outside the frame of "
                f"{self.frame_size[0]}x{self.frame_size[1]}"
            )
        if not 0.0 <= self.score <= 1.0:
            raise InvalidInputError(f"mask score: expected 0 to 1, got {self.score}")
        if not 0.0 <= self.age_ms < float("inf"):
            raise InvalidInputError(f"mask age: expected 0 ms or more, got {self.age_ms}")

    @classmethod
    def empty(cls, frame_size: tuple[int, int], score: float, source: MaskSource) -> HandMask:
        """A mask without a pixel."""
        return cls(np.zeros((0, 0), np.uint8), (0, 0), frame_size, score, source)

    @classmethod
    def from_full(cls, alpha: NDArray[np.uint8], score: float, source: MaskSource) -> HandMask:
        """Crop a full-frame alpha picture, (H, W) uint8, to the pixels above 0."""
        size = (alpha.shape[1], alpha.shape[0])
        rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
        if rows.size == 0:
            return cls.empty(size, score, source)
        top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
        crop = np.ascontiguousarray(alpha[top:bottom, left:right])
        return cls(crop, (left, top), size, score, source)

    @property
    def slices(self) -> tuple[slice, slice]:
        """(rows, columns) of the crop, to index a full-frame array with."""
        x, y = self.origin_xy_px
        return slice(y, y + self.crop.shape[0]), slice(x, x + self.crop.shape[1])

    @property
    def inside(self) -> NDArray[np.bool_]:
        """(h, w) bool of the crop: True where the hand is."""
        return self.crop >= _INSIDE

    @property
    def area_px(self) -> int:
        """Number of hand pixels."""
        return int(np.count_nonzero(self.inside))

    @property
    def box_xyxy_px(self) -> tuple[float, float, float, float] | None:
        """Smallest box around the hand pixels, right and bottom exclusive; None for an empty mask."""
        inside = self.inside
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if rows.size == 0:
            return None
        x, y = self.origin_xy_px
        return float(x + columns[0]), float(y + rows[0]), float(x + columns[-1] + 1), float(y + rows[-1] + 1)

    def full(self) -> NDArray[np.uint8]:
        """(H, W) uint8 alpha over the whole frame; a new array."""
        alpha = np.zeros((self.frame_size[1], self.frame_size[0]), np.uint8)
        alpha[self.slices] = self.crop
        return alpha

    def shared_px(self, other: HandMask) -> int:
        """How many hand pixels the two masks have in common.

        Raises:
            InvalidInputError: The masks belong to frames of different sizes.
        """
        if self.frame_size != other.frame_size:
            raise InvalidInputError(f"iou: masks of frames {self.frame_size} and {other.frame_size} cannot be compared")
        (ax, ay), (bx, by) = self.origin_xy_px, other.origin_xy_px
        left, top = max(ax, bx), max(ay, by)
        right = min(ax + self.crop.shape[1], bx + other.crop.shape[1])
        bottom = min(ay + self.crop.shape[0], by + other.crop.shape[0])
        if left >= right or top >= bottom:
            return 0
        a = self.crop[top - ay : bottom - ay, left - ax : right - ax] >= _INSIDE
        b = other.crop[top - by : bottom - by, left - bx : right - bx] >= _INSIDE
        return int(np.count_nonzero(a & b))

    def iou(self, other: HandMask) -> float:
        """Intersection over union of the two masks' hand pixels, 0 to 1; 0 when both are empty.

        Raises:
            InvalidInputError: The masks belong to frames of different sizes.
        """
        shared = self.shared_px(other)
        union = self.area_px + other.area_px - shared
        return shared / union if union else 0.0
