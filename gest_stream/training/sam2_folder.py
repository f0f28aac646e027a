"""Clips out of a user's folder, checked when they are opened and read when they are trained on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.sources.images import image_paths
from gest_stream.training.labels import read_picture
from gest_stream.training.ordered import in_order
from gest_stream.training.sam2_clip import TrainingClip
from gest_stream.training.sam2_layout import ClipFiles, find_clips, frame_numbers, pair_pictures
from gest_stream.training.sam2_object_ids import ObjectIds, picture_size, read_object_ids
from gest_stream.training.sam2_video_frames import video_pictures

_log = logging.getLogger(__name__)

_THREADS: Final = 4
_NO_LIMIT: Final = 10**9


@dataclass(frozen=True, slots=True)
class LabelledFrame:
    """A frame whose mask is known.

    Args:
        picture: The frame.
        mask: Its object ids.
        areas: Object -> share of the picture.
    """

    picture: Path
    mask: Path
    areas: Mapping[int, float]


class FolderClip:
    """A clip of frames that have masks, in order; an object is known by its id.

    Args:
        name: What it is called.
        frames: In order.
        frame_size: (width, height) of all of them.
        side: Of the square that they are resized to.
        min_area: Share of the picture that an object must cover to be prompted.
    """

    def __init__(
        self, name: str, frames: Sequence[LabelledFrame], frame_size: tuple[int, int], side: int, min_area: float
    ) -> None:
        self._name = name
        self._frames = tuple(frames)
        self._frame_size = frame_size
        self._side = side
        self._startable = tuple(
            tuple(sorted(one for one, area in frame.areas.items() if area >= min_area)) for frame in frames
        )

    @property
    def name(self) -> str:
        """What it is called."""
        return self._name

    def __len__(self) -> int:
        return len(self._frames)

    def startable(self, frame: int) -> tuple[int, ...]:
        """The ids of the objects that can be prompted on a frame."""
        return self._startable[frame]

    def take(self, frames: Sequence[int], objects: Sequence[int]) -> TrainingClip:
        """These frames in this order, with these objects and no others.

        Raises:
            InvalidInputError: A picture cannot be read.
        """
        images, masks, voids = [], [], []
        for index in frames:
            frame = self._frames[index]
            images.append(resized(read_picture(frame.picture), self._side))
            labels = read_object_ids(frame.mask)
            masks.append([_alpha(labels.ids == one, self._side) for one in objects])
            voids.append(None if labels.void is None else _alpha(labels.void, self._side) > 0)
        void = None
        if any(one is not None for one in voids):
            nothing = np.zeros((self._side, self._side), bool)
            void = np.stack([nothing if one is None else one for one in voids])
        shape = (len(frames), len(objects), self._side, self._side)
        return TrainingClip(
            np.stack(images), np.array(masks, np.uint8).reshape(shape), None, None, self._frame_size, void
        )


def resized(picture: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """(S, S, 3) uint8 of an (H, W, 3) picture, by the filter with which the engine brings frames to the model."""
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)[None]
    if pixels.shape[-2:] != (side, side):
        pixels = F.interpolate(pixels, size=(side, side), mode="bicubic", antialias=True)
    return np.ascontiguousarray(pixels[0].permute(1, 2, 0).numpy())


def _alpha(mask: NDArray[np.bool_], side: int) -> NDArray[np.uint8]:
    """(S, S) uint8, which share of each pixel of the square a mask covers."""
    import cv2

    smaller = min(mask.shape) >= side
    how = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    full = mask.astype(np.uint8) * np.uint8(255)
    return np.asarray(cv2.resize(full, (side, side), interpolation=how), np.uint8)


def open_folder(
    folder: Path,
    side: int,
    min_area: float,
    cache: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[FolderClip]:
    """The clips of a folder that show an object to start with.

    Reads every mask once, so that what is wrong shows before the training.

    Args:
        folder: In one of the layouts of sam2_layout.py.
        side: Of the model's square, pixels.
        min_area: Share of the picture that an object must cover on the frame where it is prompted.
        cache: Where the frames of videos are kept.
        on_progress: Is told how many masks of how many were read.

    Raises:
        InvalidInputError: No clips, no masks, a mask without its frame or of another size, or no clip in which an
            object can be followed.
        SourceError: A video cannot be read.
    """
    found = find_clips(folder)
    total, done, clips = sum(len(files.masks) for files in found), 0, []
    for files in found:
        clips.append(_open_clip(files, side, min_area, cache))
        done += len(files.masks)
        if on_progress is not None:
            on_progress(done, total)
    able = [clip for clip in clips if any(clip.startable(index) for index in range(len(clip)))]
    if not able:
        raise InvalidInputError(
            f"{folder}: none of its {len(clips)} clips shows an object to start with; a pixel of a mask is the id of "
            f"its object, 255 means that it is not known, and an object must cover {min_area:.2%} of a frame"
        )
    if len(able) < len(clips):
        _log.warning("%s: %d of %d clips show no object and are left out", folder, len(clips) - len(able), len(clips))
    return able


def _open_clip(files: ClipFiles, side: int, min_area: float, cache: Path) -> FolderClip:
    pairs = _pairs(files, cache)
    labelled = list(in_order(_look, pairs, _THREADS, 4 * _THREADS))
    sizes = {size for _, size in labelled}
    if len(sizes) > 1:
        first = labelled[0]
        other = next(one for one in labelled if one[1] != first[1])
        raise InvalidInputError(
            f"{other[0].picture}: is {_by(other[1])} pixels, but {first[0].picture.name} is {_by(first[1])}; all "
            "frames of a clip have one size"
        )
    return FolderClip(files.name, [frame for frame, _ in labelled], labelled[0][1], side, min_area)


def _pairs(files: ClipFiles, cache: Path) -> list[tuple[Path, Path]]:
    """(picture, mask) of every frame with a mask, in order."""
    if files.frames.is_dir():
        return pair_pictures(image_paths(files.frames), files.masks, files.frames)
    numbers = frame_numbers(files.masks, _NO_LIMIT, files.frames)
    by_number = dict(zip(numbers, files.masks, strict=True))
    pictures = video_pictures(files.frames, by_number, cache)
    return [(picture, by_number[int(picture.stem)]) for picture in pictures]


def _look(pair: tuple[Path, Path]) -> tuple[LabelledFrame, tuple[int, int]]:
    """The frame and its (width, height)."""
    picture, mask = pair
    labels, size = read_object_ids(mask), picture_size(picture)
    found = _size_of(labels)
    if found != size:
        raise InvalidInputError(
            f"{mask}: is {_by(found)} pixels, but {picture} is {_by(size)}; a mask has the size of its frame"
        )
    pixels = labels.ids.size
    return LabelledFrame(picture, mask, {one: area / pixels for one, area in labels.areas().items()}), size


def _size_of(labels: ObjectIds) -> tuple[int, int]:
    return labels.ids.shape[1], labels.ids.shape[0]


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
