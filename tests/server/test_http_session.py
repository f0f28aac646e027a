"""What becomes of a session over HTTP: trickled candidates, its background, its end."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession

from gest_stream.config import LimitsConfig
from gest_stream.server.session import SessionKind
from tests.server.fake_sessions import (
    CANDIDATES,
    FRAGMENT,
    SDP,
    FakeSession,
    FakeSessions,
    ask,
    offer,
    problem,
    settings,
)

PNG = {"Content-Type": "image/png"}


async def begun(client: ClientSession, sessions: FakeSessions, kind: SessionKind = SessionKind.LOOP) -> FakeSession:
    """A session that was begun over HTTP."""
    wanted = {
        SessionKind.LOOP: ("/loop", "sendrecv"),
        SessionKind.PUBLISH: ("/whip/desk", "sendonly"),
        SessionKind.VIEW: ("/whep/desk", "recvonly"),
    }
    path, direction = wanted[kind]
    async with client.post(path, data=offer(direction), headers=SDP) as response:
        assert response.status == 201
    return sessions.begun[-1]


def test_candidates_that_come_later_are_taken() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        session = await begun(client, sessions)
        headers = FRAGMENT | {"If-Match": session.etag}
        async with client.patch(f"/session/{session.id}", data=CANDIDATES, headers=headers) as response:
            assert response.status == 204
            assert await response.read() == b""
            assert "ETag" not in response.headers
        assert session.fragments == [CANDIDATES]

    ask(check)


@pytest.mark.parametrize(
    ("if_match", "status"),
    [
        (None, 428),
        ('"another"', 412),
        ("another", 412),
        ("", 412),
        ("W/{etag}", 412),
        ("{bare}", 412),
        ("*", 422),
        (" * ", 422),
        ("{etag}", 204),
        ('"another", {etag}', 204),
    ],
)
def test_a_fragment_is_for_one_ice_session(if_match: str | None, status: int) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        session = await begun(client, sessions, SessionKind.PUBLISH)
        headers = dict(FRAGMENT)
        if if_match is not None:
            headers["If-Match"] = if_match.format(etag=session.etag, bare=session.etag.strip('"'))
        async with client.patch(f"/session/{session.id}", data=CANDIDATES, headers=headers) as response:
            assert response.status == status
        assert len(session.fragments) == (status == 204)
        assert not session.ended

    ask(check)


def test_a_viewer_need_not_name_the_ice_session_but_may_not_name_another() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        await begun(client, sessions, SessionKind.PUBLISH)
        session = await begun(client, sessions, SessionKind.VIEW)
        async with client.patch(f"/session/{session.id}", data=CANDIDATES, headers=FRAGMENT) as response:
            assert response.status == 204
        headers = FRAGMENT | {"If-Match": '"another"'}
        async with client.patch(f"/session/{session.id}", data=CANDIDATES, headers=headers) as response:
            await problem(response, 412)

    ask(check)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"a=mid:0\r\n", {"Content-Type": "application/sdp"}, 415),
        (b"a=mid:0\r\n", {"Content-Type": "application/octet-stream"}, 415),
        (b"a" * 5000, FRAGMENT, 413),
        (b"\xff\xff", FRAGMENT, 400),
        (b"no fragment", FRAGMENT, 400),
    ],
)
def test_a_fragment_that_cannot_be_used_says_why(body: bytes, headers: dict[str, str], status: int) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        session = await begun(client, sessions)
        sent = headers | {"If-Match": session.etag}
        async with client.patch(f"/session/{session.id}", data=body, headers=sent) as response:
            assert await problem(response, status)
        assert not session.fragments and not session.ended

    ask(check, settings(limits=LimitsConfig(max_sdp_bytes=2048)))


@pytest.mark.parametrize(
    ("method", "path"), [("PATCH", "/session/nobody"), ("DELETE", "/session/nobody"), ("PUT", "/session/x/background")]
)
def test_a_session_that_is_not_there_is_404(method: str, path: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.request(method, path) as response:
            assert "no such session" in await problem(response, 404)

    ask(check)


def test_delete_ends_a_session_whatever_entity_tag_it_names() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        session = await begun(client, sessions)
        async with client.delete(f"/session/{session.id}", headers={"If-Match": '"another"'}) as response:
            assert response.status == 200
        assert session.ended == "the client ended it"
        async with client.delete(f"/session/{session.id}") as response:
            await problem(response, 404)

    ask(check)


@pytest.mark.parametrize(
    ("path", "takes"), [("/session/x", "DELETE, OPTIONS, PATCH"), ("/session/x/background", "OPTIONS, PUT")]
)
def test_options_of_a_session_tells_what_it_takes_and_not_whether_it_is_there(path: str, takes: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.options(path) as response:
            assert (response.status, response.headers["Allow"]) == (200, takes)

    ask(check)


@pytest.mark.parametrize(
    ("body", "media_type"), [(b"\x89PNG and more", "image/png"), (b"\xff\xd8 and more", "image/jpeg")]
)
def test_a_background_gets_to_its_session(body: bytes, media_type: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        session = await begun(client, sessions)
        url = f"/session/{session.id}/background"
        async with client.put(url, data=body, headers={"Content-Type": media_type}) as response:
            assert response.status == 204
        assert session.backgrounds == [body]

    ask(check)


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\x89PNG", {"Content-Type": "image/webp"}, 415),
        (b"GIF89a", PNG, 415),
        (b"\x89PNG" + bytes(2000), PNG, 413),
        (b"\x89PNG", PNG | {"Content-Encoding": "deflate"}, 415),
    ],
)
def test_a_background_that_cannot_be_used_says_why(body: bytes, headers: dict[str, str], status: int) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        session = await begun(client, sessions)
        async with client.put(f"/session/{session.id}/background", data=body, headers=headers) as response:
            await problem(response, status)
        assert not session.backgrounds

    ask(check, settings(limits=LimitsConfig(max_background_bytes=1024)))


def test_a_body_is_asked_for_only_when_it_will_be_read() -> None:
    async def body(asked: list[bool]) -> Any:
        asked.append(True)
        yield b"\x89PNG"

    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        session = await begun(client, sessions)
        url, asked = f"/session/{session.id}/background", list[bool]()
        async with client.put(
            url, data=body(asked), headers={"Content-Type": "text/plain"}, expect100=True
        ) as response:
            await problem(response, 415)
        assert not asked
        async with client.put(url, data=body(asked), headers=PNG, expect100=True) as response:
            assert response.status == 204
        assert asked

    ask(check)
