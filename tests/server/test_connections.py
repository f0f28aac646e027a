"""Clients that are slow, many, or gone must not keep others from being served."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientSession, TCPConnector

from gest_stream.config import LimitsConfig
from tests.server.fake_sessions import SDP, TOKEN, FakeSessions, ask, offer, settings
from tests.server.raw_client import RawClient, status_of

TIMEOUT_S = 0.3
SLACK_S = 5.0
"""What a machine that is busy may add."""

POST = "POST /loop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n"
PATIENT = settings(limits=LimitsConfig(request_timeout_s=TIMEOUT_S))


async def be_served(client: ClientSession, seconds: float) -> int:
    """Ask again and again; returns how often."""
    loop = asyncio.get_running_loop()
    until_s, count = loop.time() + seconds, 0
    while loop.time() < until_s:
        async with asyncio.timeout(5):
            async with client.get("/healthz") as response:
                assert response.status == 200
        count += 1
        await asyncio.sleep(0.02)
    return count


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: aaaa", 408),
        (POST + "Content-Length: 5000\r\n\r\nv=0", 408),
        (POST + "Transfer-Encoding: chunked\r\n\r\nffff\r\nv=0", 408),
        ("GET /healthz?a", 408),
    ],
)
def test_forty_clients_that_send_byte_by_byte_are_cut_off_while_others_are_served(text: str, status: int) -> None:
    answers: list[bytes] = []

    async def crawl(client: ClientSession) -> None:
        async with RawClient(client) as raw:
            await raw.send(text[:-1])
            sending = asyncio.create_task(raw.dribble(text[-1], 0.05))
            answers.append(await raw.rest())
            assert TIMEOUT_S * 0.9 < raw.age_s < TIMEOUT_S + SLACK_S
            sending.cancel()

    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        crawling = [asyncio.create_task(crawl(client)) for _ in range(40)]
        assert await be_served(client, 0.7) > 10
        await asyncio.gather(*crawling)
        assert not sessions.begun

    ask(check, PATIENT)
    assert [status_of(answer) for answer in answers] == [status] * 40


def test_a_connection_that_asks_for_nothing_is_closed_without_a_word() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with RawClient(client) as raw:
            assert await raw.rest() == b""
            assert TIMEOUT_S * 0.9 < raw.age_s < TIMEOUT_S + SLACK_S

    ask(check, PATIENT)


def test_a_connection_is_kept_for_the_next_request_and_for_no_longer_than_a_request_may_take() -> None:
    ping = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"

    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with RawClient(client) as raw:
            for _ in range(3):
                await asyncio.sleep(TIMEOUT_S * 0.7)  # together longer than one request may take
                await raw.send(ping[:10])
                await asyncio.sleep(TIMEOUT_S * 0.7)  # the time of a request counts from its first byte
                await raw.send(ping[10:])
                head = await raw.head()
                assert status_of(head) == 200
                await raw._reader.readexactly(int(head.lower().split(b"content-length: ")[1].split(b"\r")[0]))
            answered = raw.age_s
            assert await raw.rest() == b""
            assert TIMEOUT_S * 0.9 < raw.age_s - answered < TIMEOUT_S + SLACK_S

    ask(check, PATIENT)


def test_a_request_that_takes_long_to_be_handled_is_not_cut_off() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        assert sessions.gate is not None
        loop = asyncio.get_running_loop()
        loop.call_later(TIMEOUT_S * 2, sessions.gate.set)
        async with client.post("/loop", data=offer(), headers=SDP) as response:
            assert response.status == 201

    ask(check, PATIENT, FakeSessions(gate=asyncio.Event()))


def test_a_client_that_does_not_read_its_answers_is_cut_off() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with RawClient(client) as raw:
            raw._writer.transport.pause_reading()  # type: ignore[attr-defined]
            # more than the buffers between the two hold, so that it ends only when the server hangs up
            await asyncio.wait_for(raw.send("GET /page/index.html HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500_000), 20)
            assert raw._writer.transport.is_closing()
            assert raw.age_s > TIMEOUT_S * 0.9

    ask(check, PATIENT)


def test_an_unwanted_body_that_never_ends_is_not_read_for_long() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with RawClient(client) as raw:
            await raw.send(POST + "Content-Length: 1000000000\r\n\r\n")
            assert status_of(await raw.head()) == 401
            sending = asyncio.create_task(raw.dribble("v", 0.02))
            await raw.rest()
            assert raw.age_s < TIMEOUT_S * 2 + SLACK_S
            sending.cancel()

    ask(check, settings(TOKEN, limits=LimitsConfig(request_timeout_s=TIMEOUT_S)))


def test_an_unwanted_body_is_read_no_longer_than_its_sender_needs_to_see_the_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gest_stream.server.serve._LINGER_S", 0.2)

    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with RawClient(client) as raw:
            await raw.send(POST + "Content-Length: 100000\r\n\r\n")  # which is too much: it is refused unseen
            assert status_of(await raw.head()) == 413
            await raw.rest()
            assert raw.age_s < 0.2 + SLACK_S

    ask(check)


def test_connections_beyond_the_limit_are_closed_at_once_and_let_in_when_others_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        held = [RawClient(client) for _ in range(5)]
        for raw in held:
            await raw.__aenter__()
        for _ in range(3):
            async with RawClient(client) as refused:
                await refused.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert await refused.rest() == b""
        for raw in held:
            await raw.send("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert status_of(await raw.rest()) == 200
        async with client.get("/healthz") as response:
            assert response.status == 200
        for raw in held:
            await raw.__aexit__(None, None, None)

    ask(check, settings(limits=LimitsConfig(max_connections=5)))
    assert [one.getMessage() for one in caplog.records].count(
        "all 5 HTTP connections are taken; further ones are closed"
    ) == 1


def test_a_thousand_connections_leave_nothing_behind() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        for _ in range(1000):
            async with RawClient(client) as raw:
                await raw.send("GET /healthz HT")
        async with ClientSession(client._base_url, connector=TCPConnector(force_close=True)) as other:
            for _ in range(10):
                async with other.get("/healthz") as response:
                    assert response.status == 200

    ask(check, settings(limits=LimitsConfig(max_connections=3)))
