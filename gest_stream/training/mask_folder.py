"""A folder of pictures and one of masks with the same names."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.sources.images import IMAGE_SUFFIXES, natural_key
from gest_stream.training.config import Grey
from gest_stream.training.labels import (
    BACKGROUND,
    FOREARM,
    HAND,
    IGNORE,
    LabelledImage,
    read_mask,
    read_picture,
)

_log = logging.getLogger(__name__)

_GREY: Final = 128
_WHITE: Final = 255


class MaskFolder:
    """Pictures under images/ and PNG masks under masks/, paired by their paths without suffix.

    A mask is painted (255 hand, 128 forearm or not known, 0 background) or holds class numbers (1 hand, 2 forearm), in
    grey or as a palette's.
    Pictures without a mask are left out and counted in the log. Pictures in a folder of their own inside images/ are
    taken for one video.

    Args:
        folder: Holds images/ and masks/.
        grey: What 128 means; None refuses masks with 128.

    Raises:
        InvalidInputError: There are no pictures, no masks, or two pictures of one name.
    """

    def __init__(self, folder: Path, grey: Grey | None = None) -> None:
        self._folder = folder
        self._meaning = _meanings(grey)
        images = _by_stem(folder / "images", IMAGE_SUFFIXES)
        masks = _by_stem(folder / "masks", frozenset({".png"}))
        stems = [stem for stem in images if stem in masks]
        if not stems:
            raise InvalidInputError(
                f"{folder}: none of its {len(images)} pictures has a mask; the mask of "
                f"{images[next(iter(images))].relative_to(folder)} would be masks/{next(iter(images))}.png"
            )
        self._pairs = [(images[stem], masks[stem]) for stem in stems]
        bare = [stem for stem in images if stem not in masks]
        if bare:
            _log.warning("%s: %d of %d pictures have no mask and are left out", folder, len(bare), len(images))

    @property
    def title(self) -> str:
        """What the user calls it."""
        return f"folder:{self._folder}"

    def __len__(self) -> int:
        return len(self._pairs)

    def group(self, index: int) -> str:
        """The picture's folder inside images/, or the picture itself where it lies in none."""
        inside = self._pairs[index][0].relative_to(self._folder / "images")
        return (inside.parent if inside.parent.name else inside.with_suffix("")).as_posix()

    def load(self, index: int) -> LabelledImage:
        """The picture of that number and its mask.

        Raises:
            InvalidInputError: One cannot be read, their sizes differ, or the mask holds values without a meaning.
        """
        picture_path, mask_path = self._pairs[index]
        image, mask = read_picture(picture_path), read_mask(mask_path)
        if mask.shape != image.shape[:2]:
            raise InvalidInputError(
                f"{mask_path}: is {mask.shape[1]}x{mask.shape[0]} pixels, but {picture_path} is "
                f"{image.shape[1]}x{image.shape[0]}; a mask has the size of its picture"
            )
        return LabelledImage(image, self._labels(mask, mask_path))

    def _labels(self, mask: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
        values = set(np.flatnonzero(np.bincount(mask.ravel(), minlength=256)).tolist())
        numbers = bool(values & {1, 2})
        known = {0, 1, 2} if numbers else {0, _GREY, _WHITE}
        foreign = sorted(values - known)
        if foreign:
            shown = ", ".join(map(str, foreign[:10])) + (", …" if len(foreign) > 10 else "")
            raise InvalidInputError(
                f"{path}: holds the grey values {shown}; known are 0, 128 and 255, or the class numbers 0, 1 and 2 "
                "(was it saved with smooth edges?)"
            )
        if numbers:
            return mask
        if _GREY in values and self._meaning[_GREY] == _GREY:
            raise InvalidInputError(
                f"{path}: holds grey (128); say what that is: --grey forearm, or --grey ignore where it is not known"
            )
        return np.asarray(self._meaning[mask], np.uint8)


def _meanings(grey: Grey | None) -> NDArray[np.uint8]:
    """(256,) from painted values to labels; 128 stays itself where its meaning is not told."""
    table = np.full(256, BACKGROUND, np.uint8)
    table[_WHITE] = HAND
    table[_GREY] = {None: _GREY, Grey.FOREARM: FOREARM, Grey.IGNORE: IGNORE}[grey]
    return table


def _by_stem(folder: Path, suffixes: frozenset[str]) -> dict[str, Path]:
    """The files of a folder and those below it by their path inside it without suffix, in natural order."""
    if not folder.is_dir():
        raise InvalidInputError(
            f"{folder}: is not a folder; pictures lie in images/ and their masks in masks/, under the same names"
        )
    files = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()
    ]
    if not files:
        raise InvalidInputError(f"{folder}: holds no files of the kinds {', '.join(sorted(suffixes))}")
    found: dict[str, Path] = {}
    for path in sorted(files, key=lambda one: natural_key(one.as_posix())):
        stem = path.relative_to(folder).with_suffix("").as_posix()
        if stem in found:
            raise InvalidInputError(f"{path}: {found[stem].name} has the same name; a mask belongs to one of them")
        found[stem] = path
    return found
