"""Peers of a server's sessions: aiortc connections in the same process that send numbered pictures."""

from __future__ import annotations

import asyncio
import json
import time
from fractions import Fraction
from types import TracebackType
from typing import Any, Self

import av
import numpy as np
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, MediaStreamTrack

from gest_stream.config import EffectConfig, LimitsConfig, PipelineConfig, ServerConfig
from gest_stream.server.metrics import ServerMetrics
from gest_stream.server.session import Session, SessionKind
from gest_stream.server.sessions import Sessions
from gest_stream.testing import ScriptedDetector, ScriptedSegmenter, make_landmarks
from gest_stream.tracking.tracker import TrackerCore

SIZE = (160, 120)


class GreyTrack(MediaStreamTrack):
    """Grey pictures at 30 frames a second in real time."""

    kind = "video"

    def __init__(self, size: tuple[int, int] = SIZE, rate: int = 30) -> None:
        super().__init__()
        self._size = size
        self._rate = rate
        self._begun: float | None = None
        self.sent = 0

    async def recv(self) -> Any:
        if self.readyState != "live":
            raise MediaStreamError
        if self._begun is None:
            self._begun = time.monotonic()
        await asyncio.sleep(max(0.0, self._begun + self.sent / self._rate - time.monotonic()))
        frame = av.VideoFrame.from_ndarray(np.full((self._size[1], self._size[0], 3), 128, np.uint8), "rgb24")
        frame.pts, frame.time_base = self.sent * 90_000 // self._rate, Fraction(1, 90_000)
        self.sent += 1
        return frame


class Peer:
    """One connection to a server; leave it to hang up.

    Args:
        kind: What it is for.
        channels: Open the data channels `results` and `commands`.
        audio: Send sound too, or ask for it.
    """

    def __init__(self, kind: SessionKind, channels: bool = False, audio: bool = False) -> None:
        self.kind = kind
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.pictures: list[av.VideoFrame] = []
        self.sounds = 0
        self.results: list[dict[str, Any]] = []
        self.replies: list[dict[str, Any]] = []
        self.commands: RTCDataChannel | None = None
        self.track = GreyTrack()
        self._tasks: list[asyncio.Task[None]] = []
        self._next_id = 0
        self.connection.on("track", self._take)
        directions = {SessionKind.LOOP: "sendrecv", SessionKind.PUBLISH: "sendonly", SessionKind.VIEW: "recvonly"}
        sends = kind is not SessionKind.VIEW
        self.connection.addTransceiver(self.track if sends else "video", direction=directions[kind])
        if audio:
            self.connection.addTransceiver(AudioStreamTrack() if sends else "audio", direction=directions[kind])
        if channels:
            results = self.connection.createDataChannel("results", ordered=False, maxRetransmits=0)
            results.on("message", lambda text: self.results.append(json.loads(text)))
            self.commands = self.connection.createDataChannel("commands")
            self.commands.on("message", lambda text: self.replies.append(json.loads(text)))

    async def offer(self) -> str:
        """The offer, with every candidate."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        return str(self.connection.localDescription.sdp)

    async def accept(self, answer: str) -> None:
        """Take the server's answer."""
        await self.connection.setRemoteDescription(RTCSessionDescription(answer, "answer"))

    async def join(self, sessions: Sessions, stream: str = "", client: str = "test") -> Session:
        """Begin a session."""
        session, answer = await sessions.start(self.kind, stream, await self.offer(), client)
        await self.accept(answer)
        return session

    async def command(self, kind: str, /, **values: Any) -> dict[str, Any]:  # noqa: D417
        """Send a command and wait for the reply to it."""
        assert self.commands is not None
        channel = self.commands
        await until(lambda: channel.readyState == "open")
        self._next_id += 1
        number = self._next_id
        channel.send(json.dumps({"v": 1, "id": number, "type": kind, **values}))
        await until(lambda: any(reply.get("id") == number for reply in self.replies))
        return next(reply for reply in self.replies if reply.get("id") == number)

    def _take(self, track: MediaStreamTrack) -> None:
        self._tasks.append(asyncio.create_task(self._receive(track)))

    async def _receive(self, track: MediaStreamTrack) -> None:
        try:
            while True:
                received = await track.recv()
                if isinstance(received, av.VideoFrame):
                    self.pictures.append(received)
                else:
                    self.sounds += 1
        except MediaStreamError:
            pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        await self.connection.close()
        for task in self._tasks:
            task.cancel()  # a track of a connection that was never made does not end by itself
        if self._tasks:
            await asyncio.wait(self._tasks)


def scripted_tracker(segmenter: ScriptedSegmenter | None = None) -> TrackerCore:
    """A tracker that sees one open hand in the middle of the picture."""
    hand = make_landmarks((SIZE[0] / 2, SIZE[1] / 2), SIZE[1] / 2)
    return TrackerCore(ScriptedDetector(lambda seq: [hand]), segmenter or ScriptedSegmenter())


def make_sessions(limits: LimitsConfig | None = None, **others: Any) -> Sessions:
    """Sessions with scripted models.

    Args:
        limits: Of the server.
        **others: Settings of `PipelineConfig`, or `make_tracker`.
    """
    make_tracker = others.pop("make_tracker", scripted_tracker)
    others.setdefault("effect", EffectConfig(labels=False))
    config = PipelineConfig(server=ServerConfig(limits=limits or LimitsConfig()), **others)
    return Sessions(config, make_tracker, ServerMetrics(), "scripted")


async def until(condition: Any, timeout_s: float = 15.0) -> None:
    """Wait until `condition()` holds.

    Raises:
        TimeoutError: It does not in time.
    """
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)
