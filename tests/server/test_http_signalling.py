"""Offers over HTTP: every status that WHIP, WHEP and the loop can answer."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientSession

from gest_stream.config import IceServerConfig, LimitsConfig, PipelineConfig, RtcConfig, ServerConfig
from gest_stream.errors import DeviceError, SignallingError
from gest_stream.server.session import SessionKind
from tests.server.fake_sessions import (
    ANSWER,
    FRAGMENT,
    SDP,
    TOKEN,
    FakeSessions,
    address,
    ask,
    offer,
    problem,
    settings,
    until,
)

BEARER = {"Authorization": f"Bearer {TOKEN}"}
TURN = IceServerConfig("turn:turn.example.net:3478?transport=udp", "user", 'pass"wo\\rd')
STUN = IceServerConfig("stun:stun.example.net:3478")


@pytest.mark.parametrize(
    ("path", "direction", "kind", "stream"),
    [
        ("/loop", "sendrecv", SessionKind.LOOP, ""),
        ("/whip/desk-cam_1", "sendonly", SessionKind.PUBLISH, "desk-cam_1"),
    ],
)
def test_an_offer_is_answered_with_all_that_a_whip_client_needs(
    path: str, direction: str, kind: SessionKind, stream: str
) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.post(path, data=offer(direction), headers=SDP) as response:
            assert response.status == 201
            assert await response.text() == ANSWER
            assert response.content_type == "application/sdp"
            (session,) = sessions.begun
            assert (session.kind, session.stream, session.client) == (kind, stream, "127.0.0.1")
            assert response.headers["Location"] == str(response.url.with_path(f"/session/{session.id}"))
            assert response.headers["ETag"] == session.etag
            assert response.headers["Accept-Patch"] == "application/trickle-ice-sdpfrag"
            assert "Link" not in response.headers

    ask(check)


def test_a_viewer_watches_what_somebody_publishes() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.post("/whip/desk", data=offer("sendonly"), headers=SDP) as response:
            assert response.status == 201
        async with client.post("/whep/desk", data=offer("recvonly"), headers=SDP) as response:
            assert response.status == 201
        assert [one.kind for one in sessions.begun] == [SessionKind.PUBLISH, SessionKind.VIEW]

    ask(check)


def test_location_is_of_the_scheme_that_a_proxy_was_asked_with() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        proxied = SDP | {"Host": "hands.example.org", "X-Forwarded-Proto": "https"}
        async with client.post("/loop", data=offer(), headers=proxied) as response:
            assert response.headers["Location"] == f"https://hands.example.org/session/{sessions.begun[0].id}"

    ask(check, settings(public_names=("hands.example.org",)))


def test_every_ice_server_is_a_link_of_its_own_with_its_credential_quoted() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.post("/loop", data=offer(), headers=SDP) as response:
            assert response.headers.getall("Link") == [
                '<stun:stun.example.net:3478>; rel="ice-server"',
                '<turn:turn.example.net:3478?transport=udp>; rel="ice-server"; username="user"; '
                'credential="pass\\"wo\\\\rd"; credential-type="password"',
            ]

    ask(check, PipelineConfig(server=ServerConfig(port=0), rtc=RtcConfig(ice_servers=(STUN, TURN))))


@pytest.mark.parametrize("path", ["/loop", "/whip/desk", "/whep/desk"])
def test_options_tells_what_an_endpoint_takes(path: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.options(path) as response:
            assert response.status == 200
            assert response.headers["Accept-Post"] == "application/sdp"
            assert response.headers["Allow"] == "OPTIONS, POST"

    ask(check, settings(TOKEN))


def test_options_shows_ice_servers_to_who_has_the_token_and_asks_for_no_preflight() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        preflight = {"Access-Control-Request-Method": "POST"}
        for headers, count in ((BEARER, 1), ({}, 0), (BEARER | preflight, 0)):
            async with client.options("/loop", headers=headers) as response:
                assert response.status == 200
                assert len(response.headers.getall("Link", [])) == count

    ask(check, PipelineConfig(server=ServerConfig(port=0, token=TOKEN), rtc=RtcConfig(ice_servers=(TURN,))))


@pytest.mark.parametrize("path", ["/loop", "/whip/desk", "/whep/desk"])
@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
def test_an_endpoint_takes_offers_only(path: str, method: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.request(method, path) as response:
            assert response.status == 405
            assert response.headers["Allow"] == "OPTIONS, POST"

    ask(check)


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT"])
def test_a_session_is_changed_or_ended_only(method: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.request(method, "/session/abc") as response:
            assert response.status == 405
            assert response.headers["Allow"] == "DELETE, OPTIONS, PATCH"

    ask(check)


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "text/plain; charset=utf-8"},
        {"Content-Type": "/"},
        FRAGMENT,
        SDP | {"Content-Encoding": "gzip"},
    ],
)
def test_another_type_than_sdp_is_415(headers: dict[str, str]) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.post("/loop", data=offer().encode(), headers=headers) as response:
            await problem(response, 415)
        assert not sessions.begun

    ask(check)


@pytest.mark.parametrize("chunked", [False, True])
def test_an_offer_beyond_the_limit_is_413_and_ends_the_connection(chunked: bool) -> None:
    async def body() -> Any:
        for _ in range(30):
            yield b"a" * 100

    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.post("/loop", data=body() if chunked else b"a" * 3000, headers=SDP) as response:
            assert "2048 bytes" in await problem(response, 413)
            assert response.headers["Connection"] == "close"
        assert not sessions.begun

    ask(check, settings(limits=LimitsConfig(max_sdp_bytes=2048)))


def test_an_offer_of_just_the_limit_is_read() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        padded = offer() + "a=x:" + "y" * (2048 - len(offer()) - 6) + "\r\n"
        async with client.post("/loop", data=padded, headers=SDP) as response:
            assert response.status == 201

    ask(check, settings(limits=LimitsConfig(max_sdp_bytes=2048)))


@pytest.mark.parametrize("body", [b"", b"v=0\r\n\xff\xfe", b"hello", b"\x00" * 100])
def test_what_is_no_session_description_is_refused(body: bytes) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.post("/loop", data=body, headers=SDP) as response:
            assert await problem(response, 400)

    ask(check)


def test_the_status_of_a_refused_offer_is_the_one_that_the_checks_give() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.post("/loop", data=offer("recvonly"), headers=SDP) as response:
            assert "sendrecv" in await problem(response, 422)
        sessions.failure = SignallingError("I am a teapot", 418)
        async with client.post("/loop", data=offer(), headers=SDP) as response:
            assert await problem(response, 418) == "I am a teapot"

    ask(check)


def test_a_name_that_is_none_is_404() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        for name in ("a" * 65, "a.b", "a%20b", "%C3%A9", "..%2fx", "a%0d%0ab"):
            for path in ("/whip/", "/whep/"):
                async with client.post(f"{path}{name}", data=offer(), headers=SDP) as response:
                    assert "letters" in await problem(response, 404)

    ask(check)


def test_a_stream_that_nobody_publishes_is_404_and_worth_another_try() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.post("/whep/desk", data=offer("recvonly"), headers=SDP) as response:
            assert "nobody publishes" in await problem(response, 404)
            assert response.headers["Retry-After"] == "5"

    ask(check)


def test_a_stream_that_somebody_publishes_is_409() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.post("/whip/desk", data=offer("sendonly"), headers=SDP) as response:
            assert response.status == 201
        async with client.post("/whip/desk", data=offer("sendonly"), headers=SDP) as response:
            assert "already" in await problem(response, 409)

    ask(check)


def test_a_full_server_is_503_and_says_when_to_try_again() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.post("/loop", data=offer(), headers=SDP) as response:
            assert response.status == 201
        async with client.post("/loop", data=offer(), headers=SDP) as response:
            await problem(response, 503)
            assert response.headers["Retry-After"] == "5"

    ask(check, sessions=FakeSessions(places=1))


def test_a_greedy_client_is_429_and_told_when_to_try_again() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.post("/loop", data=offer(), headers=SDP) as response:
            assert response.status == 201
        async with client.post("/loop", data=offer(), headers=SDP) as response:
            await problem(response, 429)
            assert response.headers["Retry-After"] == "7"

    ask(check, sessions=FakeSessions(per_client=1))


def test_a_model_that_cannot_run_is_503_with_the_reason() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.post("/loop", data=offer(), headers=SDP) as response:
            assert await problem(response, 503) == "cuda: out of memory"

    ask(check, sessions=FakeSessions(failure=DeviceError("cuda: out of memory")))


def test_a_bug_is_500_is_logged_and_tells_nobody_more(caplog: pytest.LogCaptureFixture) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.post("/loop", data=offer(), headers=SDP) as response:
            assert "ZeroDivision" not in await problem(response, 500)
        async with client.get("/healthz") as response:
            assert response.status == 200

    ask(check, sessions=FakeSessions(failure=ZeroDivisionError("a bug")))
    (record,) = [one for one in caplog.records if one.levelname == "ERROR"]
    assert record.getMessage() == "POST /loop failed"
    assert record.exc_info is not None


def test_a_session_whose_client_left_before_the_answer_is_ended() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        assert sessions.gate is not None
        host, port = address(client)
        _, writer = await asyncio.open_connection(host, port)
        body = offer().encode()
        head = f"POST /loop HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/sdp\r\n"
        writer.write(head.encode() + f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await until(lambda: sessions.waiting)
        writer.transport.abort()
        async with client.get("/healthz") as response:  # by now the server has seen the end of the other connection
            assert response.status == 200
        sessions.gate.set()
        await until(lambda: sessions.begun and sessions.begun[0].ended)
        assert "left" in sessions.begun[0].ended

    ask(check, sessions=FakeSessions(gate=asyncio.Event()))
