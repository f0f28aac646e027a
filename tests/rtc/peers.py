"""WebRTC peers for tests, all on loopback.

`BarTrack` is a video of numbered frames, `make_offer` an offer as a client makes it, `connected_pair` a client's and
a server's connection that have found each other. Everything runs in the test's own event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fractions import Fraction

import av
import numpy as np
from aiortc import MediaStreamTrack, RTCPeerConnection
from aiortc.mediastreams import MediaStreamError
from numpy.typing import NDArray

from gest_stream.config import RtcConfig
from gest_stream.rtc.connection import RtcConnection, accept_answer, answer_offer, make_connection
from gest_stream.rtc.offer import OfferPurpose

_BITS = 12
_CLOCK_HZ = 90_000


def bar_picture(number: int, size: tuple[int, int] = (320, 240)) -> NDArray[np.uint8]:
    """A (H, W, 3) uint8 RGB picture that holds `number`, 0 to 4095, as twelve black or white bars."""
    width, height = size
    bits = [(number >> bit) & 1 for bit in range(_BITS)]
    columns = np.repeat(np.array(bits, np.uint8) * 255, width // _BITS)
    picture = np.full((height, width, 3), 128, np.uint8)
    picture[:, : columns.size] = columns[None, :, None]
    return picture


def bar_number(frame: av.VideoFrame) -> int:
    """The number on a received picture."""
    grey = frame.to_ndarray(format="gray")
    step = frame.width // _BITS
    middle = grey[frame.height // 2]
    return sum(int(middle[step * bit + step // 2] > 127) << bit for bit in range(_BITS))


class BarTrack(MediaStreamTrack):
    """Numbered pictures at a steady rate.

    Args:
        fps: Frames a second.
        size: (width, height) in pixels.
        count: Frames after which it ends; None never ends.
    """

    kind = "video"

    def __init__(self, fps: float = 30.0, size: tuple[int, int] = (320, 240), count: int | None = None) -> None:
        super().__init__()
        self._fps, self._size, self._count = fps, size, count
        self._start_s: float | None = None
        self.sent: dict[int, float] = {}
        """Unix milliseconds at which each frame was given out, by its pts."""

    async def recv(self) -> av.VideoFrame:
        """The next picture, when it is due."""
        number = len(self.sent)
        if self.readyState != "live" or number == self._count:
            self.stop()
            raise MediaStreamError
        loop = asyncio.get_running_loop()
        if self._start_s is None:
            self._start_s = loop.time()
        await asyncio.sleep(max(0.0, self._start_s + number / self._fps - loop.time()))
        frame = av.VideoFrame.from_ndarray(bar_picture(number % 4096, self._size), "rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = round(number * _CLOCK_HZ / self._fps), Fraction(1, _CLOCK_HZ)
        self.sent[frame.pts] = time.time() * 1000
        return frame


def client_connection(
    purpose: OfferPurpose, config: RtcConfig | None = None, track: MediaStreamTrack | None = None
) -> RtcConnection:
    """A client's connection with one video section and one for data channels ("results"), before its offer.

    Args:
        purpose: What it wants.
        config: Its settings.
        track: What it sends; a `BarTrack` where it sends and none is given.
    """
    connection = make_connection(config or RtcConfig())
    sends = purpose is not OfferPurpose.VIEW
    direction = {OfferPurpose.LOOP: "sendrecv", OfferPurpose.PUBLISH: "sendonly", OfferPurpose.VIEW: "recvonly"}[
        purpose
    ]
    connection.addTransceiver((track or BarTrack()) if sends else "video", direction=direction)
    connection.createDataChannel("results", ordered=False, maxRetransmits=0)
    return connection


async def local_offer(connection: RTCPeerConnection) -> str:
    """The offer of a client's connection, with its candidates."""
    await connection.setLocalDescription(await connection.createOffer())
    return connection.localDescription.sdp


async def make_offer(purpose: OfferPurpose = OfferPurpose.LOOP) -> str:
    """An offer of a client that is not there any more."""
    connection = client_connection(purpose)
    try:
        return await local_offer(connection)
    finally:
        await connection.close()


async def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait for a condition; `TimeoutError` names it where it does not come true in time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {timeout_s:g} s: {getattr(condition, '__qualname__', condition)}")
        await asyncio.sleep(0.01)


@asynccontextmanager
async def connected_pair(
    purpose: OfferPurpose = OfferPurpose.LOOP,
    config: RtcConfig | None = None,
    track: MediaStreamTrack | None = None,
    before_answer: Callable[[RTCPeerConnection], None] | None = None,
) -> AsyncIterator[tuple[RtcConnection, RtcConnection]]:
    """A client's and a server's connection, connected; closed on leaving.

    Args:
        purpose: What the client wants.
        config: Settings of both.
        track: What the client sends.
        before_answer: What the server does between taking the offer and answering it, such as adding its track.

    Yields:
        (client, server).
    """
    config = config or RtcConfig()
    client, server = client_connection(purpose, config, track), make_connection(config)
    try:
        answer = await answer_offer(server, await local_offer(client), config, before_answer)
        await accept_answer(client, answer)
        await until(lambda: client.connectionState == "connected" and server.connectionState == "connected")
        yield client, server
    finally:
        await client.close()
        await server.close()
