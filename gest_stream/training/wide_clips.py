"""The clips that the built-in models learn from, as they lie on disk: one .npz each.

Pictures are stored as JPEG, for compression is part of what a network has to see; masks as PNG, without loss. A clip's
index is in its file's name; from `HELD_OUT_FROM` on, clips are for measuring and never trained on.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError

HELD_OUT_FROM: Final = 100_000
"""Index of the first clip that is never trained on."""

MAX_HANDS: Final = 3

_PICTURE: Final = "picture_{:02d}"
_MASKS: Final = "masks_{:02d}"
_VOID: Final = "void_{:02d}"


class ClipKind(StrEnum):
    """Where a clip comes from; also the name of its folder."""

    RENDERED = "rendered"
    """Hands rendered: everything is known exactly."""
    COMPOSITED = "composited"
    """Photographed hands that were cut out and moved over other backgrounds."""
    REAL = "real"
    """Photographs as they are, of one frame, with pseudo labels and pixels of which nobody knows."""
    EMPTY = "empty"
    """No hand, but much else."""


@dataclass(frozen=True, slots=True, eq=False)
class WideClip:
    """T frames with N hands.

    Args:
        images: (T, H, W, 3) uint8 RGB.
        hands: (T, N, H, W) uint8 alpha of each hand's visible part, N from 0 to 3.
        arms: (T, H, W) uint8 alpha of all forearms and sleeves that are visible.
        void: (T, H, W) bool, True where nobody knows what the pixel shows.
        landmarks: (T, N, 21, 2) float32 x and y in pixels, also outside the frame; NaN where unknown.
        shown: (T, N) float32 visible share of what of the hand lies in the frame, 0 to 1; NaN where unknown.
        kind: Where it comes from.

    Raises:
        InvalidInputError: A field is of another shape or dtype.
    """

    images: NDArray[np.uint8]
    hands: NDArray[np.uint8]
    arms: NDArray[np.uint8]
    void: NDArray[np.bool_]
    landmarks: NDArray[np.float32]
    shown: NDArray[np.float32]
    kind: ClipKind

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.shape[3] != 3 or self.images.dtype != np.uint8:
            raise InvalidInputError(f"images: expected (T, H, W, 3) uint8, got {self.images.shape} {self.images.dtype}")
        t, h, w = self.images.shape[:3]
        n = self.hands.shape[1] if self.hands.ndim == 4 else -1
        if not 0 <= n <= MAX_HANDS:
            raise InvalidInputError(f"hands: expected (T, 0 to {MAX_HANDS}, H, W), got {self.hands.shape}")
        _check("hands", self.hands, (t, n, h, w), np.uint8)
        _check("arms", self.arms, (t, h, w), np.uint8)
        _check("void", self.void, (t, h, w), np.bool_)
        _check("landmarks", self.landmarks, (t, n, 21, 2), np.float32)
        _check("shown", self.shown, (t, n), np.float32)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.images.shape[2], self.images.shape[1]

    def save(self, path: Path, quality: int = 95) -> None:
        """Write under another name and rename, so that a reader never sees half a file.

        Args:
            path: Of the .npz.
            quality: Of the JPEG pictures, 1 to 100.
        """
        import cv2

        members: dict[str, Any] = {"landmarks": self.landmarks, "shown": self.shown, "kind": np.array(str(self.kind))}
        for k in range(len(self)):
            bgr = cv2.cvtColor(self.images[k], cv2.COLOR_RGB2BGR)
            stacked = np.concatenate([*self.hands[k], self.arms[k]])
            members[_PICTURE.format(k)] = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            members[_MASKS.format(k)] = cv2.imencode(".png", stacked)[1]
            if self.void[k].any():
                members[_VOID.format(k)] = cv2.imencode(".png", self.void[k].astype(np.uint8))[1]
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.npz")
        try:
            np.savez(unfinished, **members)
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: Path, frames: Sequence[int] | None = None) -> Self:
        """Read a clip, or some of its frames only: the others are not decoded.

        Args:
            path: Of the .npz.
            frames: Numbers of the frames wished, in the order wished; None is all.

        Raises:
            InvalidInputError: The file cannot be read, or has fewer frames.
        """
        try:
            # opened here, because NumPy leaves a file open that is no archive
            with path.open("rb") as file, np.load(file, allow_pickle=False) as members:
                landmarks, shown = members["landmarks"], members["shown"]
                chosen = list(range(len(landmarks))) if frames is None else list(frames)
                read = [_read_frame(members, k, landmarks.shape[1]) for k in chosen]
                kind = ClipKind(str(members["kind"]))
        except Exception as exc:  # zipfile, zlib, NumPy and OpenCV each have errors of their own
            raise InvalidInputError(f"{path}: is damaged ({exc}); remove it, and it is made again") from exc
        images, hands, arms, void = (np.stack(planes) for planes in zip(*read, strict=True))
        return cls(images, hands, arms, void, landmarks[chosen], shown[chosen], kind)


_Planes = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]


def _read_frame(members: Any, number: int, hands: int) -> _Planes:
    """Picture, hands, arms and void of one frame of an archive."""
    import cv2

    def decoded(key: str, how: int) -> NDArray[np.uint8]:
        picture = cv2.imdecode(members[key], how)
        if picture is None:
            raise InvalidInputError(f"{key} is no picture")
        return np.asarray(picture, np.uint8)

    image = np.asarray(cv2.cvtColor(decoded(_PICTURE.format(number), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)
    height, width = image.shape[:2]
    stacked = decoded(_MASKS.format(number), cv2.IMREAD_UNCHANGED).reshape(hands + 1, height, width)
    void = np.zeros((height, width), np.bool_)
    if _VOID.format(number) in members:
        void = decoded(_VOID.format(number), cv2.IMREAD_UNCHANGED) > 0
    return image, stacked[:hands], stacked[hands], void


def clip_path(root: Path, kind: ClipKind, index: int) -> Path:
    """Where clip number `index` lies."""
    return root / kind / f"clip_{index:06d}.npz"


def training_paths(root: Path, kind: ClipKind) -> list[Path]:
    """The clips to train on that are there so far, by their index."""
    return [path for path in _paths(root, kind) if _index(path) < HELD_OUT_FROM]


def held_out_paths(root: Path, kind: ClipKind) -> list[Path]:
    """The clips to measure with that are there so far, by their index."""
    return [path for path in _paths(root, kind) if _index(path) >= HELD_OUT_FROM]


def _paths(root: Path, kind: ClipKind) -> list[Path]:
    return sorted((root / kind).glob("clip_*.npz"), key=_index)


def _index(path: Path) -> int:
    return int(path.stem.removeprefix("clip_"))


def _check(name: str, values: NDArray[Any], shape: tuple[int, ...], dtype: type) -> None:
    if values.shape != shape or values.dtype != dtype:
        raise InvalidInputError(f"{name}: expected {shape} {np.dtype(dtype)}, got {values.shape} {values.dtype}")
