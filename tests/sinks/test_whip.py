import asyncio
import gc
import logging
import re
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from aiohttp import web

from gest_stream.config import EffectConfig, EffectKind, ReconnectConfig, RtcConfig
from gest_stream.errors import ConfigError, SinkError
from gest_stream.interfaces import SourceInfo
from gest_stream.sinks.webrtc import PictureTrack
from gest_stream.sinks.whip import WhipSink
from gest_stream.types import Frame, FrameResult
from tests.rtc.peers import until
from tests.rtc.standin import StandIn, standing_in

TOKEN = "not-for-your-eyes"
PLAIN = EffectConfig(labels=False)
QUICK = ReconnectConfig(initial_s=0.05, max_s=0.1, jitter=0.0, give_up_after_s=10.0)
TIME_BASE = Fraction(1, 90_000)
LIVE = SourceInfo("test", True, (96, 64), TIME_BASE)


def result_of(index: int, size: tuple[int, int] = (96, 64)) -> FrameResult:
    """A grey picture whose level tells its index: 20 + 4 * index, at 30 frames a second."""
    image = np.full((size[1], size[0], 3), 20 + 4 * index, np.uint8)
    return FrameResult(Frame(image, 3000 * index, TIME_BASE, 0, index))


def index_of(frame: av.VideoFrame) -> int:
    """The index of a received picture."""
    return round((float(frame.to_ndarray(format="rgb24").mean()) - 20) / 4)


@asynccontextmanager
async def pushing(
    server: StandIn | None = None, info: SourceInfo = LIVE, effect: EffectConfig = PLAIN, **options: Any
) -> AsyncIterator[tuple[StandIn, WhipSink]]:
    """A server and an open sink that pushes to it; closed on leaving, also where it does not open."""
    async with standing_in(server) as server:
        sink = WhipSink(f"{server.base}/whip/cam", effect, server.token, reconnect=QUICK, **options)
        try:
            await sink.open(info, None)
            yield server, sink
        finally:
            await sink.close()


async def write_until_taken(sink: WhipSink, server: StandIn, results: range, size: tuple[int, int] = (96, 64)) -> None:
    """Write one result after the other, each once the one before was received: nothing is dropped on the way."""
    for index in results:
        before = len(server.frames)
        await sink.write(result_of(index, size))
        await until(lambda before=before: len(server.frames) > before)  # type: ignore[misc]


def open_error_at(server: StandIn, **options: Any) -> str:
    """What the sink says when it cannot be opened on `server`; it must let go of its threads."""

    async def scenario() -> None:
        async with pushing(server, **options):
            pass

    with pytest.raises(SinkError) as caught:
        asyncio.run(scenario())
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("sink ")] == []
    return str(caught.value)


def test_the_pictures_arrive_with_their_time() -> None:
    async def scenario() -> None:
        async with pushing() as (server, sink):
            await write_until_taken(sink, server, range(12))
        frames = server.frames
        assert [index_of(frame) for frame in frames] == list(range(12))
        assert [(frame.width, frame.height) for frame in frames] == [(96, 64)] * 12
        first = frames[0].pts or 0
        assert [(frame.pts or 0) - first for frame in frames] == [3000 * index for index in range(12)]

    asyncio.run(scenario())


def test_the_effect_is_drawn() -> None:
    async def scenario() -> None:
        async with pushing(effect=EffectConfig(EffectKind.GREEN)) as (server, sink):
            await write_until_taken(sink, server, range(3))
        red, green, blue = server.frames[-1].to_ndarray(format="rgb24").reshape(-1, 3).mean(axis=0)
        assert green > 150 and red < 80 and blue < 110  # no hand is on it, so all of it is the green screen

    asyncio.run(scenario())


def test_video_alone_is_offered_h264_first_and_the_session_is_deleted_with_the_token() -> None:
    async def scenario() -> None:
        async with pushing(StandIn(token=TOKEN)) as (server, sink):
            await write_until_taken(sink, server, range(1))
            [connection] = server.sessions.values()
            assert connection.remoteDescription.sdp.count("m=") == 1
        assert server.requests == [
            ("POST", "/whip/cam", f"Bearer {TOKEN}"),
            ("DELETE", "/session/1", f"Bearer {TOKEN}"),
        ]
        [offer] = server.offers
        section = offer[offer.index("m=video") :].splitlines()
        assert "a=sendonly" in section
        first_type = section[0].split()[3]
        assert f"a=rtpmap:{first_type} H264/90000" in section

    asyncio.run(scenario())


