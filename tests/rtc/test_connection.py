from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, TypeVar

import aioice.ice
import av
import pytest
from aiortc import MediaStreamTrack, RTCIceCandidate, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.rtcicetransport import RTCIceGatherer
from hypothesis import given, settings
from hypothesis import strategies as st

from gest_stream.config import RtcConfig
from gest_stream.config.rtc import IceServerConfig
from gest_stream.errors import SignallingError
from gest_stream.rtc.candidates import TrickledCandidates, parse_fragment
from gest_stream.rtc.connection import RtcConnection, accept_answer, answer_offer, make_connection
from gest_stream.rtc.offer import OfferPurpose, check_offer
from tests.rtc.peers import (
    BarTrack,
    bar_number,
    client_connection,
    connected_pair,
    local_offer,
    make_offer,
    until,
)
from tests.rtc.test_offer import _EDIT, edited, recorded

_T = TypeVar("_T")
_CONFIG = RtcConfig()


def _run(main: Coroutine[Any, Any, _T]) -> _T:
    """Run; what fails out of sight, in a task that nobody waits for, fails the test."""
    failures: list[dict[str, Any]] = []

    async def watched() -> _T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: failures.append(context))
        try:
            return await main
        finally:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            if others:
                await asyncio.wait(others, timeout=5)
            assert not asyncio.all_tasks() - {asyncio.current_task()}, "tasks are left"

    result = asyncio.run(watched())
    assert not failures, failures
    return result


async def _answered(offer: str, config: RtcConfig = _CONFIG) -> str:
    connection = make_connection(config)
    try:
        return await answer_offer(connection, offer, config)
    finally:
        await connection.close()


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_a_picture_goes_to_the_server_and_back(codec: str) -> None:
    capabilities = [c for c in RTCRtpSender.getCapabilities("video").codecs if c.name == codec]
    received: list[MediaStreamTrack] = []

    def echo(connection: RTCPeerConnection) -> None:
        transceiver = connection.getTransceivers()[0]
        transceiver.setCodecPreferences(capabilities)
        received.append(transceiver.receiver.track)
        connection.addTrack(BarTrack())

    async def run() -> tuple[list[int], list[int]]:
        async with connected_pair(OfferPurpose.LOOP, before_answer=echo) as (client, server):
            assert f" {codec}/90000" in server.localDescription.sdp
            back = client.getReceivers()[0].track
            ends: list[list[int]] = []
            for track in (received[0], back):
                frames = [await track.recv() for _ in range(8)]
                ends.append([bar_number(frame) for frame in frames if isinstance(frame, av.VideoFrame)])
            return ends[0], ends[1]

    for numbers in _run(run()):
        assert len(numbers) == 8 and numbers == sorted(numbers)


def test_frames_come_in_order_and_none_is_missing() -> None:
    received: list[MediaStreamTrack] = []

    async def run() -> list[int]:
        take = lambda connection: received.append(connection.getReceivers()[0].track)  # noqa: E731
        async with connected_pair(OfferPurpose.PUBLISH, before_answer=take):
            frames = [await received[0].recv() for _ in range(10)]
            return [bar_number(frame) for frame in frames if isinstance(frame, av.VideoFrame)]

    numbers = _run(run())
    assert numbers == list(range(numbers[0], numbers[0] + 10))


@pytest.mark.parametrize(
    "name", ["chrome_loop", "chrome_publish", "chrome_view", "ffmpeg_publish", "gstreamer_publish"]
)
def test_what_real_clients_offer_is_answered(name: str) -> None:
    answer = _run(_answered(recorded(name)))
    video = answer[answer.index("m=video") :]
    hinted = [line for line in video.splitlines() if f"x-google-start-bitrate={_CONFIG.start_bitrate_kbps};" in line]
    assert len(hinted) == video.count(" VP8/90000") + video.count(" H264/90000") > 0
    assert "a=candidate:" in answer and "a=setup:active" in answer


def test_names_of_mdns_delay_no_answer_and_are_resolved_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    async def resolve(hostname: str) -> str | None:
        asked.append(hostname)
        await asyncio.sleep(60)
        return None

    async def resolver(subscriber: object) -> SimpleNamespace:
        return SimpleNamespace(resolve=resolve)  # aioice's own wants mDNS's port, which a browser may hold

    monkeypatch.setattr(aioice.ice, "get_or_create_mdns_protocol", resolver)

    async def run() -> float:
        connection = make_connection(_CONFIG)
        started = time.monotonic()
        await answer_offer(connection, recorded("chrome_loop"), _CONFIG)
        took = time.monotonic() - started
        await until(lambda: len(asked) == 2)
        await connection.close()
        return took

    assert _run(run()) < 2


def test_an_offer_that_aiortc_does_not_like_is_refused_and_the_connection_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def fail(self: RTCPeerConnection) -> RTCSessionDescription:
        raise KeyError("who knows")

    monkeypatch.setattr(RTCPeerConnection, "createAnswer", fail)

    async def run() -> tuple[int, str, str]:
        connection = make_connection(_CONFIG)
        with pytest.raises(SignallingError, match="cannot be answered: KeyError.*who knows") as caught:
            await answer_offer(connection, recorded("chrome_loop"), _CONFIG)
        return caught.value.status, connection.connectionState, connection.signalingState

    assert _run(run()) == (422, "closed", "closed")


