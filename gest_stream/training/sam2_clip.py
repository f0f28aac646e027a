"""A stretch of video with the truth about its objects, as SAM2 is trained on it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, Self

import numpy as np
from numpy.typing import NDArray

MIN_SHOWN: Final = 0.3
"""The tracker prompts where landmarks are found, and they are not found on a hand that is mostly hidden."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingClip:
    """Frames of one clip, resized to the model's square (aspect not kept), and the truth about its objects.

    Args:
        images: (T, S, S, 3) uint8 RGB.
        masks: (T, N, S, S) uint8 alpha of each object's visible part.
        landmarks: (T, N, 21, 2) float32, in pixels of the frame before it was resized; None where they are not known.
        shown: (T, N) float32 share of the hand that can be seen, 0 to 1; None where there are no landmarks.
        frame_size: (width, height) of the frame before it was resized.
        void: (T, S, S) bool, where nobody knows what is there; None where everything is known.
        followed: The objects to follow, as indices into N; None for all. The others are only pointed away from.
    """

    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    landmarks: NDArray[np.float32] | None
    shown: NDArray[np.float32] | None
    frame_size: tuple[int, int]
    void: NDArray[np.bool_] | None = None
    followed: tuple[int, ...] | None = None

    def __len__(self) -> int:
        return len(self.images)

    def startable(self, frame: int) -> tuple[int, ...]:
        """The objects that can be prompted on a frame."""
        if self.shown is not None:
            return tuple(np.flatnonzero(self.shown[frame] > MIN_SHOWN).tolist())
        return tuple(np.flatnonzero((self.masks[frame] >= 128).any(axis=(1, 2))).tolist())

    def take(self, frames: Sequence[int], objects: Sequence[int]) -> TrainingClip:
        """These frames in this order; `objects` are followed, and the others stay as their neighbours."""
        order = np.asarray(frames, np.intp)
        return TrainingClip(
            self.images[order],
            self.masks[order],
            None if self.landmarks is None else self.landmarks[order],
            None if self.shown is None else self.shown[order],
            self.frame_size,
            None if self.void is None else self.void[order],
            tuple(objects),
        )

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        with np.load(path) as stored:
            width, height = (int(side) for side in stored["frame_size"])
            return cls(stored["images"], stored["masks"], stored["landmarks"], stored["shown"], (width, height))

    def save(self, path: Path) -> None:
        """Write a clip with landmarks under another name and rename, so that a reader never sees half a file."""
        assert self.landmarks is not None and self.shown is not None
        unfinished = path.with_name(f".{path.name}.{os.getpid()}.npz")
        try:
            np.savez(
                unfinished,
                images=self.images,
                masks=self.masks,
                landmarks=self.landmarks,
                shown=self.shown,
                frame_size=np.array(self.frame_size),
            )
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)


class ClipSource(Protocol):
    """A clip whose frames are read when they are asked for, from any thread."""

    def __len__(self) -> int:
        """Number of frames whose masks are known."""
        ...

    def startable(self, frame: int) -> tuple[int, ...]:
        """The objects that can be prompted on a frame."""
        ...

    def take(self, frames: Sequence[int], objects: Sequence[int]) -> TrainingClip:
        """These frames in this order, with `objects` to be followed.

        Raises:
            InvalidInputError: A picture cannot be read.
        """
        ...


class NamedClip(ClipSource, Protocol):
    """One of a set."""

    @property
    def name(self) -> str:
        """What the user calls it; the same on every machine."""
        ...
