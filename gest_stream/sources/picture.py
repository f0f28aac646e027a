"""A decoded FFmpeg frame as an upright RGB array."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import VideoFrame
    from av.video.reformatter import VideoReformatter

Orientation = tuple[bool, bool, bool]
"""(transpose, then mirror left to right, then mirror top to bottom)."""

_UPRIGHT: Orientation = (False, False, False)
_TURNS: tuple[Orientation, ...] = (_UPRIGHT, (True, False, True), (False, True, True), (True, True, False))
"""By counter-clockwise quarter turns."""


class RgbConverter:
    """Converts decoded frames, keeping one scaler for as long as size and format stay the same.

    Matrix (BT.601, BT.709, BT.2020) and range (limited, full) are those the stream declares; one that declares nothing
    is taken as FFmpeg takes it, BT.601 limited, whatever its size.
    """

    def __init__(self) -> None:
        self._reformatter: VideoReformatter | None = None
        self.orientation = _UPRIGHT
        """How the newest picture was turned."""
        self._orientation_of: tuple[int, int, int] | None = None

    def convert(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """The picture as (H, W, 3) uint8 RGB, C-contiguous, turned upright.

        The array is the scaler's own output without a copy, unless FFmpeg padded its rows (widths that are not a
        multiple of 8) or the picture has to be turned: one copy each.
        """
        if self._reformatter is None:
            from av.video.reformatter import VideoReformatter

            self._reformatter = VideoReformatter()
        # One scaler thread: frame threads already keep the cores busy, and splitting 1 ms of work does not pay.
        rgb = self._reformatter.reformat(frame, format="rgb24", threads=1)
        image = np.ascontiguousarray(rgb.to_ndarray(), dtype=np.uint8)
        # Looked up on a change only: a PyAV frame that was asked for its side data is freed by the cycle collector
        # alone, and seven runs over 200 frames of 720p took 1.7 GB instead of 0.3.
        shape = (frame.width, frame.height, frame.rotation)
        if shape != self._orientation_of:
            self.orientation, self._orientation_of = display_orientation(frame), shape
        return image if self.orientation == _UPRIGHT else turned(image, self.orientation)


def display_orientation(frame: VideoFrame) -> Orientation:
    """How the stored picture must be turned to be upright, from the frame's display matrix.

    Source: QuickTime's matrix (a b u / c d v / x y w) maps a stored point to x' = ax + cy, y' = bx + dy. Angles between
    the right ones are rounded to them. Of an Exif photo the rotation is known, not whether it is mirrored.
    """
    try:
        side_data: Any = frame.side_data  # PyAV's stub declares a TypedDict without this key
        matrix = np.frombuffer(side_data["DISPLAYMATRIX"], np.int32)
    except KeyError:
        return _UPRIGHT
    except ValueError:
        # PyAV 18 refuses to list a frame's side data where it knows a kind of it not (Exif, 31); the angle still reads.
        turns = round(frame.rotation / 90) % 4
        return _TURNS[turns]
    a, b, _, c, d = (int(value) for value in matrix[:5])
    if abs(b) > abs(a):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


def turned(image: NDArray[np.uint8], orientation: Orientation) -> NDArray[np.uint8]:
    """A turned copy; OpenCV does it in a fifth of the time of a NumPy transpose that is made contiguous."""
    import cv2

    transpose, mirror, upend = orientation
    result = cv2.transpose(image) if transpose else image
    if mirror or upend:
        result = cv2.flip(result, -1 if mirror and upend else int(mirror))
    return np.ascontiguousarray(result, dtype=np.uint8)
