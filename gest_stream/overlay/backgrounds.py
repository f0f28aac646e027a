"""What shows behind the hands: a colour, the blurred picture, or another picture."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import ConfigError
from gest_stream.overlay.palette import Colour

_SIGMA_LINES = 720.0
_SIGMA_AT_WORK_PX = 3.0  # a wider blur is worked out on a smaller picture


class Background(Protocol):
    """What shows behind the hands."""

    def picture(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB for frames of (width, height); not to be written to."""
        ...


class ColourBackground:
    """One colour, kept for the size it was last asked for."""

    def __init__(self, colour: Colour) -> None:
        self._colour = colour
        self._picture: NDArray[np.uint8] | None = None

    def picture(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB; not to be written to."""
        if self._picture is None or self._picture.shape[:2] != (size[1], size[0]):
            self._picture = np.full((size[1], size[0], 3), self._colour, np.uint8)
        return self._picture


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture file as (H, W, 3) uint8 RGB.

    Raises:
        ConfigError: It is absent or not a picture.
    """
    import cv2

    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as exc:
        raise ConfigError(f"effect.background: {path} cannot be read: {exc.strerror}") from exc
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise ConfigError(f"effect.background: {path} is not a picture that can be read; use a PNG or JPEG file")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


class PictureBackground:
    """A picture that covers the frame, cropped evenly; kept for the size it was last asked for.

    Args:
        image: (H, W, 3) uint8 RGB.
    """

    def __init__(self, image: NDArray[np.uint8]) -> None:
        self._image = image
        self._picture: NDArray[np.uint8] | None = None

    def picture(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB; not to be written to."""
        if self._picture is None or self._picture.shape[:2] != (size[1], size[0]):
            self._picture = self._covering(size)
        return self._picture

    def _covering(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        import cv2

        height, width = self._image.shape[:2]
        scale = max(size[0] / width, size[1] / height)
        grown = max(size[0], round(width * scale)), max(size[1], round(height * scale))
        scaled = cv2.resize(self._image, grown, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        left, top = (grown[0] - size[0]) // 2, (grown[1] - size[1]) // 2
        return np.ascontiguousarray(scaled[top : top + size[1], left : left + size[0]], np.uint8)


def blur_scale(size: tuple[int, int], sigma_at_720: float) -> tuple[float, tuple[int, int]]:
    """(sigma in pixels of the smaller picture, its (width, height)) on which a wide blur is worked out."""
    width, height = size
    sigma = sigma_at_720 * min(width, height) / _SIGMA_LINES
    shrink = max(1, round(sigma / _SIGMA_AT_WORK_PX))
    return max(sigma / shrink, 0.3), (max(1, round(width / shrink)), max(1, round(height / shrink)))


def blurred_background(image: NDArray[np.uint8], alpha: NDArray[np.uint8], sigma_at_720: float) -> NDArray[np.uint8]:
    """The picture blurred as if the hands were not there, so that no skin colour bleeds around them.

    The blur is a normalised convolution (Knutsson and Westin, "Normalized and differential convolution", 1993) with
    the certainty 1 - alpha, on a picture shrunk until sigma is about 3 pixels.

    Args:
        image: (H, W, 3) uint8 RGB.
        alpha: (H, W) uint8, 255 is hand.
        sigma_at_720: Of the Gaussian, in pixels of a picture of 720 lines.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    import cv2

    height, width = image.shape[:2]
    small_sigma, small_size = blur_scale((width, height), sigma_at_720)
    small = cv2.resize(image, small_size, interpolation=cv2.INTER_AREA).astype(np.float32)
    certainty = 255 - cv2.resize(alpha, small_size, interpolation=cv2.INTER_AREA).astype(np.float32)
    certainty = certainty * np.float32(1 / 255)
    weight = cv2.GaussianBlur(certainty, (0, 0), small_sigma)
    blurred = cv2.GaussianBlur(small * certainty[..., None], (0, 0), small_sigma)
    blurred /= np.maximum(weight, 1e-3)[..., None]
    rounded = cv2.convertScaleAbs(blurred)
    return np.asarray(cv2.resize(rounded, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
