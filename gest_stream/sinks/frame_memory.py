"""Drawn pictures as FFmpeg frames, over the same memory where that is safe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from av import VideoFrame

_SCALER_BLOCK_PX = 16


def as_video_frame(picture: NDArray[np.uint8]) -> VideoFrame:
    """A picture as a frame for the scaler, without a copy where its rows are whole blocks of 16 pixels.

    libswscale reads whole blocks and so past the end of an array whose rows do not hold whole ones; FFmpeg's own
    memory, which those are copied to, has room.

    Args:
        picture: (H, W, 3) uint8 RGB or (H, W, 4) uint8 RGBA, C-contiguous; not to be written to while the frame lives.
    """
    import av

    pixels = "rgba" if picture.shape[2] == 4 else "rgb24"
    if picture.shape[1] % _SCALER_BLOCK_PX == 0:
        return av.VideoFrame.from_numpy_buffer(picture, format=pixels)
    return av.VideoFrame.from_ndarray(picture, format=pixels)
