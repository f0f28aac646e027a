"""Writing into a pipe whose reader may be slow, stuck or gone."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable
from typing import BinaryIO

from gest_stream.clock import now_ns
from gest_stream.errors import SinkError

_POLL_S = 0.1
_PIPE_BYTES = 1 << 20


class PipeFile:
    """The file object that FFmpeg writes to: forward only.

    A reader may be as slow as it likes while the run goes on. Once the run is being ended, one that takes nothing for
    some seconds is given up, so that the process can end.

    Args:
        file: Binary file; it is not closed.
        name: What messages call it.
        ending: Whether the run is being ended.
        patience_s: Seconds that a reader may then take nothing.
    """

    def __init__(
        self, file: BinaryIO, name: str, ending: Callable[[], bool] = lambda: False, patience_s: float = 5.0
    ) -> None:
        self._file = file
        self._name = name
        self._ending = ending
        self._patience_s = patience_s
        self._descriptor = _non_blocking(file)

    def write(self, data: bytes) -> int:
        """Write all of `data`, waiting for the reader.

        Raises:
            BrokenPipeError: The reader is gone.
            SinkError: The run is being ended and the reader takes nothing.
        """
        if self._descriptor is None:
            view = memoryview(data)
            while view:  # an unbuffered file writes as much as it likes
                view = view[self._file.write(view) :]
            return len(data)
        view, last_ns = memoryview(data), now_ns()
        while view:
            written = self._write_some(self._descriptor, view)
            if written or not self._ending():
                view, last_ns = view[written:], now_ns()
            elif now_ns() - last_ns > self._patience_s * 1e9:
                raise SinkError(f"{self._name}: its reader takes nothing; the end of the stream was not written")
        return len(data)

    def _write_some(self, descriptor: int, view: memoryview) -> int:
        """Bytes that were taken; 0 where there was no room for a while."""
        if not select.select([], [descriptor], [], _POLL_S)[1]:
            return 0
        try:
            return os.write(descriptor, view)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """Let go of the pipe; more than once does no harm."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def grow_pipe(file: BinaryIO) -> None:
    """Let a pipe hold a megabyte, most of a raw 720p picture, where the system allows it; a file is left alone."""
    try:
        import fcntl

        fcntl.fcntl(file.fileno(), fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    except (ImportError, AttributeError, OSError, ValueError):
        pass  # not Linux, not a pipe, or beyond /proc/sys/fs/pipe-max-size: slower, not wrong


def _non_blocking(file: BinaryIO) -> int | None:
    """A descriptor of the same pipe that never waits; None where there is none.

    Opened anew through /proc: O_NONBLOCK set on the descriptor itself would be set for every process that has it.
    """
    try:
        if not stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            return None  # a file opened anew would be written from its start
        return os.open(f"/proc/self/fd/{file.fileno()}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError, AttributeError):
        return None
