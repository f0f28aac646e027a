"""What can only be read: the page, settings, health, metrics and the description."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from aiohttp import ClientSession

from gest_stream.config import IceServerConfig, PipelineConfig, RtcConfig, ServerConfig
from gest_stream.errors import ConfigError
from gest_stream.server.app import make_app
from gest_stream.server.metrics import ServerMetrics
from gest_stream.server.page_files import PAGE_FOLDER
from tests.server.fake_sessions import SDP, TOKEN, FakeSessions, ask, offer, problem, settings

BEARER = {"Authorization": f"Bearer {TOKEN}"}
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


def test_the_page_may_load_nothing_but_its_own_files() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.get("/") as response:
            assert response.status == 200
            assert response.headers["Content-Type"] == "text/html; charset=utf-8"
            assert await response.read() == (PAGE_FOLDER / "index.html").read_bytes()
            policy = dict(part.strip().split(" ", 1) for part in response.headers["Content-Security-Policy"].split(";"))
            assert policy["default-src"] == "'none'"
            assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
            assert policy["frame-ancestors"] == "'none'"
            assert "unsafe" not in response.headers["Content-Security-Policy"]
            assert "camera=(self)" in response.headers["Permissions-Policy"]
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert response.headers["Cache-Control"] == "no-cache"
            assert response.headers["Referrer-Policy"] == "same-origin"

    ask(check, settings(TOKEN))


def test_every_file_of_the_page_is_served_with_its_type_and_once_only() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        names = [path.name for path in PAGE_FOLDER.iterdir() if path.is_file()]
        assert "index.html" in names
        for name in names:
            async with client.get(f"/page/{name}") as response:
                assert response.status == 200
                assert response.content_type == TYPES[Path(name).suffix]
                assert await response.read() == (PAGE_FOLDER / name).read_bytes()
                etag = response.headers["ETag"]
            async with client.get(f"/page/{name}", headers={"If-None-Match": etag}) as response:
                assert (response.status, response.headers["ETag"]) == (304, etag)
            async with client.get(f"/page/{name}", headers={"If-None-Match": '"of-yesterday"'}) as response:
                assert response.status == 200

    ask(check, settings(TOKEN))


@pytest.mark.parametrize(
    "path",
    ["/page/", "/page/none.js", "/page/..%2fapp.py", "/page/%2e%2e/app.py", "/page/.", "/nothing", "/page/app.py"],
)
def test_there_is_nothing_beside_the_page(path: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.get(path) as response:
            await problem(response, 404)

    ask(check)


def test_the_page_is_told_the_ice_servers_and_what_it_may_send() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.get("/config.json", headers=BEARER) as response:
            assert response.status == 200
            assert await response.json() == {
                "v": 1,
                "ice_servers": [
                    {"urls": "stun:stun.example.net"},
                    {"urls": "turn:turn.example.net", "username": "user", "credential": "password"},
                ],
                "effects": ["overlay", "contour", "green", "blur", "replace"],
                "max_message_bytes": 16_384,
            }
            assert response.headers["Cache-Control"] == "no-store"

    servers = (
        IceServerConfig("stun:stun.example.net"),
        IceServerConfig("turn:turn.example.net", "user", "password"),
    )
    ask(check, PipelineConfig(server=ServerConfig(port=0, token=TOKEN), rtc=RtcConfig(ice_servers=servers)))


def test_health_is_public_and_counts() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.post("/whip/secret-name", data=offer("sendonly"), headers=SDP | BEARER) as response:
            assert response.status == 201
        async with client.get("/healthz") as response:
            assert response.status == 200
            assert await response.json() == {
                "status": "ok",
                "sessions": {"loop": 0, "publish": 1, "view": 0},
                "streams": 1,
                "max_sessions": 4,
                "max_viewers": 16,
            }

    ask(check, settings(TOKEN))


def test_metrics_are_for_prometheus_and_for_who_has_the_token() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.get("/metrics") as response:
            await problem(response, 401)
        async with client.get("/metrics", headers=BEARER) as response:
            assert response.status == 200
            assert response.headers["Content-Type"].startswith("text/plain; version=")
            text = await response.text()
        assert "# TYPE gest_stream_stage_milliseconds histogram" in text
        assert "gest_stream_frames_total 0.0" in text

    ask(check, settings(TOKEN))


def test_the_description_is_of_this_version() -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.get("/openapi.json") as response:
            assert response.status == 200
            description = await response.json()
        assert description["info"]["version"] == metadata.version("gest-stream")
        assert description["openapi"].startswith("3.1")

    ask(check, settings(TOKEN))


@pytest.mark.parametrize("path", ["/", "/page/index.html", "/config.json", "/healthz", "/metrics", "/openapi.json"])
def test_what_can_be_read_has_a_head_and_takes_nothing(path: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.get(path) as response:
            length = response.headers["Content-Length"]
        async with client.head(path) as response:
            assert (response.status, response.headers["Content-Length"]) == (200, length)
        async with client.post(path, data=b"x") as response:
            await problem(response, 405)
            assert "GET, HEAD" in response.headers["Allow"]

    ask(check)


@pytest.mark.parametrize(
    "server",
    [
        IceServerConfig("turn:turn.example.net", "user", "pass\r\nSet-Cookie: x=y"),
        IceServerConfig("turn:turn.example.net", "üser", "password"),
        IceServerConfig("stun:host>; rel=x"),
    ],
)
def test_an_ice_server_that_no_header_can_carry_is_refused_at_the_start(server: IceServerConfig) -> None:
    config = PipelineConfig(rtc=RtcConfig(ice_servers=(server,)))
    with pytest.raises(ConfigError, match=r"rtc\.ice_servers"):
        make_app(config, FakeSessions(), ServerMetrics())
