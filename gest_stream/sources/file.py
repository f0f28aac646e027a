"""A video file."""

from __future__ import annotations

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from gest_stream.clock import now_ns
from gest_stream.config import Hwaccel
from gest_stream.errors import SourceOpenError
from gest_stream.sources.container import ContainerSource
from gest_stream.sources.decode import open_container, reason
from gest_stream.sources.diagnose import check_file, why_not_video

if TYPE_CHECKING:
    from av import FFmpegError
    from av.container import InputContainer


class FileSource(ContainerSource):
    """Every frame of a video file, in order, with its pts.

    Reads every container and codec that FFmpeg reads. Rotation, colour matrix and range are honoured, a variable frame
    rate is kept, and the first audio stream is passed on packet by packet. A file that is damaged or cut off gives all
    that can be decoded, with a WARNING.

    Args:
        path: The file.
        realtime: Play at the file's own speed, as a live source: `captured_ns` is the moment a frame is due.
        clock: Monotonic nanoseconds.
        wait: Waits for some seconds, or until the source is stopped; None waits in real time.
        hwaccel: What decodes its video.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        realtime: bool = False,
        *,
        clock: Callable[[], int] = now_ns,
        wait: Callable[[float], object] | None = None,
        hwaccel: Hwaccel = Hwaccel.NONE,
    ) -> None:
        super().__init__(str(path), realtime, clock=clock, wait=wait)
        self._hwaccel = hwaccel
        self._path = Path(path)

    def _open_container(self) -> InputContainer:
        check_file(self._path)
        # "file:" and an absolute path: FFmpeg would take the start of "take:1.mp4" for a protocol.
        container = open_container(
            f"file:{self._path.absolute()}", self._name, explain=self._explain, hwaccel=self._hwaccel
        )
        if not container.streams:
            # FFmpeg opens an MP4 without an index as a container of nothing.
            container.close()
            raise SourceOpenError(f"{self._name}: {why_not_video(self._path)}")
        return container

    def _explain(self, exc: FFmpegError) -> str:
        from av.error import InvalidDataError

        return why_not_video(self._path) if isinstance(exc, InvalidDataError) else f"cannot be opened: {reason(exc)}"
