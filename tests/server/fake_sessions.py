"""Sessions without connections, and a server that serves them on loopback."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from gest_stream.config import LimitsConfig, PipelineConfig, ServerConfig
from gest_stream.errors import SignallingError
from gest_stream.rtc.offer import OfferPurpose, check_offer, parse_fragment
from gest_stream.server.metrics import ServerMetrics
from gest_stream.server.seams import SessionsSeam
from gest_stream.server.serve import serve
from gest_stream.server.session import SessionKind
from gest_stream.server.sessions import ServerFullError

TOKEN = "a-token-for-tests"
ANSWER = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
SDP = {"Content-Type": "application/sdp"}
FRAGMENT = {"Content-Type": "application/trickle-ice-sdpfrag"}
CANDIDATES = "a=ice-ufrag:EsAw\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=end-of-candidates\r\n"

_PURPOSES = {
    SessionKind.LOOP: OfferPurpose.LOOP,
    SessionKind.PUBLISH: OfferPurpose.PUBLISH,
    SessionKind.VIEW: OfferPurpose.VIEW,
}


def offer(direction: str = "sendrecv") -> str:
    """An offer of one video that passes every check."""
    digest = ":".join(["DA"] * 32)
    return (
        "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n"
        "m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:EsAw\r\n"
        f"a=ice-pwd:bP+XJMM09aR8AiX1jdukzR6Y\r\na=fingerprint:sha-256 {digest}\r\na=setup:actpass\r\na={direction}\r\n"
        "a=rtcp-mux\r\na=rtpmap:96 VP8/90000\r\n"
    )


class FakeSession:
    """Keeps what HTTP told it."""

    def __init__(self, owner: FakeSessions, kind: SessionKind, stream: str, client: str) -> None:
        self.id = secrets.token_urlsafe(24)
        self.kind = kind
        self.stream = stream
        self.client = client
        self.etag = f'"{secrets.token_hex(8)}"'
        self.fragments: list[str] = []
        self.backgrounds: list[bytes] = []
        self.ended = ""
        self._owner = owner

    async def add_candidates(self, fragment: str) -> None:
        parse_fragment(fragment, ["0"], 65_536)
        self.fragments.append(fragment)

    def set_background(self, encoded: bytes) -> None:
        if not encoded.startswith((b"\x89PNG", b"\xff\xd8")):
            raise SignallingError("background: expected a PNG or JPEG picture", 415)
        self.backgrounds.append(encoded)

    async def close(self, reason: str) -> None:
        self.ended = reason
        self._owner.open.pop(self.id, None)


@dataclass
class FakeSessions:
    """Checks offers as the server does, and opens no connection.

    Args:
        places: Sessions at once.
        per_client: Sessions of one client at once.
        failure: Raised by the next `start`.
        gate: Waited for by `start`.
        close_gate: Waited for by `close`.
    """

    places: int = 4
    per_client: int = 16
    failure: Exception | None = None
    gate: asyncio.Event | None = None
    close_gate: asyncio.Event | None = None
    open: dict[str, FakeSession] = field(default_factory=dict)
    begun: list[FakeSession] = field(default_factory=list)
    closed: int = 0
    waiting: int = 0

    async def start(self, kind: SessionKind, stream: str, offer_sdp: str, client: str) -> tuple[FakeSession, str]:
        if self.failure is not None:
            raise self.failure
        if self.gate is not None:
            self.waiting += 1
            await self.gate.wait()
        published = {one.stream for one in self.open.values() if one.kind is SessionKind.PUBLISH}
        if kind is SessionKind.VIEW and stream not in published:
            raise SignallingError(f"stream {stream}: nobody publishes it", 404)
        if kind is SessionKind.PUBLISH and stream in published:
            raise SignallingError(f"stream {stream}: somebody publishes it already", 409)
        if sum(one.client == client for one in self.open.values()) >= self.per_client:
            raise ServerFullError("this client has too many sessions", 429, 7)
        if len(self.open) >= self.places:
            raise ServerFullError("all places are taken", 503, 5)
        check_offer(offer_sdp, _PURPOSES[kind], 65_536)
        session = FakeSession(self, kind, stream, client)
        self.open[session.id] = session
        self.begun.append(session)
        return session, ANSWER

    def get(self, session_id: str) -> FakeSession | None:
        return self.open.get(session_id)

    def describe(self) -> dict[str, Any]:
        counts = {str(kind): sum(one.kind is kind for one in self.open.values()) for kind in SessionKind}
        return {"sessions": counts, "streams": counts["publish"], "max_sessions": self.places, "max_viewers": 16}

    async def close(self) -> None:
        self.closed += 1
        if self.close_gate is not None:
            await self.close_gate.wait()
        for session in list(self.open.values()):
            await session.close("the server shuts down")


def settings(token: str | None = None, limits: LimitsConfig | None = None, **server: Any) -> PipelineConfig:
    """Settings of a server on a free port of loopback."""
    return PipelineConfig(server=ServerConfig(port=0, token=token, limits=limits or LimitsConfig(), **server))


async def until(holds: Callable[[], object], within_s: float = 30.0) -> None:
    """Wait until something holds."""
    for _ in range(int(within_s / 0.005)):
        if holds():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"it did not hold within {within_s} s")


def address(client: aiohttp.ClientSession) -> tuple[str, int]:
    """Host and port of the server that `client` was made for."""
    base = client._base_url
    assert base is not None and base.host is not None and base.port is not None
    return base.host, base.port


@asynccontextmanager
async def serving(
    config: PipelineConfig, sessions: SessionsSeam, headers: dict[str, str] | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """Serve, as `gest-stream serve` does, and hand out a client whose base is the server.

    Args:
        config: From `settings`.
        sessions: The sessions.
        headers: What the client sends with every request.
    """
    stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
    server = asyncio.create_task(serve(config, sessions, ServerMetrics(), ready=url.set_result, stop=stop))
    await asyncio.wait({server, url}, return_when=asyncio.FIRST_COMPLETED)
    if server.done():
        server.result()
    try:
        async with aiohttp.ClientSession(await url, headers=headers, trust_env=False) as client:
            yield client
    finally:
        stop.set()
        await asyncio.wait_for(server, 60)


def ask(
    check: Callable[[aiohttp.ClientSession, FakeSessions], Awaitable[None]],
    config: PipelineConfig | None = None,
    sessions: FakeSessions | None = None,
) -> FakeSessions:
    """Serve, and run `check` against it."""
    known = sessions or FakeSessions()

    async def run() -> None:
        async with serving(config or settings(), known) as client:
            await check(client, known)

    asyncio.run(run())
    return known


async def problem(response: aiohttp.ClientResponse, status: int) -> str:
    """The detail of a problem, once all else about it is as it should be."""
    assert response.status == status
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = await response.json(content_type="application/problem+json")
    assert set(body) == {"title", "status", "detail"}
    assert body["status"] == status
    return str(body["detail"])
