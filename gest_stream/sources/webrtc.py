"""A video track that aiortc receives, as a live source."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gest_stream.audio import AudioFeed
from gest_stream.clock import now_ns
from gest_stream.errors import SourceError, SourceLostError, SourceOpenError
from gest_stream.interfaces import SourceInfo
from gest_stream.sources.picture import RgbConverter
from gest_stream.sources.timeline import Picture, Timeline
from gest_stream.types import Frame

if TYPE_CHECKING:
    from aiortc import MediaStreamTrack
    from av import VideoFrame

_RTP_TIME_BASE = Fraction(1, 90_000)
_EARLY_SHARE = 0.25


class TrackSource:
    """The newest frame of a received video track.

    A task takes every frame from the track as soon as it is there, because the queue of an aiortc track has no bound;
    what the consumer does not take in time is dropped. pts and time_base are the track's own.

    Args:
        track: A video track; its frames are taken from it from entering on.
        name: What messages call it.
        max_fps: Frames that come faster, by their pts, are dropped; None takes all.
        first_frame_timeout_s: Seconds that entering waits for the first frame.
        idle_after_s: Seconds without a frame after which the source counts as lost; None waits for ever.
        clock: Monotonic nanoseconds.
    """

    def __init__(
        self,
        track: MediaStreamTrack,
        name: str = "webrtc",
        *,
        max_fps: float | None = None,
        first_frame_timeout_s: float = 15.0,
        idle_after_s: float | None = None,
        clock: Callable[[], int] = now_ns,
    ) -> None:
        self._track = track
        self._name = name
        self._max_fps = max_fps
        self._first_frame_timeout_s = first_frame_timeout_s
        self._idle_after_s = idle_after_s
        self._clock = clock
        self._timeline = Timeline(name, _RTP_TIME_BASE, None)
        self._converter = RgbConverter()
        self._thread: ThreadPoolExecutor | None = None
        self._pump: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived = asyncio.Event()
        self._slot: tuple[VideoFrame, int, int] | None = None
        self._count = self._dropped = 0
        self._next_due_s: float | None = None
        self._info: SourceInfo | None = None
        self._error: SourceError | None = None
        self._ended = self._stopped = False
        self.paused = False
        """While True frames are taken from the track and dropped. Set it from the event loop."""

    @property
    def info(self) -> SourceInfo:
        """What is known of the track; valid once entered."""
        if self._info is None:
            raise SourceError(f"{self._name}: is not open yet; enter it with 'async with' first")
        return self._info

    @property
    def audio(self) -> AudioFeed | None:
        """None: a video track has none."""
        return None

    @property
    def dropped(self) -> int:
        """Frames that the track gave and nobody took: too fast, or while paused."""
        return self._dropped

    async def __aenter__(self) -> Self:
        if self._pump is not None:
            raise SourceError(f"{self._name}: was already used; make a new source for every track")
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"gest-source {self._name}")
        self._pump = asyncio.create_task(self._take_from_track())
        try:
            async with asyncio.timeout(self._first_frame_timeout_s):
                await self._until_arrival()
        except TimeoutError as exc:
            await self._shut()
            raise SourceOpenError(
                f"{self._name}: connected, but no picture came within {self._first_frame_timeout_s:g} s; "
                "check that the sender sends video, and that no firewall holds UDP back"
            ) from exc
        except BaseException:
            await self._shut()
            raise
        if self._slot is None:
            await self._shut()
            message = f"{self._name}: the track ended before its first picture; let the sender start anew"
            raise self._error or SourceOpenError(message)
        frame = self._slot[0]
        self._info = SourceInfo(self._name, True, (frame.width, frame.height), _RTP_TIME_BASE)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self._shut()

    async def _shut(self) -> None:
        self.stop()
        if self._pump is not None:
            self._pump.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(asyncio.gather(self._pump, return_exceptions=True))
        if self._thread is not None:
            self._thread.shutdown(wait=True)

    def stop(self) -> None:
        """End the stream; safe from any thread, and more than once."""
        self._stopped = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to wake
                self._loop.call_soon_threadsafe(self._arrived.set)

    async def __aiter__(self) -> AsyncIterator[Frame]:
        while True:
            await self._until_alive()
            if self._error is not None:
                raise self._error
            if self._stopped or self._slot is None:
                return
            (received, seq, captured_ns), self._slot = self._slot, None
            yield await self._converted(received, seq, captured_ns)

    async def _until_alive(self) -> None:
        """Wait for a frame; those that come while it is paused show that the sender is there."""
        while True:
            seen = self._count
            try:
                async with asyncio.timeout(self._idle_after_s):
                    return await self._until_arrival()
            except TimeoutError as exc:
                if self._count == seen:
                    raise SourceLostError(
                        f"{self._name}: no picture came for {self._idle_after_s:g} s; the sender has stopped or is gone"
                    ) from exc

    async def _converted(self, received: VideoFrame, seq: int, captured_ns: int) -> Frame:
        """The frame as RGB, off the event loop, which it would hold up."""
        assert self._loop is not None and self._thread is not None
        image = await self._loop.run_in_executor(self._thread, self._converter.convert, received)
        time_base = _RTP_TIME_BASE if received.time_base is None else Fraction(received.time_base)
        placed = self._timeline.frame(Picture(image, received.pts, time_base, captured_ns))
        return Frame(placed.image, placed.pts, placed.time_base, captured_ns, seq)

    async def _until_arrival(self) -> None:
        while self._slot is None and not self._ended and not self._stopped:
            self._arrived.clear()
            await self._arrived.wait()

    async def _take_from_track(self) -> None:
        from aiortc.mediastreams import MediaStreamError
        from av import VideoFrame

        try:
            while not self._stopped:
                received = await self._track.recv()
                if not isinstance(received, VideoFrame):
                    raise SourceError(f"{self._name}: expected a track of pictures, got {type(received).__name__}")
                if self._is_wanted(received):
                    self._dropped += self._slot is not None
                    self._slot = (received, self._count, self._clock())
                    self._arrived.set()
                else:
                    self._dropped += 1
                self._count += 1
        except MediaStreamError:
            pass  # the sender hung up: the end of the stream
        except SourceError as exc:
            self._error = exc
        except Exception as exc:  # whatever an application's own track meets; nobody awaits this task
            self._error = SourceError(f"{self._name}: its track failed: {type(exc).__name__}: {exc}")
            self._error.__cause__ = exc
        finally:
            self._ended = True
            self._arrived.set()

    def _is_wanted(self, received: VideoFrame) -> bool:
        if self.paused:
            return False
        if self._max_fps is None or received.pts is None:
            return True
        at_s = float(received.pts * Fraction(received.time_base or _RTP_TIME_BASE))
        interval_s = 1 / self._max_fps
        due_s = self._next_due_s
        if due_s is not None and due_s - interval_s * 2 < at_s < due_s - interval_s * _EARLY_SHARE:
            return False
        # from the due time on, not from the frame's: else a cap of 30 would take every second of 31 frames a second
        self._next_due_s = at_s + interval_s if due_s is None or abs(at_s - due_s) > interval_s else due_s + interval_s
        return True
