"""RGB from and to 4:2:0 planes, on a part of the picture where only a part changed.

Chroma is repeated on the way to RGB and averaged on the way back, so that a part that no effect touches survives both.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.exchange.slots import PixelFormat, Planes
from gest_stream.worker.view import Matrix, ViewConfig

HD_LINES: Final = 720
_LUMA: Final = {Matrix.BT601: (0.299, 0.114), Matrix.BT709: (0.2126, 0.0722)}  # the weights of red and blue
Box = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels, right and bottom exclusive."""


@dataclass(frozen=True, slots=True)
class YuvColours:
    """What Y, U and V mean.

    Args:
        matrix: BT.601 or BT.709, not `auto`.
        full_range: Whether Y goes from 0 to 255 instead of 16 to 235, and U and V from 0 instead of 16 to 240.
    """

    matrix: Matrix
    full_range: bool


def colours_of(view: ViewConfig, height: int) -> YuvColours:
    """What Y, U and V of a picture of `height` lines mean."""
    matrix = view.matrix
    if matrix is Matrix.AUTO:
        matrix = Matrix.BT709 if height >= HD_LINES else Matrix.BT601
    return YuvColours(matrix, view.full_range)


@lru_cache(maxsize=8)
def yuv_from_rgb(colours: YuvColours) -> NDArray[np.float32]:
    """(3, 4) float32: (Y, U, V) = it @ (R, G, B, 1), all 0 to 255.

    Source: ITU-R BT.601-7 and BT.709-6, table 3: luma, colour differences and their quantisation.
    """
    red, blue = _LUMA[colours.matrix]
    luma = np.array([red, 1 - red - blue, blue])
    u = (np.array([0, 0, 1]) - luma) / (2 * (1 - blue))
    v = (np.array([1, 0, 0]) - luma) / (2 * (1 - red))
    scale = np.array([1, 1, 1]) if colours.full_range else np.array([219, 224, 224]) / 255
    offset = np.array([0 if colours.full_range else 16, 128, 128])
    matrix = np.concatenate([scale[:, None] * np.stack([luma, u, v]), offset[:, None]], axis=1)
    return matrix.astype(np.float32)


@lru_cache(maxsize=8)
def rgb_from_yuv(colours: YuvColours) -> NDArray[np.float32]:
    """(3, 4) float32: (R, G, B) = it @ (Y, U, V, 1); the inverse of `yuv_from_rgb`."""
    there = yuv_from_rgb(colours).astype(np.float64)
    back = np.linalg.inv(there[:, :3])
    return np.concatenate([back, -back @ there[:, 3:]], axis=1).astype(np.float32)


def rgb_of(planes: Planes, pixel_format: PixelFormat, colours: YuvColours) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB of the planes of an I420 or NV12 picture; a new array."""
    import cv2

    luma = planes[0]
    height, width = luma.shape
    if pixel_format is PixelFormat.NV12:
        chroma = [planes[1].reshape(planes[1].shape[0], -1, 2)]
    else:
        chroma = list(planes[1:])
    doubled = (2 * chroma[0].shape[1], 2 * chroma[0].shape[0])
    grown = [cv2.resize(plane, doubled, interpolation=cv2.INTER_NEAREST)[:height, :width] for plane in chroma]
    return np.asarray(cv2.transform(cv2.merge((luma, *grown)), rgb_from_yuv(colours)), np.uint8)


def fill_black(planes: Planes, colours: YuvColours) -> None:
    """Make a picture of I420 or NV12 planes black."""
    planes[0].fill(0 if colours.full_range else 16)
    for chroma in planes[1:]:
        chroma.fill(128)


def even_box(box: Box, size: tuple[int, int]) -> Box:
    """The box grown to whole chroma pixels, inside a picture of (width, height)."""
    left, top, right, bottom = box
    width, height = size
    return left & ~1, top & ~1, min(width, right + (right & 1)), min(height, bottom + (bottom & 1))


def write_yuv(
    part: NDArray[np.uint8], planes: Planes, pixel_format: PixelFormat, colours: YuvColours, box: Box
) -> None:
    """Write a part of a picture into I420 or NV12 planes.

    Args:
        part: (h, w, 3) uint8 RGB.
        planes: Written to, inside the box alone.
        pixel_format: Of the planes.
        colours: What they mean.
        box: Where the part lies, from `even_box`.
    """
    import cv2

    left, top, right, bottom = box
    yuv = cv2.transform(part, yuv_from_rgb(colours))
    planes[0][top:bottom, left:right] = cv2.extractChannel(yuv, 0)
    height, width = bottom - top, right - left
    if height % 2 or width % 2:  # at the edge of an odd picture, whose last chroma pixel stands for one or two
        yuv = cv2.copyMakeBorder(yuv, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    half = ((width + 1) // 2, (height + 1) // 2)
    chroma = [cv2.resize(cv2.extractChannel(yuv, i), half, interpolation=cv2.INTER_AREA) for i in (1, 2)]
    rows, columns = slice(top // 2, top // 2 + half[1]), slice(left // 2, left // 2 + half[0])
    if pixel_format is PixelFormat.NV12:
        interleaved = planes[1].reshape(planes[1].shape[0], -1, 2)
        interleaved[rows, columns] = cv2.merge(chroma)
    else:
        planes[1][rows, columns], planes[2][rows, columns] = chroma
