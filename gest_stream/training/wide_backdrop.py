"""What lies behind the hands: painted or photographed, moving as behind a camera that is held by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from gest_stream.synthetic.appearance import MONK_TONES, Array
from gest_stream.synthetic.background import make_background
from gest_stream.synthetic.motion import Drift
from gest_stream.synthetic.noise import power_noise
from gest_stream.training.labels import read_picture
from gest_stream.training.wide_look import any_colour

_ROOM: Final = 1.35
"""How much larger than the frame a background is, so that it can move."""

_FROM_FOLDER, _LIKE_SKIN, _FLAT = 0.62, 0.14, 0.05
_HELD_BY_HAND = 0.6


class Backdrop:
    """A background that moves slowly, zooms and turns a little.

    Args:
        size: (width, height) of the frame, pixels.
        rng: Which background, and how it moves.
        pictures: Photographs without hands; may be none.

    Raises:
        InvalidInputError: A photograph cannot be read.
    """

    def __init__(self, size: tuple[int, int], rng: np.random.Generator, pictures: Sequence[Path] = ()) -> None:
        self._size = size
        wide = (round(_ROOM * size[0]), round(_ROOM * size[1]))
        self._picture = _choose(wide, rng, pictures)
        steady = rng.random() > _HELD_BY_HAND
        self._reach = 0.0 if steady else float(rng.uniform(0.1, 1.0))
        self._place = Drift(rng, 4, 0.1, 0.9)

    def at(self, time_s: float) -> Array:
        """(H, W, 3) float32 sRGB, 0 to 255."""
        import cv2

        (width, height), (across, down) = self._size, self._picture.shape[1::-1]
        drift = np.clip(self._place.at(time_s), -1.2, 1.2) * self._reach
        zoom, angle = 1.0 + 0.05 * drift[2], 0.04 * drift[3]
        room = np.array([across - width, down - height]) / 2
        cos, sin = zoom * np.cos(angle), zoom * np.sin(angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        middle = np.array([width, height]) / 2 + 0.75 * room * drift[:2]
        matrix = np.column_stack([turn, middle - turn @ (np.array([across, down]) / 2)])
        moved = cv2.warpAffine(
            self._picture, matrix, self._size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        return np.asarray(moved, np.float32)


def _choose(size: tuple[int, int], rng: np.random.Generator, pictures: Sequence[Path]) -> Array:
    kind = rng.random()
    if kind < _LIKE_SKIN:
        return _like_skin(size, rng)
    if kind < _LIKE_SKIN + _FLAT:
        picture = any_colour(rng) + np.float32(rng.uniform(0, 4)) * power_noise((size[1], size[0]), 1.0, rng)[..., None]
        return np.asarray(np.clip(picture, 0, 255), np.float32)
    if pictures and kind < _LIKE_SKIN + _FLAT + _FROM_FOLDER:
        return _photographed(size, rng, pictures)
    return make_background(size, rng)


def _photographed(size: tuple[int, int], rng: np.random.Generator, pictures: Sequence[Path]) -> Array:
    """A random part of a random photograph, mirrored or not, in its own or other light."""
    import cv2

    picture = read_picture(pictures[int(rng.integers(len(pictures)))])
    height, width = picture.shape[:2]
    cover = min(width / size[0], height / size[1]) * float(rng.uniform(0.45, 1.0))
    across, down = max(1, int(size[0] * cover)), max(1, int(size[1] * cover))
    x, y = int(rng.integers(0, width - across + 1)), int(rng.integers(0, height - down + 1))
    cut = picture[y : y + down, x : x + across, :]
    if rng.random() < 0.5:
        cut = cut[:, ::-1]
    shrinking = cover > 1.0
    cut = cv2.resize(cut, size, interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR).astype(np.float32)
    gain = np.exp(rng.normal(0.0, 0.2)) * (1.0 + rng.normal(0.0, 0.06, 3))
    return np.asarray(np.clip(cut * gain, 0, 255), np.float32)


def _like_skin(size: tuple[int, int], rng: np.random.Generator) -> Array:
    """Sand, wood, cardboard or cloth in the colours of skin."""
    shape = size[1], size[0]
    tone = float(rng.uniform(0, 9))
    low = int(tone)
    base = MONK_TONES[low] + (tone - low) * (MONK_TONES[min(9, low + 1)] - MONK_TONES[low])
    base = base * rng.uniform((0.95, 0.85, 0.7), (1.1, 1.02, 1.0))
    kind = int(rng.integers(3))
    cloud = power_noise(shape, 2.0, rng)
    if kind == 0:
        shade = 0.06 * cloud + rng.uniform(0.02, 0.1) * power_noise(shape, 0.3, rng)
    elif kind == 1:
        y, x = np.mgrid[0 : shape[0], 0 : shape[1]] / max(shape)
        angle = rng.uniform(0, np.pi)
        rings = rng.uniform(12, 50) * (np.cos(angle) * x + np.sin(angle) * y) + rng.uniform(0.3, 1.2) * cloud
        shade = rng.uniform(0.04, 0.14) * np.sin(2 * np.pi * rings) + 0.03 * power_noise(shape, 1.0, rng)
    else:
        shade = rng.uniform(0.05, 0.2) * cloud
    return np.asarray(np.clip(base * (1.0 + shade[..., None]), 3, 252), np.float32)


def folder_pictures(folder: Path | None) -> tuple[Path, ...]:
    """The photographs of a folder and those below it, by their names; none for None.

    Raises:
        InvalidInputError: There is no such folder, or no picture in it.
    """
    from gest_stream.errors import InvalidInputError
    from gest_stream.sources.images import IMAGE_SUFFIXES

    if folder is None:
        return ()
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
    if not found:
        raise InvalidInputError(f"{folder}: holds no pictures of the kinds {', '.join(sorted(IMAGE_SUFFIXES))}")
    return tuple(found)
