"""A PNG whose pixels are object ids, and the sizes of pictures without reading them whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError

_VOID: Final = 255
_SIXTEEN_BIT: Final = frozenset({"I", "I;16", "I;16B", "I;16L"})
_EIGHT_BIT: Final = frozenset({"1", "L", "P"})
_ORIENTATION: Final = 0x0112


@dataclass(frozen=True, slots=True, eq=False)
class ObjectIds:
    """What a mask picture says.

    Args:
        ids: (H, W) uint16, the object at every pixel; 0 is none.
        void: (H, W) bool, where nobody knows; None where the picture has no such pixel.
    """

    ids: NDArray[np.uint16]
    void: NDArray[np.bool_] | None

    def areas(self) -> dict[int, int]:
        """Pixels by object."""
        counts = np.bincount(self.ids.ravel())
        return {int(one): int(counts[one]) for one in np.flatnonzero(counts) if one}


def read_object_ids(path: Path) -> ObjectIds:
    """Read a palette or grey PNG.

    In 8 bits 255 is void, as in DAVIS and YouTube-VOS; in 16 bits, as `--save-masks` writes them, it is an object.

    Raises:
        InvalidInputError: It cannot be read, or is in colour.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:  # not OpenCV, which turns a palette's indices into its colours
            mode = picture.mode
            pixels = np.array(picture)
    except Exception as exc:
        raise _unreadable(path, "mask", exc) from exc
    if mode in _SIXTEEN_BIT:
        return ObjectIds(pixels.astype(np.uint16), None)
    if mode not in _EIGHT_BIT:
        raise InvalidInputError(
            f"{path}: is a picture of kind {mode}; a mask is a PNG with a palette or in grey, whose pixels are object "
            "ids (0 for none)"
        )
    void = pixels == _VOID if mode != "1" else np.zeros(pixels.shape, bool)
    ids = np.where(void, 0, pixels).astype(np.uint16)
    return ObjectIds(ids, void if void.any() else None)


def picture_size(path: Path) -> tuple[int, int]:
    """(width, height) of a picture as it is shown, from its header.

    Raises:
        InvalidInputError: It cannot be read.
    """
    from PIL import Image

    try:
        with Image.open(path) as picture:
            turned = picture.getexif().get(_ORIENTATION, 1) >= 5
            width, height = picture.size
    except Exception as exc:
        raise _unreadable(path, "picture", exc) from exc
    return (height, width) if turned else (width, height)


def _unreadable(path: Path, what: str, exc: Exception) -> InvalidInputError:
    reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it is no picture that can be decoded"
    return InvalidInputError(f"{path}: the {what} cannot be read ({reason}); replace or remove it")
