"""Masks as soft-edged alpha, and blending with it, on the hands' crops alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.overlay.palette import Colour
from gest_stream.types import FrameResult, HandMask

Slices = tuple[slice, slice]


@dataclass(frozen=True, slots=True, eq=False)
class Matte:
    """A part of the picture and how much of the hand shows there.

    Args:
        slices: (rows, columns) of the part.
        alpha: (h, w) uint8, 255 is all hand.
    """

    slices: Slices
    alpha: NDArray[np.uint8]


def feathered(mask: HandMask, feather_px: int) -> Matte:
    """The mask with its edge softened over `feather_px` pixels to both sides; the part grows by as much."""
    x, y = mask.origin_xy_px
    height, width = mask.crop.shape
    if feather_px == 0 or mask.crop.size == 0:
        return Matte(mask.slices, mask.crop)
    import cv2

    left, top = max(0, x - feather_px), max(0, y - feather_px)
    right, bottom = min(mask.frame_size[0], x + width + feather_px), min(mask.frame_size[1], y + height + feather_px)
    padded = np.zeros((bottom - top, right - left), np.uint8)
    padded[y - top : y - top + height, x - left : x - left + width] = mask.crop
    # replicated at the picture's own border: a hand that is cut off by it keeps its alpha there
    kernel = (2 * feather_px + 1, 2 * feather_px + 1)
    alpha = np.asarray(cv2.blur(padded, kernel, borderType=cv2.BORDER_REPLICATE), np.uint8)
    return Matte((slice(top, bottom), slice(left, right)), alpha)


def mattes_of(result: FrameResult, feather_px: int) -> list[tuple[int, Matte]]:
    """(track id, matte) of every hand with a mask that is not empty.

    Raises:
        InvalidInputError: A mask belongs to a frame of another size.
    """
    mattes = []
    for track in result.tracks:
        mask = track.mask
        if mask is None or mask.crop.size == 0:
            continue
        if mask.frame_size != result.frame.size:
            raise InvalidInputError(
                f"track {track.id}: its mask is of a frame of {mask.frame_size}, the frame is {result.frame.size}"
            )
        mattes.append((track.id, feathered(mask, feather_px)))
    return mattes


def combined(mattes: Iterable[Matte], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(H, W) uint8 alpha over the whole picture; where hands overlap the larger value counts."""
    alpha = np.zeros((size[1], size[0]), np.uint8)
    for matte in mattes:
        part = alpha[matte.slices]
        np.maximum(part, matte.alpha, out=part)
    return alpha


def blend(front: NDArray[np.uint8], back: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`front` over `back`, both (h, w, 3) uint8, by (h, w) uint8 alpha; exact at 0 and 255, within 1 between."""
    import cv2

    weights = cv2.merge((alpha, alpha, alpha))
    mixed = cv2.multiply(front, weights, scale=1 / 255)
    return np.asarray(cv2.add(mixed, cv2.multiply(back, cv2.bitwise_not(weights), scale=1 / 255)), np.uint8)


def tint(image: NDArray[np.uint8], colour: Colour, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """One colour over `image`, (h, w, 3) uint8, by (h, w) uint8 alpha: `blend` with a picture of that colour.

    Without the picture: filling one takes NumPy longer than all that is done here.
    """
    import cv2

    front = cv2.merge([cv2.convertScaleAbs(alpha, alpha=value / 255) for value in colour])
    rest = cv2.bitwise_not(cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB))
    return np.asarray(cv2.add(front, cv2.multiply(image, rest, scale=1 / 255)), np.uint8)
