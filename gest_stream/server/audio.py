"""The sound of a published stream, handed on to whoever watches it."""

from __future__ import annotations

import asyncio
import contextlib

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from gest_stream.rtc.outgoing import FedTrack

_MAX_WAITING = 25  # half a second in frames of 20 ms


class SoundFan:
    """Takes every frame of a received audio track, whose queue has no bound, and plays it on any number of tracks.

    Args:
        received: The track.
    """

    def __init__(self, received: MediaStreamTrack) -> None:
        self._received = received
        self._tracks: list[FedTrack] = []
        self._pump = asyncio.create_task(self._play())

    def track(self) -> FedTrack:
        """A new track; a taker that falls half a second behind loses the oldest of it."""
        track = FedTrack("audio", _MAX_WAITING, self._tracks.remove)
        self._tracks.append(track)
        return track

    async def _play(self) -> None:
        with contextlib.suppress(MediaStreamError):
            while True:
                sound = await self._received.recv()
                for track in self._tracks:
                    track.feed(sound)

    async def close(self) -> None:
        """End every track."""
        self._pump.cancel()
        await asyncio.wait({self._pump})
        for track in tuple(self._tracks):
            track.stop()
