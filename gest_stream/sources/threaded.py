"""The async face of a blocking reader: one worker thread, one bounded ring, always joined."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from types import TracebackType
from typing import Self

from gest_stream.audio import AudioFeed
from gest_stream.buffer import FrameRing, RingPolicy, RingStats
from gest_stream.errors import SourceError, SourceOpenError
from gest_stream.interfaces import SourceInfo
from gest_stream.types import Frame

_READ_AHEAD = 2


class ThreadedSource(ABC):
    """A source whose blocking reads run on a worker thread of its own.

    A subclass writes `_open`, `_frames` and `_close`; all three run on the worker and may block, and give up soon after
    `_stopping` is set. A live source hands over its newest frame only; any other one is read a little ahead and waits.

    Args:
        name: What the user called it, for messages.
        reads_before_iteration: True where reading starts as soon as it is open (a camera); False where it waits for the
            first frame to be asked for, so that no audio packet passes before the outputs are listening.
    """

    def __init__(self, name: str, *, reads_before_iteration: bool = False) -> None:
        self._name = name
        self._reads_before_iteration = reads_before_iteration
        self._stopping = threading.Event()
        self._wanted = threading.Event()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._changed = asyncio.Event()
        self._info: SourceInfo | None = None
        self._ring: FrameRing[Frame] | None = None
        self._error: Exception | None = None
        self._done = False

    @abstractmethod
    def _open(self) -> SourceInfo:
        """Open what is read, or raise a `SourceError`."""

    @abstractmethod
    def _frames(self) -> Iterator[Frame]:
        """The frames, in order; the end of the iterator is the end of the stream."""

    @abstractmethod
    def _close(self) -> None:
        """Let go of what `_open` opened; also called after it failed."""

    @property
    def info(self) -> SourceInfo:
        """What is known of the source; valid once entered."""
        if self._info is None:
            raise SourceError(f"{self._name}: is not open yet; enter it with 'async with' first")
        return self._info

    @property
    def audio(self) -> AudioFeed | None:
        """Its audio packets; None where it has none that can be copied."""
        return None

    @property
    def stats(self) -> RingStats:
        """Frames read, taken and dropped between the worker and the consumer."""
        return RingStats(0, 0, 0, 0, 0.0) if self._ring is None else self._ring.stats

    def stop(self) -> None:
        """End the stream early; safe from any thread, and more than once."""
        self._stopping.set()
        self._wanted.set()
        if self._ring is not None:
            self._ring.close(discard=True)

    async def __aenter__(self) -> Self:
        if self._thread is not None:
            raise SourceError(f"{self._name}: was already used; make a new source for every run")
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name=f"gest-source {self._name}")
        self._thread.start()
        try:
            await self._until(lambda: self._info is not None or self._done)
        except BaseException:
            await self._shut()
            raise
        if self._info is None:
            await self._shut()
            raise self._error or SourceOpenError(f"{self._name}: was stopped while it was being opened")
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._shut()

    def __aiter__(self) -> AsyncIterator[Frame]:
        return self

    async def __anext__(self) -> Frame:
        ring = self._ring
        if ring is None:
            raise SourceError(f"{self._name}: is not open; iterate inside 'async with'")
        self._wanted.set()
        await asyncio.sleep(0)  # a ring that is never empty must not starve the other tasks
        while True:
            self._changed.clear()
            frame = ring.try_take()
            if frame is not None:
                return frame
            if ring.drained:
                return await self._end()
            await self._changed.wait()

    async def _end(self) -> Frame:
        if not self._stopping.is_set():
            await self._until(lambda: self._done)  # `_close` may still fail, and its error belongs to the stream
            if self._error is not None:
                raise self._error
        raise StopAsyncIteration

    async def _until(self, predicate: Callable[[], bool]) -> None:
        while True:
            self._changed.clear()
            if predicate():
                return
            await self._changed.wait()

    async def _shut(self) -> None:
        """Stop and join the worker, also where this task is cancelled meanwhile."""
        self.stop()
        cancelled: asyncio.CancelledError | None = None
        while not self._done:
            try:
                await self._until(lambda: self._done)
            except asyncio.CancelledError as exc:
                cancelled = exc
        if self._thread is not None:
            self._thread.join()
        if cancelled is not None:
            raise cancelled

    def _work(self) -> None:
        try:
            try:
                self._run()
            finally:
                self._close()
        except Exception as exc:
            self._error = exc
        finally:
            if self._ring is not None:
                self._ring.close()
            self._done = True
            self._tell()

    def _run(self) -> None:
        info = self._open()
        policy = RingPolicy.LIVE if info.live else RingPolicy.LOSSLESS
        ring: FrameRing[Frame] = FrameRing(policy, 1 if info.live else _READ_AHEAD)
        ring.add_listener(self._tell)
        self._ring = ring
        self._info = info
        self._tell()
        if not self._reads_before_iteration:
            self._wanted.wait()
        if self._stopping.is_set():
            ring.close()
            return
        for frame in self._frames():
            if not ring.push(frame):
                return

    def _tell(self) -> None:
        """Wake whoever waits on the event loop; called on any thread."""
        loop = self._loop
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(self._changed.set)
        except RuntimeError:
            # The loop was closed without leaving the source; nobody is left to wake.
            self._stopping.set()
