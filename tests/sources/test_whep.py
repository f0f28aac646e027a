import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from numpy.typing import NDArray

from gest_stream.config import ReconnectConfig, RtcConfig, SourceConfig
from gest_stream.errors import SourceError, SourceLostError, SourceOpenError
from gest_stream.interfaces import Source
from gest_stream.sources.webrtc import TrackSource
from gest_stream.sources.whep import WhepSource
from gest_stream.types import Frame
from tests.rtc.peers import BarTrack, until
from tests.rtc.standin import StandIn, standing_in

TOKEN = "not-for-your-eyes"
QUICK = SourceConfig(
    open_timeout_s=3.0,
    read_timeout_s=3.0,
    reconnect=ReconnectConfig(initial_s=0.05, max_s=0.1, jitter=0.0, give_up_after_s=10.0),
)


def number_in(image: NDArray[np.uint8]) -> int:
    """The number on a picture of a `BarTrack`."""
    row = image[image.shape[0] // 2, :, 1]
    step = image.shape[1] // 12
    return sum(int(row[step * bit + step // 2] > 127) << bit for bit in range(12))


class StallingTrack(BarTrack):
    """A track that gives some pictures and then no more, without ending."""

    def __init__(self, pictures: int) -> None:
        super().__init__()
        self._pictures = pictures

    async def recv(self) -> Any:
        if len(self.sent) == self._pictures:
            await asyncio.Event().wait()
        return await super().recv()


@asynccontextmanager
async def playing(
    server: StandIn | None = None, config: SourceConfig = QUICK, rtc: RtcConfig | None = None
) -> AsyncIterator[tuple[StandIn, WhepSource]]:
    """A server and an entered source that plays from it."""
    async with standing_in(server) as server:
        async with WhepSource(f"{server.base}/whep/cam", server.token, config=config, rtc=rtc) as source:
            yield server, source


async def take(source: Source, count: int) -> list[Frame]:
    frames: list[Frame] = []
    async for frame in source:
        frames.append(frame)
        if len(frames) == count:
            break
    return frames


def open_error_at(server: StandIn, config: SourceConfig = QUICK, rtc: RtcConfig | None = None) -> str:
    """What the source says when it cannot be opened on `server`."""

    async def scenario() -> None:
        async with playing(server, config, rtc):
            pass

    with pytest.raises(SourceOpenError) as caught:
        asyncio.run(scenario())
    assert str(caught.value).startswith("whep:http://127.0.0.1:")
    return str(caught.value)


def test_the_published_pictures_arrive_with_their_time() -> None:
    async def scenario() -> None:
        async with playing() as (_, source):
            frames = await take(source, 12)
        info = source.info
        assert (info.live, info.size, info.time_base.denominator, source.audio) == (True, (320, 240), 90_000, None)
        numbers = [number_in(frame.image) for frame in frames]
        assert numbers == sorted(set(numbers))
        # one picture each 3000 ticks of the 90 kHz clock: number, pts and seq must tell the same (PyAV's VP8 decoder
        # moves a pts by a tick)
        first = frames[0]
        ticks = [
            frame.pts - first.pts - 3000 * (number - numbers[0]) for frame, number in zip(frames, numbers, strict=True)
        ]
        assert max(map(abs, ticks)) <= 1
        assert [frame.seq - first.seq for frame in frames] == [number - numbers[0] for number in numbers]

    asyncio.run(scenario())


def test_only_video_is_asked_for_and_the_session_is_deleted_with_the_token() -> None:
    async def scenario() -> None:
        async with playing(StandIn(token=TOKEN)) as (server, source):
            await take(source, 1)
            assert server.connected == 1
        assert server.requests == [
            ("POST", "/whep/cam", f"Bearer {TOKEN}"),
            ("DELETE", "/session/1", f"Bearer {TOKEN}"),
        ]
        assert server.sessions == {}
        [offer] = server.offers
        assert offer.count("m=") == 1 and "m=video" in offer and "a=recvonly" in offer

    asyncio.run(scenario())


def test_an_absolute_location_is_deleted_where_it_points() -> None:
    async def scenario() -> None:
        async with standing_in() as server:
            server.location = lambda path: f"{server.base}{path}"
            async with WhepSource(f"{server.base}/whep/cam", config=QUICK) as source:
                await take(source, 1)
            assert server.seen("DELETE") == ["/session/1"] and server.sessions == {}

    asyncio.run(scenario())


def test_a_refusal_is_an_open_error_with_its_reason() -> None:
    server = StandIn(always=lambda: web.Response(status=404, headers={"Retry-After": "3"}))
    error = open_error_at(server)
    assert "no stream under this address (404)" in error and "come back in 3 s" in error


def test_an_answer_that_makes_no_sense_is_told() -> None:
    server = StandIn(always=lambda: web.Response(status=201, text="v=0\r\nm=video what is this\r\n"))
    assert "the answer cannot be used" in open_error_at(server)


def test_a_server_that_has_no_video_is_told_and_its_session_deleted() -> None:
    server = StandIn(change=lambda sdp: sdp.replace("a=sendonly", "a=inactive"))
    assert "the server has no video to give under this address" in open_error_at(server)
    assert server.seen("DELETE") == ["/session/1"]


def test_a_connection_without_a_picture_is_told_and_its_session_deleted() -> None:
    server = StandIn(make_track=lambda: StallingTrack(0))
    error = open_error_at(server, rtc=RtcConfig(connect_timeout_s=0.5))
    assert "connected, but no picture came within" in error
    assert server.seen("DELETE") == ["/session/1"]


def unreachable(sdp: str) -> str:
    """An answer whose ICE password is another connection's, so that no check of ICE succeeds."""
    lines = ("a=ice-pwd:" + "x" * 22 if line.startswith("a=ice-pwd:") else line for line in sdp.split("\r\n"))
    return "\r\n".join(lines)


def test_an_answer_without_a_way_to_the_server_is_told_in_time_with_the_remedy() -> None:
    server = StandIn(change=unreachable)
    since_s = time.monotonic()
    error = open_error_at(server, rtc=RtcConfig(connect_timeout_s=0.5))
    assert "no connection for the video came about within 0.5 s; a firewall may hold UDP back" in error
    assert time.monotonic() - since_s < 5
    assert server.seen("DELETE") == ["/session/1"]


def test_a_source_that_was_lost_comes_back_and_its_time_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with playing() as (server, source):
            before = await take(source, 10)
            await server.hang_up()
            after = await take(source, 10)
            assert server.connected == 1 and len(server.sessions) == 1
        assert server.seen("DELETE") == ["/session/1", "/session/2"]
        assert number_in(after[-1].image) < number_in(before[-1].image) + 15  # the server's track began anew
        pts = [frame.pts for frame in before + after]
        assert all(0 < later - earlier < 30_000 for earlier, later in zip(pts, pts[1:], strict=False)), pts
        assert all(
            later.seq > earlier.seq for earlier, later in zip(before + after, (before + after)[1:], strict=False)
        )

    with caplog.at_level(logging.INFO, "gest_stream"):
        asyncio.run(scenario())
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert len(told) == 2
    assert "lost (the server ended the session); reconnecting for up to 10 s" in told[0]
    assert "back after" in told[1]


def test_a_stream_that_stalls_is_connected_anew() -> None:
    async def scenario() -> None:
        config = SourceConfig(read_timeout_s=0.3, reconnect=QUICK.reconnect)
        async with playing(StandIn(make_track=lambda: StallingTrack(10)), config) as (server, source):
            frames = await take(source, 15)
        assert server.seen("POST") == ["/whep/cam"] * 2
        assert [frame.pts for frame in frames] == sorted({frame.pts for frame in frames})

    asyncio.run(scenario())


def test_a_server_that_stays_away_ends_the_stream_with_the_remedy() -> None:
    reconnect = ReconnectConfig(initial_s=0.05, max_s=0.1, give_up_after_s=0.3)

    async def scenario() -> None:
        async with playing(config=SourceConfig(reconnect=reconnect)) as (server, source):
            await take(source, 1)
            server.always = lambda: web.Response(status=404)
            await server.hang_up()
            with pytest.raises(SourceLostError) as caught:
                await take(source, 1000)
            assert "lost (the server ended the session) and not back after" in str(caught.value)
            assert "the last said: the server has no stream under this address (404)" in str(caught.value)
            assert str(caught.value).endswith("or raise source.reconnect.give_up_after_s")

    asyncio.run(scenario())


def test_stop_from_another_thread_ends_the_stream() -> None:
    async def scenario() -> None:
        async with playing() as (_, source):
            await take(source, 1)
            thread = threading.Thread(target=source.stop)
            thread.start()
            async with asyncio.timeout(2):
                await take(source, 1000)
            thread.join()

    asyncio.run(scenario())


def test_stop_ends_a_source_that_is_reconnecting_at_once() -> None:
    slow = SourceConfig(reconnect=ReconnectConfig(initial_s=60.0, max_s=60.0, give_up_after_s=300.0))

    async def scenario() -> None:
        async with playing(config=slow) as (server, source):
            await take(source, 1)
            await server.hang_up()
            rest = asyncio.create_task(take(source, 1000))
            await until(lambda: server.seen("DELETE") != [])
            source.stop()
            async with asyncio.timeout(2):
                await rest
        assert server.seen("POST") == ["/whep/cam"]

    asyncio.run(scenario())


def test_stop_in_the_very_moment_of_coming_back_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    enter = TrackSource.__aenter__

    async def scenario() -> None:
        async with playing() as (server, source):

            async def stopped_meanwhile(track: TrackSource) -> TrackSource:
                await enter(track)
                source.stop()
                await asyncio.sleep(0)  # the loop hears of it, and the connection is up before anybody can be cancelled
                return track

            await take(source, 1)
            monkeypatch.setattr(TrackSource, "__aenter__", stopped_meanwhile)
            await server.hang_up()
            async with asyncio.timeout(5):
                await take(source, 1000)
        assert server.seen("POST") == ["/whep/cam"] * 2

    asyncio.run(scenario())


def test_stop_ends_opening_and_leaves_no_session() -> None:
    async def scenario() -> None:
        async with standing_in(StandIn(make_track=lambda: StallingTrack(0))) as server:
            source = WhepSource(f"{server.base}/whep/cam", config=QUICK)
            opening = asyncio.create_task(source.__aenter__())
            await until(lambda: server.connected == 1)
            source.stop()
            with pytest.raises(SourceOpenError, match="was stopped while it was being opened"):
                async with asyncio.timeout(2):
                    await opening
            assert server.seen("DELETE") == ["/session/1"]

    asyncio.run(scenario())


def test_a_source_that_was_stopped_before_is_not_opened() -> None:
    async def scenario() -> None:
        async with standing_in() as server:
            source = WhepSource(f"{server.base}/whep/cam", config=QUICK)
            source.stop()
            with pytest.raises(SourceOpenError, match="was stopped while it was being opened"):
                await source.__aenter__()
            assert server.requests == []

    asyncio.run(scenario())


def test_a_run_that_is_cancelled_while_opening_leaves_no_session() -> None:
    async def scenario() -> None:
        async with standing_in(StandIn(make_track=lambda: StallingTrack(0))) as server:
            source = WhepSource(f"{server.base}/whep/cam", config=QUICK)
            opening = asyncio.create_task(source.__aenter__())
            await until(lambda: server.connected == 1)
            opening.cancel()
            await asyncio.wait({opening}, timeout=2)
            assert opening.cancelled()
            assert server.seen("DELETE") == ["/session/1"]

    asyncio.run(scenario())


def test_it_is_used_once_and_inside_of_async_with() -> None:
    async def scenario() -> None:
        async with playing() as (_, source):
            with pytest.raises(SourceError, match="was already used; make a new source for every run"):
                await source.__aenter__()
        with pytest.raises(SourceError, match="is not open yet"):
            _ = WhepSource("http://127.0.0.1:1/x").info

    asyncio.run(scenario())


def test_the_token_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with playing(StandIn(token=TOKEN)) as (server, source):
            await take(source, 1)
            await server.hang_up()
            while len(server.offers) < 2:
                await take(source, 1)

    with caplog.at_level(logging.DEBUG, "gest_stream"):
        asyncio.run(scenario())
    assert len(caplog.messages) >= 2 and TOKEN not in caplog.text
