"""Fitting a picture into an output whose size is fixed."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def letterbox(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Scale `image` to fit `size` without distortion, centred, the rest black (and transparent).

    Args:
        image: (H, W, C) uint8.
        size: (width, height) in pixels.

    Returns:
        (size[1], size[0], C) uint8; `image` itself where it has that size already.
    """
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    import cv2

    scale = min(size[0] / width, size[1] / height)
    inner = max(1, round(width * scale)), max(1, round(height * scale))
    scaled = cv2.resize(image, inner, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    out = np.zeros((size[1], size[0], image.shape[2]), np.uint8)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    out[top : top + inner[1], left : left + inner[0]] = scaled
    return out


def pad_to_even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeat the last column and row where the width or height is odd; `image` itself where neither is."""
    odd_height, odd_width = image.shape[0] % 2, image.shape[1] % 2
    if not (odd_height or odd_width):
        return image
    return np.pad(image, ((0, odd_height), (0, odd_width), (0, 0)), mode="edge")