def without_h264(sdp: str) -> str:
    """An offer as a server reads it that knows no H.264."""
    gone = set(re.findall(r"a=rtpmap:(\d+) H264/", sdp))
    gone |= {number for number, of in re.findall(r"a=fmtp:(\d+) apt=(\d+)", sdp) if of in gone}
    lines = []
    for line in sdp.split("\r\n"):
        about = re.match(r"a=(?:rtpmap|fmtp|rtcp-fb):(\d+) ", line)
        if line.startswith("m=video"):
            line = " ".join(part for part in line.split(" ") if part not in gone)
        if about is None or about[1] not in gone:
            lines.append(line)
    return "\r\n".join(lines)


def test_a_server_that_takes_vp8_alone_gets_that() -> None:
    async def scenario() -> None:
        async with pushing(StandIn(read=without_h264)) as (server, sink):
            await write_until_taken(sink, server, range(3))
        assert [index_of(frame) for frame in server.frames] == [0, 1, 2]

    asyncio.run(scenario())


def test_a_new_size_is_sent_as_it_is() -> None:
    async def scenario() -> None:
        async with pushing() as (server, sink):
            await write_until_taken(sink, server, range(3))
            await write_until_taken(sink, server, range(3, 6), (64, 96))
        assert [(frame.width, frame.height) for frame in server.frames] == [(96, 64)] * 3 + [(64, 96)] * 3
        assert [index_of(frame) for frame in server.frames] == list(range(6))

    asyncio.run(scenario())


def test_a_refusal_is_told_and_leaves_nothing_behind() -> None:
    server = StandIn(always=lambda: web.Response(status=401))
    assert "whip:http://127.0.0.1:" in open_error_at(server)
    assert "the server wants a token (401); pass it with --token" in open_error_at(server)
    assert server.seen("DELETE") == []


def test_a_server_that_takes_no_video_is_told_and_its_session_deleted() -> None:
    server = StandIn(change=lambda sdp: sdp.replace("a=recvonly", "a=inactive"))
    assert "the server takes no video under this address" in open_error_at(server)
    assert server.seen("DELETE") == ["/session/1"]


def test_an_answer_without_a_way_to_the_server_is_told_in_time() -> None:
    server = StandIn(change=lambda sdp: sdp.replace("a=ice-pwd:", "a=ice-pwd:x"))
    error = open_error_at(server, rtc=RtcConfig(connect_timeout_s=0.5))
    assert "no connection for the video came about within 0.5 s" in error
    assert server.seen("DELETE") == ["/session/1"]


