"""A video file played in a loop: as a camera would give it, or as fast as it is taken."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from gest_stream.clock import now_ns
from gest_stream.interfaces import SourceInfo
from gest_stream.sources.audio_tap import AudioTap
from gest_stream.sources.decode import Decoder, open_container
from gest_stream.sources.threaded import ThreadedSource
from gest_stream.types import Frame


@dataclass(frozen=True, slots=True)
class PlayFile:
    """A video file to play.

    Args:
        path: The file.
        size: (width, height) of its frames, pixels.
        rate: Frames a second.
        frames: Number of frames.
    """

    path: Path
    size: tuple[int, int]
    rate: Fraction
    frames: int


def decoded(file: PlayFile, *, threads: str = "AUTO") -> Generator[Frame, None, None]:
    """The frames of a file over and over, with pts and seq that go on.

    Args:
        file: What is decoded.
        threads: FFmpeg's threading: "AUTO", or "SLICE" to decode nothing before it is asked for.

    Raises:
        SourceError: The file cannot be read.
    """
    pts = seq = 0
    while True:
        container = open_container(f"file:{file.path.absolute()}", file.path.name)
        try:
            decoder = Decoder(container, file.path.name, AudioTap(file.path.name), threads=threads)
            first = last = decoder.first
            step = 1
            for frame in decoder.frames():
                step = frame.pts - last.pts or step
                last = frame
                yield replace(frame, pts=pts + frame.pts - first.pts, seq=seq + frame.seq)
            pts += last.pts - first.pts + step
            seq += last.seq + 1
        finally:
            container.close()


class LoopedFile(ThreadedSource):
    """A file over and over as a source.

    In real time `captured_ns` is the moment a frame is due, not the moment it was decoded: what holds this source up
    counts as latency, as it would with a camera, whose sensor does not wait. Where decoding falls behind by a frame or
    more, the missed ones count as dropped: their seqs are missing, and the picture goes on where it was.

    Args:
        file: What is played.
        realtime: At the file's own rate, as a live source.
        frames: The stream ends after so many; None ends it only by `stop`.
        clock: Monotonic nanoseconds.
        wait: Waits for some seconds, or until the source is stopped; None waits in real time.
    """

    def __init__(
        self,
        file: PlayFile,
        realtime: bool,
        *,
        frames: int | None = None,
        clock: Callable[[], int] = now_ns,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        super().__init__(file.path.name)
        self._file = file
        self._realtime = realtime
        self._count = frames
        self._clock = clock
        self._wait = wait or self._stopping.wait

    def _open(self) -> SourceInfo:
        with closing(decoded(self._file)) as frames:
            first = next(frames)
        return SourceInfo(self._name, self._realtime, first.size, first.time_base, self._file.rate, self._count)

    def _frames(self) -> Iterator[Frame]:
        with closing(decoded(self._file)) as frames:
            yield from self._due(frames) if self._realtime else self._counted(frames)

    def _counted(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        for frame in frames:
            if self._stopping.is_set() or (self._count is not None and frame.seq >= self._count):
                return
            yield replace(frame, captured_ns=self._clock())

    def _due(self, frames: Iterator[Frame]) -> Iterator[Frame]:
        interval_ns = 1e9 / float(self._file.rate)
        start_ns: int | None = None
        missed = 0
        for frame in frames:
            now = self._clock()
            start_ns = now if start_ns is None else start_ns
            late_ns = now - start_ns - (frame.seq + missed) * interval_ns
            missed += max(int(late_ns // interval_ns), 0)
            seq = frame.seq + missed
            if self._stopping.is_set() or (self._count is not None and seq >= self._count):
                return
            due_ns = start_ns + round(seq * interval_ns)
            if now < due_ns:
                self._wait((due_ns - now) / 1e9)
            step = round(1 / (self._file.rate * frame.time_base))
            yield replace(frame, seq=seq, pts=frame.pts + missed * step, captured_ns=due_ns)

    def _close(self) -> None:
        """`_frames` closes what it opens."""
