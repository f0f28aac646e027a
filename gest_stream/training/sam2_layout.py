"""Finds clips with masks in a folder, and which frame a mask belongs to.

JPEGImages/NAME/*.jpg   Annotations/NAME/*.png      DAVIS, YouTube-VOS; also images/ and masks/
JPEGImages/NAME.mp4     Annotations/NAME/*.png      a video instead of its frames
NAME.mp4                NAME/*.png or NAME_masks/   a video and what `--save-masks` wrote
NAME/*.jpg              NAME_masks/*.png            a folder of frames and what `--save-masks` wrote
JPEGImages/*.jpg        Annotations/*.png           one clip alone
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gest_stream.errors import InvalidInputError
from gest_stream.sources.images import IMAGE_SUFFIXES, natural_key

_log = logging.getLogger(__name__)

_PAIRS: Final = (("JPEGImages", "Annotations"), ("images", "masks"), ("frames", "masks"), ("videos", "masks"))
_VIDEOS: Final = frozenset({".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v", ".ts"})
_BESIDE: Final = "_masks"
_LAYOUTS: Final = (
    "expected JPEGImages/NAME/*.jpg with Annotations/NAME/*.png (or images/ with masks/), NAME.mp4 with NAME/*.png, "
    "or NAME/*.jpg with NAME_masks/*.png"
)


@dataclass(frozen=True, slots=True)
class ClipFiles:
    """Where one clip lies.

    Args:
        name: What it is called.
        frames: A folder of pictures, or a video.
        masks: Its PNGs, in natural order; not empty.
    """

    name: str
    frames: Path
    masks: tuple[Path, ...]


def find_clips(folder: Path) -> list[ClipFiles]:
    """The clips with masks in a folder, in natural order; those without are left out and counted in the log.

    Raises:
        InvalidInputError: There is no such folder, no clip, or none with masks.
    """
    if not folder.is_dir():
        raise InvalidInputError(f"{folder}: is no folder; {_LAYOUTS}")
    found = next(
        (_of_pair(folder / images, folder / masks) for images, masks in _PAIRS if (folder / images).is_dir()), None
    )
    clips = found if found is not None else _side_by_side(folder)
    if not clips:
        raise InvalidInputError(f"{folder}: holds no clips; {_LAYOUTS}")
    bare = [clip for clip in clips if not clip.masks]
    if len(bare) == len(clips):
        raise InvalidInputError(
            f"{folder}: has {len(clips)} clips, for example {bare[0].frames}, and no mask of any; {_LAYOUTS}"
        )
    if bare:
        _log.warning("%s: %d of %d clips have no masks and are left out", folder, len(bare), len(clips))
    return [clip for clip in clips if clip.masks]


def _of_pair(images: Path, masks: Path) -> list[ClipFiles]:
    """The clips inside two folders; or the one that they are, where the pictures lie in them directly."""
    if any(entry.is_file() and entry.suffix.lower() in IMAGE_SUFFIXES for entry in _entries(images)):
        return [ClipFiles(images.absolute().parent.name, images, _masks_in(masks))]
    return [
        ClipFiles(_name_of(entry), entry, _masks_in(masks / _name_of(entry)))
        for entry in _entries(images)
        if _is_frames(entry)
    ]


def _side_by_side(folder: Path) -> list[ClipFiles]:
    entries = _entries(folder)
    videos = {_name_of(entry) for entry in entries if entry.is_file()}
    clips = []
    for entry in entries:
        name = _name_of(entry)
        if not _is_frames(entry) or (entry.is_dir() and (name in videos or name.endswith(_BESIDE))):
            continue  # a folder of masks
        beside = _masks_in(folder / f"{name}{_BESIDE}")
        clips.append(ClipFiles(name, entry, beside or (_masks_in(folder / name) if entry.is_file() else ())))
    return clips


def _entries(folder: Path) -> list[Path]:
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as exc:
        raise InvalidInputError(f"{folder}: cannot be listed ({exc.strerror}); check the path") from exc
    return sorted(entries, key=lambda path: natural_key(path.name))


def _name_of(entry: Path) -> str:
    return entry.name if entry.is_dir() else entry.stem


def _is_frames(entry: Path) -> bool:
    """Whether it is a video, or a folder that holds pictures."""
    if entry.is_file():
        return entry.suffix.lower() in _VIDEOS
    return entry.is_dir() and any(inner.suffix.lower() in IMAGE_SUFFIXES for inner in _entries(entry))


def _masks_in(folder: Path) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    return tuple(entry for entry in _entries(folder) if entry.suffix.lower() == ".png")


def frame_numbers(masks: Sequence[Path], frames: int, clip: Path) -> list[int]:
    """The number of the frame that each mask is of, by its name, as `--save-masks` names them.

    Raises:
        InvalidInputError: A name is no number, or there is no such frame.
    """
    numbers = []
    for mask in masks:
        if not mask.stem.isdecimal() or int(mask.stem) >= frames:
            raise InvalidInputError(
                f"{mask}: there is no frame of that name or number among the {frames} of {clip}; "
                "a mask is named as its frame, or by its number from 0"
            )
        numbers.append(int(mask.stem))
    return numbers


def pair_pictures(pictures: Sequence[Path], masks: Sequence[Path], clip: Path) -> list[tuple[Path, Path]]:
    """Every mask with its picture, by name where all names agree, else by number.

    Args:
        pictures: In the order in which they are played.
        masks: In the order of their names.
        clip: For messages.

    Raises:
        InvalidInputError: A mask has no picture.
    """
    by_stem = {picture.stem: picture for picture in pictures}
    if all(mask.stem in by_stem for mask in masks):
        return [(by_stem[mask.stem], mask) for mask in masks]
    numbers = frame_numbers(masks, len(pictures), clip)
    return [(pictures[number], mask) for number, mask in zip(numbers, masks, strict=True)]