def test_a_lost_connection_is_made_anew_while_results_go_on(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with pushing() as (server, sink):
            await write_until_taken(sink, server, range(5))
            server.always = lambda: web.Response(status=503)
            await server.hang_up()
            await until(lambda: not sink.connected)
            for index in range(5, 10):
                since_s = time.monotonic()
                await sink.write(result_of(index))
                assert time.monotonic() - since_s < 1.0
            assert sink.dropped == 5
            await until(lambda: server.seen("POST").count("/whip/cam") >= 3)
            server.always = None
            await until(lambda: sink.connected)
            await write_until_taken(sink, server, range(10, 15))
            assert sink.dropped == 5
        assert [index_of(frame) for frame in server.frames if index_of(frame) >= 10] == list(range(10, 15))
        assert server.seen("DELETE")[0] == "/session/1" and server.seen("DELETE")[-1] == "/session/2"

    with caplog.at_level(logging.INFO, "gest_stream"):
        asyncio.run(scenario())
    told = [record.getMessage().partition("/whip/cam: ")[2] for record in caplog.records]
    assert told[0] == "connected"
    assert told[1] == "lost (the server ended the session, or is gone); reconnecting for up to 10 s"
    assert told[2].startswith("back after")
    assert told[3:] == ["5 results were not sent: there was no connection"]


def test_attempts_that_fail_leave_no_track_to_draw_for() -> None:
    def live_tracks() -> int:
        # not isinstance: it asks objects for their __class__, which torch's deprecated ones answer with a warning
        return sum(type(one) is PictureTrack and one.readyState == "live" for one in gc.get_objects())

    async def scenario() -> None:
        async with pushing() as (server, sink):
            assert live_tracks() == 1
            server.always = lambda: web.Response(status=503)
            await server.hang_up()
            await until(lambda: len(server.seen("POST")) >= 5)
            assert live_tracks() <= 1  # of the attempt that may be going on

    asyncio.run(scenario())


def test_a_server_that_stays_away_ends_the_run_with_the_remedy() -> None:
    brief = ReconnectConfig(initial_s=0.05, max_s=0.1, give_up_after_s=0.3)

    async def scenario() -> None:
        async with standing_in() as server:
            sink = WhipSink(f"{server.base}/whip/cam", PLAIN, reconnect=brief)
            await sink.open(LIVE, None)
            try:
                server.always = lambda: web.Response(status=404)
                await server.hang_up()
                async with asyncio.timeout(5):
                    with pytest.raises(SinkError) as caught:
                        for index in range(10_000):
                            await sink.write(result_of(index % 50))
                            await asyncio.sleep(0.01)
            finally:
                await sink.close()
            assert "and not back after" in str(caught.value)
            assert "the last said: the server takes no stream under this address (404)" in str(caught.value)
            assert "give_up_after_s" in str(caught.value)

    asyncio.run(scenario())


def test_a_server_that_falls_silent_is_given_up_in_time_and_called_again() -> None:
    async def scenario() -> None:
        async with pushing(rtc=RtcConfig(dead_after_s=2.0)) as (server, sink):
            await write_until_taken(sink, server, range(2))
            server.vanish()
            since_s = time.monotonic()
            while len(server.offers) < 2:
                await sink.write(result_of(5))
                await asyncio.sleep(0.02)
                assert time.monotonic() - since_s < 6
            await until(lambda: sink.connected)

    asyncio.run(scenario())


def test_results_of_a_file_are_sent_at_the_speed_of_their_time() -> None:
    async def scenario() -> None:
        file = SourceInfo("clip.mp4", False, (96, 64), TIME_BASE)
        async with pushing(info=file) as (server, sink):
            since_s = time.monotonic()
            for index in range(10):
                await sink.write(result_of(index))
            took_s = time.monotonic() - since_s
            assert 0.29 < took_s < 1.5  # nine intervals of a thirtieth of a second
            await until(lambda: len(server.frames) >= 8)

    asyncio.run(scenario())


def test_what_nobody_takes_is_replaced_by_what_is_newer() -> None:
    async def scenario() -> None:
        async with pushing() as (server, sink):
            await write_until_taken(sink, server, range(1))
            for index in range(1, 51):
                await sink.write(result_of(index))  # faster than they can be encoded
            await until(lambda: index_of(server.frames[-1]) == 50)
            assert len(server.frames) < 51

    asyncio.run(scenario())


def test_transparency_is_refused_because_webrtc_has_none() -> None:
    with pytest.raises(ConfigError, match="'transparent' cannot be sent over WebRTC"):
        WhipSink("https://example.org/whip/x", EffectConfig(EffectKind.TRANSPARENT))


def test_it_must_be_open_and_is_opened_once() -> None:
    async def scenario() -> None:
        async with pushing() as (_, sink):
            with pytest.raises(SinkError, match="already open"):
                await sink.open(LIVE, None)
        with pytest.raises(SinkError, match="not open"):
            await WhipSink("http://127.0.0.1:1/x", PLAIN).write(result_of(0))

    asyncio.run(scenario())


def test_the_token_is_in_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        async with pushing(StandIn(token=TOKEN)) as (server, sink):
            await server.hang_up()
            await until(lambda: len(server.offers) == 2 and sink.connected)

    with caplog.at_level(logging.DEBUG, "gest_stream"):
        asyncio.run(scenario())
    assert len(caplog.messages) >= 3 and TOKEN not in caplog.text
