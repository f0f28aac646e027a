"""The frames of a video that have masks, as pictures on disk: training asks for them in any order."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from gest_stream.errors import InvalidInputError, SinkError
from gest_stream.sinks.output_path import explain_os_error

_JPEG_QUALITY: Final = 95


def video_pictures(video: Path, numbers: Collection[int], root: Path) -> list[Path]:
    """The frames of these numbers, ascending, written the first time they are asked for.

    They are numbered as `gest-stream run` numbers them.

    Args:
        video: The file.
        numbers: From 0.
        root: Where each video has a folder; another file of the same name has another one.

    Raises:
        SourceError: The video cannot be read.
        InvalidInputError: It has fewer frames.
        SinkError: The pictures cannot be written.
    """
    folder = root / f"frames-{_fingerprint(video, numbers)}"
    wanted = [folder / f"{number:08d}.jpg" for number in sorted(numbers)]
    if folder.is_dir():  # it appears when it is complete
        return wanted
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        unfinished.mkdir(parents=True, exist_ok=True)
        last = asyncio.run(_extract(video, frozenset(numbers), unfinished))
        if last < max(numbers):
            raise InvalidInputError(
                f"{video}: ends with frame {last}, but there is a mask of frame {max(numbers)}; is it the video that "
                "the masks were made of?"
            )
        unfinished.replace(folder)
    except OSError as exc:
        raise SinkError(explain_os_error(folder, exc)) from exc
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return wanted


def _fingerprint(video: Path, numbers: Collection[int]) -> str:
    seen = video.stat()
    text = f"{video.absolute()} {seen.st_size} {seen.st_mtime_ns} {sorted(numbers)}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


async def _extract(video: Path, numbers: frozenset[int], folder: Path) -> int:
    """Write the frames; the number of the last one that was read."""
    from gest_stream.sources.file import FileSource

    last = -1
    async with FileSource(video) as source:
        async for frame in source:
            last = frame.seq
            if last in numbers:
                _write(frame.image, folder / f"{last:08d}.jpg")
            if last >= max(numbers):
                break
    return last


def _write(image: NDArray[np.uint8], path: Path) -> None:
    import cv2

    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    path.write_bytes(cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes())
