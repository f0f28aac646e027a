"""EgoHands as it is published: 48 videos of two people at a table, hands outlined by polygons.

Source: Bambach, Lee, Crandall and Yu, "Lending A Hand", ICCV 2015; the file metadata.mat of its download holds the
struct array `video`, whose fields are named below.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError
from gest_stream.training.labels import HAND, LabelledImage, read_picture

HANDS: Final = ("myleft", "myright", "yourleft", "yourright")
_METADATA: Final = "metadata.mat"
_PICTURES: Final = "_LABELLED_SAMPLES"
_SUBPIXEL_BITS: Final = 4


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    path: Path
    video: str
    polygons: tuple[NDArray[np.float64], ...]


class EgoHands:
    """The labelled frames of EgoHands; forearms are not labelled.

    Args:
        folder: Holds metadata.mat and _LABELLED_SAMPLES/.

    Raises:
        InvalidInputError: metadata.mat is absent or built differently, or a picture that it names is absent.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._pictures = [
            picture for video in _read_videos(folder / _METADATA) for picture in _read_frames(folder, video)
        ]
        if not self._pictures:
            raise InvalidInputError(f"{folder / _METADATA}: lists no labelled frames")
        absent = [picture.path for picture in self._pictures if not picture.path.is_file()]
        if absent:
            raise InvalidInputError(
                f"{absent[0]}: is absent, and so are {len(absent)} of the {len(self._pictures)} pictures of "
                f"{_METADATA}; unpack the whole egohands_data.zip"
            )

    @property
    def title(self) -> str:
        """What the user calls it."""
        return f"egohands:{self._folder}"

    def __len__(self) -> int:
        return len(self._pictures)

    def group(self, index: int) -> str:
        """The video."""
        return self._pictures[index].video

    def load(self, index: int) -> LabelledImage:
        """The picture of that number, its hands drawn from their polygons.

        Raises:
            InvalidInputError: It cannot be read.
        """
        import cv2

        picture = self._pictures[index]
        image = read_picture(picture.path)
        labels = np.zeros(image.shape[:2], np.uint8)
        for polygon in picture.polygons:
            # MATLAB counts pixels from 1
            corners = np.round((polygon - 1.0) * 2**_SUBPIXEL_BITS).astype(np.int32)
            cv2.fillPoly(labels, [corners], HAND, shift=_SUBPIXEL_BITS)
        return LabelledImage(image, labels)


def _read_videos(path: Path) -> list[Any]:
    from scipy.io import loadmat

    if not path.is_file():
        raise InvalidInputError(f"{path}: is absent; give the folder that egohands_data.zip was unpacked to")
    try:
        content = loadmat(str(path))
    except NotImplementedError as exc:
        raise InvalidInputError(f"{path}: is a MATLAB 7.3 file; save it as version 7") from exc
    except Exception as exc:  # scipy's reader meets damage with whatever Python raises
        raise InvalidInputError(f"{path}: cannot be read as a MATLAB file ({exc}); unpack it again") from exc
    if "video" not in content:
        names = ", ".join(sorted(name for name in content if not name.startswith("__"))) or "nothing"
        raise InvalidInputError(f"{path}: holds {names} and no struct `video`; it is not EgoHands' metadata.mat")
    videos = np.atleast_1d(content["video"]).ravel()
    _require_fields(path, "video", videos, ("video_id", "labelled_frames"))
    return list(videos)


def _read_frames(folder: Path, video: Any) -> list[_Picture]:
    path = folder / _METADATA
    frames = np.atleast_1d(video["labelled_frames"]).ravel()
    if not frames.size:
        return []
    _require_fields(path, "labelled_frames", frames, ("frame_num", *HANDS))
    try:
        name = str(np.ravel(video["video_id"])[0])
        return [
            _Picture(
                folder / _PICTURES / name / f"frame_{int(np.ravel(frame['frame_num'])[0]):04d}.jpg",
                name,
                tuple(_polygon(frame[hand]) for hand in HANDS if np.size(frame[hand])),
            )
            for frame in frames
        ]
    except (IndexError, TypeError, ValueError) as exc:
        raise InvalidInputError(f"{path}: a frame of it is built differently from EgoHands' ({exc})") from exc


def _polygon(points: Any) -> NDArray[np.float64]:
    corners = np.asarray(points, np.float64)
    if corners.ndim != 2 or corners.shape[1] != 2 or not np.isfinite(corners).all():
        raise ValueError(f"a polygon has the shape {corners.shape} instead of (N, 2), or is not finite")
    return corners


def _require_fields(path: Path, what: str, records: NDArray[Any], fields: tuple[str, ...]) -> None:
    absent = [name for name in fields if name not in (records.dtype.names or ())]
    if absent:
        raise InvalidInputError(
            f"{path}: its `{what}` has no field {', '.join(absent)}; it is not EgoHands' metadata.mat"
        )
