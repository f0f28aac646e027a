"""An outgoing track that is fed from here, and whose taker may be slow."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

if TYPE_CHECKING:
    from av import Packet
    from av.frame import Frame


class FedTrack(MediaStreamTrack):
    """Gives what it is fed in order; of what waits, the oldest makes room for the newest. Used on one event loop.

    Args:
        kind: "video" or "audio".
        most_waiting: What may wait.
        on_stop: Called once, when the track ends.
    """

    def __init__(self, kind: str, most_waiting: int, on_stop: Callable[[Any], object] | None = None) -> None:
        super().__init__()
        self.kind = kind
        self._on_stop = on_stop
        self._pieces: deque[Frame | Packet[Any]] = deque(maxlen=most_waiting)
        self._arrived = asyncio.Event()
        self.dropped = 0
        """Pieces that nobody took."""

    def feed(self, piece: Frame | Packet[Any]) -> None:
        """Take a piece."""
        self.dropped += len(self._pieces) == self._pieces.maxlen
        self._pieces.append(piece)
        self._arrived.set()

    async def recv(self) -> Any:
        """The next piece.

        Raises:
            MediaStreamError: The track has ended.
        """
        while not self._pieces:
            if self.readyState != "live":
                raise MediaStreamError
            self._arrived.clear()
            await self._arrived.wait()
        return self._pieces.popleft()

    def stop(self) -> None:
        """End the track."""
        super().stop()
        self.dropped += len(self._pieces)
        self._pieces.clear()
        self._arrived.set()
        on_stop, self._on_stop = self._on_stop, None
        if on_stop is not None:
            on_stop(self)
