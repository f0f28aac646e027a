"""Somebody else's WHIP and WHEP server for tests: aiohttp and aiortc on loopback, in the test's own event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from ssl import SSLContext
from typing import Any

import av
from aiohttp import web
from aiortc import MediaStreamTrack
from aiortc.mediastreams import MediaStreamError

from gest_stream.config import RtcConfig
from gest_stream.rtc.connection import RtcConnection, answer_offer, make_connection
from tests.rtc.peers import BarTrack, until

Refusal = Callable[[], web.Response]


@dataclass(eq=False)
class StandIn:
    """What it is told to do, and what it has seen.

    Args:
        token: What it wants to be shown; None lets everybody in.
        make_track: Makes what a viewer gets.
        base: Its address.
    """

    token: str | None = None
    make_track: Callable[[], MediaStreamTrack] = BarTrack
    base: str = ""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)
    """(method, path, Authorization) of every request."""
    offers: list[str] = field(default_factory=list)
    frames: list[av.VideoFrame] = field(default_factory=list)
    """What publishers sent."""
    next_answers: list[Refusal] = field(default_factory=list)
    """Given to the next offers instead of an answer, one each; then answers follow again."""
    always: Refusal | None = None
    """Given to every offer instead of an answer."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Sent with every answer."""
    location: Callable[[str], str] = lambda path: path
    """From the path of a session to its Location."""
    change: Callable[[str], str] = lambda sdp: sdp
    """What is done to every answer."""
    read: Callable[[str], str] = lambda sdp: sdp
    """What is done to every offer before it is answered."""
    sessions: dict[str, RtcConnection] = field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def seen(self, method: str) -> list[str]:
        """Paths of the requests of one method."""
        return [path for seen, path, _ in self.requests if seen == method]

    async def hang_up(self) -> None:
        """End every session from this side, once its connection is up: before that the peer would not hear of it."""
        await until(lambda: self.connected == len(self.sessions))
        await self.close()

    def vanish(self) -> None:
        """Stop answering without a word, as a machine does that lost its power."""
        for connection in self.sessions.values():
            for transceiver in connection.getTransceivers():
                for socket in transceiver.receiver.transport.transport._connection._protocols:
                    socket.transport.close()

    async def close(self) -> None:
        """Close every connection."""
        for connection in self.sessions.values():
            await connection.close()
        self.sessions.clear()

    @property
    def connected(self) -> int:
        """Sessions whose connection is up."""
        return sum(connection.connectionState == "connected" for connection in self.sessions.values())

    async def post(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        refuse = self.next_answers.pop(0) if self.next_answers else self.always
        if refuse is not None:
            return refuse()
        if self.token is not None and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401)
        offer = await request.text()
        self.offers.append(offer)
        connection = make_connection(RtcConfig())
        path = f"/session/{len(self.offers)}"
        self.sessions[path] = connection
        publishes = request.path.startswith("/whip")
        if publishes:
            connection.on("track", self._collect)

        def attach(connection: Any) -> None:
            for transceiver in connection.getTransceivers():
                transceiver.direction = "recvonly" if publishes else "sendonly"
                if not publishes:
                    transceiver.sender.replaceTrack(self.make_track())

        answer = self.change(await answer_offer(connection, self.read(offer), RtcConfig(), attach))
        headers = {"Location": self.location(path), **self.headers}
        return web.Response(status=201, text=answer, content_type="application/sdp", headers=headers)

    async def delete(self, request: web.Request) -> web.Response:
        self._note(request)
        connection = self.sessions.pop(request.path, None)
        if connection is None:
            return web.Response(status=404)
        await connection.close()
        return web.Response()

    def _note(self, request: web.Request) -> None:
        self.requests.append((request.method, request.path, request.headers.get("Authorization")))

    def _collect(self, track: MediaStreamTrack) -> None:
        async def collect() -> None:
            try:
                while True:
                    frame = await track.recv()
                    assert isinstance(frame, av.VideoFrame)
                    self.frames.append(frame)
            except MediaStreamError:
                pass

        task = asyncio.create_task(collect())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)


@asynccontextmanager
async def standing_in(server: StandIn | None = None, ssl: SSLContext | None = None) -> AsyncIterator[StandIn]:
    """A server on a free port, whose sessions are closed on leaving."""
    server = server or StandIn()
    app = web.Application()
    app.router.add_post("/{protocol:whip|whep}/{stream}", server.post)
    app.router.add_delete("/session/{number}", server.delete)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=ssl)
    await site.start()
    port = runner.addresses[0][1]
    server.base = f"{'https' if ssl else 'http'}://127.0.0.1:{port}"
    try:
        yield server
    finally:
        await server.close()
        await runner.cleanup()


@contextmanager
def standing_in_thread(server: StandIn) -> Iterator[StandIn]:
    """The same on a thread of its own, for what has an event loop of its own."""
    ready = threading.Event()
    endings: list[Callable[[], object]] = []

    async def serve() -> None:
        end, loop = asyncio.Event(), asyncio.get_running_loop()
        endings.append(lambda: loop.call_soon_threadsafe(end.set))
        async with standing_in(server):
            ready.set()
            await end.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        yield server
    finally:
        for end in endings:
            end()
        thread.join()
