"""Rendered clips that lie on disk, as SAM2 is trained on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError, SinkError
from gest_stream.sinks.output_path import explain_os_error
from gest_stream.training.sam2_clip import MIN_SHOWN, TrainingClip
from gest_stream.training.sam2_rendering import ClipShape, render_to_disk

_LARGEST_SIDE: Final = 512
"""Larger squares are made larger when they are read: clips of 1024 pixels would take 40 MB each."""

_FRAMES: Final = 8


class RenderedClip:
    """One of them.

    Args:
        path: What `TrainingClip.save` wrote.
        side: Of the square that is asked for, pixels.
    """

    def __init__(self, path: Path, side: int) -> None:
        self._path = path
        self._side = side

    @property
    def name(self) -> str:
        """Which it is."""
        return f"synthetic {self._path.stem}"

    def __len__(self) -> int:
        return len(self._shown)

    def startable(self, frame: int) -> tuple[int, ...]:
        """The hands that can be prompted on a frame."""
        return tuple(np.flatnonzero(self._shown[frame] > MIN_SHOWN).tolist())

    def take(self, frames: Sequence[int], objects: Sequence[int]) -> TrainingClip:
        """These frames in this order, with `objects` to be followed.

        Raises:
            InvalidInputError: The file is damaged.
        """
        try:
            part = TrainingClip.load(self._path).take(frames, objects)
        except Exception as exc:  # zipfile, zlib and NumPy each have errors of their own
            raise self._damaged(exc) from exc
        if part.images.shape[1] == self._side:
            return part
        images = np.stack([_enlarged(image, self._side) for image in part.images])
        masks = np.stack([[_enlarged(mask, self._side) for mask in of_frame] for of_frame in part.masks])
        return replace(part, images=images, masks=masks)

    @cached_property
    def _shown(self) -> NDArray[np.float32]:
        try:
            with np.load(self._path) as stored:
                return np.asarray(stored["shown"], np.float32)
        except Exception as exc:
            raise self._damaged(exc) from exc

    def _damaged(self, exc: Exception) -> InvalidInputError:
        return InvalidInputError(f"{self._path}: is damaged ({exc}); remove it, and it is rendered again")


def _enlarged(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    import cv2

    return np.asarray(cv2.resize(picture, (side, side), interpolation=cv2.INTER_LINEAR), np.uint8)


def rendered_clips(
    root: Path,
    side: int,
    frames: int,
    clips: int,
    workers: int,
    on_done: Callable[[int, int], None] | None = None,
) -> list[RenderedClip]:
    """The first `clips` rendered clips, those rendered first that are not there yet.

    Args:
        root: Clips of every shape have a folder of their own in it.
        side: Of the model's square, pixels.
        frames: That a sequence needs; a clip has at least eight.
        clips: How many.
        workers: Processes that render.
        on_done: Is told how many of how many are there.

    Raises:
        SourceLostError: A process ended early.
        SinkError: The folder cannot be written.
    """
    shape = ClipShape(min(side, _LARGEST_SIDE), max(frames, _FRAMES))
    folder = root / f"sam2-clips-{shape.side}x{shape.frames}"
    try:
        paths = render_to_disk(folder, shape, clips, workers, on_done)
    except OSError as exc:
        raise SinkError(explain_os_error(folder, exc)) from exc
    return [RenderedClip(path, side) for path in paths]
