"""Labelled pictures: what a pixel shows, and the sets they come in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError

BACKGROUND: Final = 0
HAND: Final = 1
FOREARM: Final = 2
IGNORE: Final = 255
"""Nothing is known of the pixel."""

_PALETTE_COLOUR_TYPE: Final = 3
"""In byte 25 of a PNG (PNG specification, 11.2.1)."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImage:
    """A picture and what its pixels show.

    Args:
        image: (H, W, 3) uint8 RGB.
        labels: (H, W) uint8: `BACKGROUND`, `HAND`, `FOREARM` or `IGNORE`.

    Raises:
        InvalidInputError: Another shape or dtype.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape[2] != 3 or self.image.dtype != np.uint8:
            raise InvalidInputError(f"image: expected (H, W, 3) uint8, got {self.image.shape} {self.image.dtype}")
        if self.labels.shape != self.image.shape[:2] or self.labels.dtype != np.uint8:
            raise InvalidInputError(
                f"labels: expected {self.image.shape[:2]} uint8, got {self.labels.shape} {self.labels.dtype}"
            )

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.image.shape[1], self.image.shape[0]


class LabelledSet(Protocol):
    """Labelled pictures that are read when they are asked for, from any thread."""

    @property
    def title(self) -> str:
        """What the user calls it."""
        ...

    def __len__(self) -> int: ...

    def group(self, index: int) -> str:
        """Name of what the picture must not be split from: its video, else itself. The same on every machine."""
        ...

    def load(self, index: int) -> LabelledImage:
        """The picture of that number.

        Raises:
            InvalidInputError: It cannot be read, or its labels are of no use.
        """
        ...


def read_picture(path: Path) -> NDArray[np.uint8]:
    """A picture as (H, W, 3) uint8 RGB, turned upright as its Exif data say.

    Raises:
        InvalidInputError: It is absent, cannot be read or is no picture.
    """
    import cv2

    decoded = cv2.imdecode(_bytes_of(path), cv2.IMREAD_COLOR)
    if decoded is None:
        raise InvalidInputError(f"{path}: is not an image that can be decoded; replace or remove it")
    return np.asarray(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), np.uint8)


def read_mask(path: Path) -> NDArray[np.uint8]:
    """A mask as it is stored, (H, W) uint8: grey values, or the numbers of a palette's colours.

    Raises:
        InvalidInputError: It cannot be read, has colour, or more than 8 bits.
    """
    import cv2

    content = _bytes_of(path)
    if _has_palette(content):
        return _palette_numbers(path)
    mask = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if mask is None:
        raise InvalidInputError(f"{path}: is not a mask that can be decoded; replace or remove it")
    if mask.ndim == 3:
        planes = mask[..., :3]
        if (planes != planes[..., :1]).any():
            raise InvalidInputError(
                f"{path}: is a colour picture; a mask has one grey channel (255 hand, 128 forearm or not known, "
                "0 background) or the numbers 0, 1, 2 of the classes"
            )
        mask = planes[..., 0]
    if mask.dtype != np.uint8:
        raise InvalidInputError(f"{path}: has {mask.dtype} pixels; save the mask with 8 bits")
    return np.ascontiguousarray(mask)


def _has_palette(content: NDArray[np.uint8]) -> bool:
    """Whether the bytes of a PNG say that its pixels are numbers of colours."""
    return len(content) > 25 and bool(content[25] == _PALETTE_COLOUR_TYPE) and content[:4].tobytes() == b"\x89PNG"


def _palette_numbers(path: Path) -> NDArray[np.uint8]:
    from PIL import Image  # OpenCV turns the numbers into their colours

    try:
        with Image.open(path) as picture:
            return np.array(picture, np.uint8)
    except Exception as exc:  # Pillow meets damage with SyntaxError, OSError, ValueError, …
        raise InvalidInputError(f"{path}: is not a mask that can be decoded; replace or remove it") from exc


def _bytes_of(path: Path) -> NDArray[np.uint8]:
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise InvalidInputError(f"{path}: cannot be read ({exc.strerror}); check the path") from exc
    if not content:
        raise InvalidInputError(f"{path}: is empty; replace or remove it")
    return np.frombuffer(content, np.uint8)
