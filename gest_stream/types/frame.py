"""One picture with its media time and the moment it entered the process."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from gest_stream.clock import media_time_s
from gest_stream.errors import InvalidInputError


def check_rgb(image: object) -> NDArray[np.uint8]:
    """Return `image` if it is an (H, W, 3) uint8 array, C-contiguous.

    Raises:
        InvalidInputError: It is anything else; the message quotes what it is and how to convert it.
    """
    if not isinstance(image, np.ndarray):
        raise InvalidInputError(
            f"image: expected a (H, W, 3) uint8 RGB array, got {type(image).__name__}; convert it with numpy.asarray"
        )
    if image.dtype != np.uint8:
        remedy = (
            "multiply by 255 and convert with .astype(numpy.uint8)"
            if np.issubdtype(image.dtype, np.floating)
            else "convert with .astype(numpy.uint8)"
        )
        raise InvalidInputError(
            f"image: expected a (H, W, 3) uint8 RGB array, got {image.shape} {image.dtype}; {remedy}"
        )
    if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise InvalidInputError(
            f"image: expected a (H, W, 3) uint8 RGB array, got {image.shape} {image.dtype}; "
            "grey and RGBA pictures need converting to three channels first"
        )
    return np.ascontiguousarray(image)


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One video frame.

    Args:
        image: (H, W, 3) uint8 RGB, C-contiguous, shared and never written to.
        pts: Presentation time in units of `time_base`, exactly as the source gave it.
        time_base: Seconds per pts unit.
        captured_ns: `clock.now_ns()` when the frame entered the process.
        seq: Running count of frames the source produced, from 0; a gap is a dropped frame.

    Raises:
        InvalidInputError: A field is of another type, shape or range.
    """

    image: NDArray[np.uint8]
    pts: int
    time_base: Fraction
    captured_ns: int
    seq: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "image", check_rgb(self.image))
        if not isinstance(self.pts, int):
            raise InvalidInputError(f"pts: expected an integer, got {self.pts!r}")
        if not isinstance(self.time_base, Fraction) or self.time_base <= 0:
            raise InvalidInputError(f"time_base: expected a positive Fraction, got {self.time_base!r}")
        if self.seq < 0:
            raise InvalidInputError(f"seq: expected 0 or more, got {self.seq}")

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.image.shape[0])

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height

    @property
    def time_s(self) -> float:
        """Media time in seconds."""
        return media_time_s(self.pts, self.time_base)