def test_what_the_caller_raises_goes_through_and_the_connection_is_closed() -> None:
    async def run() -> str:
        connection = make_connection(_CONFIG)

        def refuse(_: RTCPeerConnection) -> None:
            raise SignallingError("no such stream", 404)

        with pytest.raises(SignallingError, match="no such stream") as caught:
            await answer_offer(connection, await make_offer(), _CONFIG, refuse)
        assert caught.value.status == 404
        return connection.connectionState

    assert _run(run()) == "closed"


def test_gathering_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(self: RTCIceGatherer) -> None:
        await asyncio.sleep(60)

    async def run() -> tuple[int, str]:
        offer = await make_offer()
        monkeypatch.setattr(RTCIceGatherer, "gather", hang)
        config = RtcConfig(connect_timeout_s=0.2)
        connection = make_connection(config)
        with pytest.raises(SignallingError, match=r"within 0\.2 s.*ICE servers") as caught:
            await answer_offer(connection, offer, config)
        return caught.value.status, connection.connectionState

    assert _run(run()) == (503, "closed")


@settings(max_examples=60, deadline=None)
@given(st.lists(_EDIT, min_size=1, max_size=4), st.sampled_from(OfferPurpose))
def test_an_offer_that_was_taken_is_answered_or_refused_and_leaves_nothing(
    edits: list[tuple[str, int, int, str]], purpose: OfferPurpose
) -> None:
    offer = edited(edits)
    try:
        check_offer(offer, purpose, 65_536)
        answer = _run(_answered(offer))
    except SignallingError as exc:
        assert exc.status in (400, 413, 422)
    else:
        assert answer.startswith("v=0\r\n")


def test_candidates_may_be_trickled_after_the_answer() -> None:
    async def run() -> str:
        client, server = client_connection(OfferPurpose.VIEW), make_connection(_CONFIG)
        try:
            offer = await local_offer(client)
            lines = offer.splitlines()
            held = [line for line in lines if line.startswith(("a=candidate:", "a=end-of-candidates"))]
            bare = "\r\n".join(line for line in lines if line not in held) + "\r\n"
            await accept_answer(client, await answer_offer(server, bare, _CONFIG))
            ufrag = next(line for line in lines if line.startswith("a=ice-ufrag:"))
            fragment = "\r\n".join([ufrag, "m=video 9 x 0", f"a=mid:{server.mids[0]}", *dict.fromkeys(held)])
            trickled = parse_fragment(fragment, server.mids, 65_536)
            assert trickled.candidates and trickled.complete
            await server.add_candidates(trickled)
            await until(lambda: server.connectionState == "connected")
            return server.connectionState
        finally:
            await client.close()
            await server.close()

    assert _run(run()) == "connected"


async def _with_offer() -> RtcConnection:
    connection = make_connection(_CONFIG)
    await answer_offer(connection, recorded("chrome_loop"), _CONFIG)
    return connection


def _candidates(count: int, host: str = "192.0.2.{}") -> TrickledCandidates:
    made = (
        RTCIceCandidate(1, str(i), host.format(i), 1000 + i, 1, "udp", "host", sdpMid="0") for i in range(1, count + 1)
    )
    return TrickledCandidates(tuple(made), False)


def test_candidates_of_one_session_are_bounded() -> None:
    async def run() -> int:
        connection = await _with_offer()
        try:
            for _ in range(4):
                await connection.add_candidates(_candidates(60))
            with pytest.raises(SignallingError, match="more than 256 candidates") as caught:
                await connection.add_candidates(_candidates(60))
            return caught.value.status
        finally:
            await connection.close()

    assert _run(run()) == 422


def test_many_names_that_nobody_knows_hold_nothing_up() -> None:
    async def run() -> float:
        connection = await _with_offer()
        started = time.monotonic()
        await connection.add_candidates(_candidates(60, "name-{}.local"))
        await connection.close()
        return time.monotonic() - started

    assert _run(run()) < 2


def test_an_ice_restart_is_refused() -> None:
    async def run() -> int:
        connection = await _with_offer()
        try:
            with pytest.raises(SignallingError, match="ICE restart") as caught:
                await connection.add_candidates(TrickledCandidates((), True, "another"))
            await connection.add_candidates(TrickledCandidates((), True, "NmkG"))
            return caught.value.status
        finally:
            await connection.close()

    assert _run(run()) == 422


@pytest.mark.parametrize("answer", ["", "v=0\r\n", recorded("chrome_view")])
def test_an_answer_that_is_none_is_refused_and_the_connection_closed(answer: str) -> None:
    async def run() -> tuple[int, str]:
        connection = client_connection(OfferPurpose.PUBLISH)
        await local_offer(connection)
        with pytest.raises(SignallingError, match="the answer cannot be used") as caught:
            await accept_answer(connection, answer)
        return caught.value.status, connection.connectionState

    assert _run(run()) == (422, "closed")


def test_no_server_is_asked_unless_one_is_configured() -> None:
    server = IceServerConfig("turn:turn.example.org:3478", "user", "secret")

    async def run() -> list[list[str]]:
        found = []
        for config in (RtcConfig(), RtcConfig(ice_servers=(server,))):
            connection = make_connection(config)
            transceiver = connection.addTransceiver("video")
            ice = transceiver.receiver.transport.transport._connection
            found.append([str(ice.stun_server), str(ice.turn_server), str(ice.turn_username), str(ice.turn_password)])
            await connection.close()
        return found

    assert _run(run()) == [["None"] * 4, ["None", "('turn.example.org', 3478)", "user", "secret"]]
