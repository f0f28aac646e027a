"""A video that another program writes to a pipe."""

from __future__ import annotations

import os
import select
import sys
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

from gest_stream.clock import now_ns
from gest_stream.errors import SourceLostError, SourceOpenError
from gest_stream.interfaces import SourceInfo
from gest_stream.sources.container import ContainerSource
from gest_stream.sources.decode import open_container, reason

if TYPE_CHECKING:
    from av import FFmpegError
    from av.container import InputContainer

_NAME = "standard input"
_REMEDY = "pipe a video into it: ffmpeg -i clip.mp4 -f nut -c:v rawvideo - | gest-stream ..."
_UNSUITED = (
    "is not a video that can be read from a pipe (an MP4 whose index is at its end cannot); "
    "write y4m, NUT, Matroska or MPEG-TS into it"
)
_POLL_S = 0.1
_BUFFER_BYTES = 1 << 18


class StdinSource(ContainerSource):
    """Every frame of a y4m, NUT, Matroska or MPEG-TS stream that is read once, front to back.

    Args:
        file: Binary file to read instead of standard input; it is not closed.
        realtime: Play at the stream's own speed, as a live source.
        clock: Monotonic nanoseconds.
        wait: Waits for some seconds, or until the source is stopped; None waits in real time.
    """

    def __init__(
        self,
        file: BinaryIO | None = None,
        realtime: bool = False,
        *,
        clock: Callable[[], int] = now_ns,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(_NAME, realtime, clock=clock, wait=wait)
        self._file = file

    def _open_container(self) -> InputContainer:
        file = self._file
        if file is None:
            file = sys.stdin.buffer
            if file.isatty():
                raise SourceOpenError(f"{_NAME}: is a terminal; {_REMEDY}")
        pipe = _Pipe(file, self._stopping)
        if pipe.is_empty():
            raise SourceOpenError(f"{_NAME}: is empty; {_REMEDY}")
        return open_container(pipe, _NAME, explain=_explain, buffer_bytes=_BUFFER_BYTES)

    def _open(self) -> SourceInfo:
        from av.error import InvalidDataError

        try:
            return super()._open()
        except SourceOpenError as exc:
            cause = exc.__cause__.__cause__ if isinstance(exc.__cause__, SourceLostError) else None
            if isinstance(cause, InvalidDataError):
                # An MP4's index opens the stream, but what it points at has already gone by.
                raise SourceOpenError(f"{_NAME}: {_UNSUITED}") from exc
            raise


def _explain(exc: FFmpegError) -> str:
    from av.error import InvalidDataError

    return _UNSUITED if isinstance(exc, InvalidDataError) else f"cannot be read: {reason(exc)}"


class _Pipe:
    """The file object that FFmpeg reads: forward only, and a read that waits gives up when the source is stopped."""

    def __init__(self, file: BinaryIO, stopping: threading.Event) -> None:
        self._file = file
        self._stopping = stopping
        self._head = b""
        try:
            # select() on Windows knows sockets only; there a read waits for the writer.
            self._descriptor = None if os.name == "nt" else file.fileno()
        except OSError:
            self._descriptor = None

    def is_empty(self) -> bool:
        """Whether the writer closed the pipe without writing."""
        self._head = self.read(1)
        return not self._head and not self._stopping.is_set()

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; none at the end, and once the source is stopped."""
        if self._head:
            head, self._head = self._head, b""
            return head
        if self._descriptor is None:
            return self._file.read(size)
        while not self._stopping.is_set():
            if select.select([self._descriptor], [], [], _POLL_S)[0]:
                return os.read(self._descriptor, size)
        return b""
