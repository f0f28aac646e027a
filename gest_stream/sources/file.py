"""A video file, every frame of it or at its own speed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from gest_stream.audio import AudioFeed
from gest_stream.clock import Pacer, now_ns
from gest_stream.errors import SourceLostError
from gest_stream.interfaces import SourceInfo
from gest_stream.sources.audio_tap import AudioTap
from gest_stream.sources.decode import Decoder, open_container, reason
from gest_stream.sources.diagnose import check_file, why_not_video
from gest_stream.sources.threaded import ThreadedSource
from gest_stream.types import Frame

if TYPE_CHECKING:
    from av import FFmpegError

_LOG = logging.getLogger(__name__)


class FileSource(ThreadedSource):
    """Every frame of a video file, in order, with its pts.

    Reads every container and codec that FFmpeg reads. Rotation, colour matrix and range are honoured, a variable frame
    rate is kept, and the first audio stream is passed on packet by packet. A file that is damaged or cut off gives all
    that can be decoded, with a WARNING.

    Args:
        path: The file.
        realtime: Play at the file's own speed, as a live source: `captured_ns` is the moment a frame is due.
        clock: Monotonic nanoseconds.
        wait: Waits for some seconds, or until the source is stopped; None waits in real time.
    """

    def __init__(
        self,
        path: str | PathLike[str],
        realtime: bool = False,
        *,
        clock: Callable[[], int] = now_ns,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(str(path))
        self._path = Path(path)
        self._realtime = realtime
        self._clock = clock
        self._wait = wait or self._stopping.wait
        self._tap = AudioTap(self._name)
        self._decoder: Decoder | None = None

    @property
    def audio(self) -> AudioFeed | None:
        """The packets of its first audio stream."""
        return self._tap.feed

    def _open(self) -> SourceInfo:
        check_file(self._path)
        # "file:" and an absolute path: FFmpeg would take the start of "take:1.mp4" for a protocol.
        container = open_container(f"file:{self._path.absolute()}", self._name, explain=self._explain)
        try:
            self._decoder = Decoder(container, self._name, self._tap, clock=self._clock)
        except BaseException:
            container.close()
            raise
        return self._decoder.info(self._realtime)

    def _explain(self, exc: FFmpegError) -> str:
        from av.error import InvalidDataError

        return why_not_video(self._path) if isinstance(exc, InvalidDataError) else f"cannot be opened: {reason(exc)}"

    def _frames(self) -> Iterator[Frame]:
        assert self._decoder is not None
        self._tap.release()
        frames = self._decoder.frames()
        try:
            yield from paced(frames, self._clock, self._wait) if self._realtime else frames
        except SourceLostError as exc:
            _LOG.warning("%s; what could be decoded was delivered", exc)

    def _close(self) -> None:
        if self._decoder is not None:
            self._decoder.close()


def paced(
    frames: Iterator[Frame], clock: Callable[[], int], wait: Callable[[float], object], pacer: Pacer | None = None
) -> Iterator[Frame]:
    """Hold each frame until it is due, and stamp `captured_ns` then."""
    pacer = pacer or Pacer()
    for frame in frames:
        delay_s = pacer.delay_s(frame.time_s, clock())
        if delay_s > 0:
            wait(delay_s)
        yield replace(frame, captured_ns=clock())
