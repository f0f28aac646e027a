"""The sound of a published stream, handed on to whoever watches it."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

if TYPE_CHECKING:
    from av import AudioFrame, Packet
    from av.frame import Frame

_MAX_WAITING = 25  # half a second in frames of 20 ms


class SoundTrack(MediaStreamTrack):
    """An outgoing audio track; a taker that falls half a second behind loses the oldest of it.

    Args:
        on_stop: Called once, when the track ends.
    """

    kind = "audio"

    def __init__(self, on_stop: Callable[[SoundTrack], object]) -> None:
        super().__init__()
        self._on_stop: Callable[[SoundTrack], object] | None = on_stop
        self._sounds: deque[Frame | Packet[Any]] = deque(maxlen=_MAX_WAITING)
        self._arrived = asyncio.Event()

    def play(self, sound: Frame | Packet[Any]) -> None:
        """Take a piece of sound."""
        self._sounds.append(sound)
        self._arrived.set()

    async def recv(self) -> AudioFrame:
        """The next piece of sound.

        Raises:
            MediaStreamError: The track has ended.
        """
        while not self._sounds:
            if self.readyState != "live":
                raise MediaStreamError
            self._arrived.clear()
            await self._arrived.wait()
        return self._sounds.popleft()  # type: ignore[return-value]

    def stop(self) -> None:
        """End the track."""
        super().stop()
        self._sounds.clear()
        self._arrived.set()
        on_stop, self._on_stop = self._on_stop, None
        if on_stop is not None:
            on_stop(self)


class SoundFan:
    """Takes every frame of a received audio track, whose queue has no bound, and plays it on any number of tracks.

    Args:
        received: The track.
    """

    def __init__(self, received: MediaStreamTrack) -> None:
        self._received = received
        self._tracks: list[SoundTrack] = []
        self._pump = asyncio.create_task(self._play())

    def track(self) -> SoundTrack:
        """A new track."""
        track = SoundTrack(self._tracks.remove)
        self._tracks.append(track)
        return track

    async def _play(self) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                sound = await self._received.recv()
                for track in self._tracks:
                    track.play(sound)

    async def close(self) -> None:
        """End every track."""
        self._pump.cancel()
        await asyncio.wait({self._pump})
        for track in tuple(self._tracks):
            track.stop()
