"""Who may use the server."""

from __future__ import annotations

import logging

import pytest
from aiohttp import ClientSession

from gest_stream.config import ServerConfig
from gest_stream.errors import ConfigError
from gest_stream.server.access import Access
from tests.server.fake_sessions import SDP, TOKEN, FakeSessions, address, ask, offer, problem, settings

GUARDED = [
    ("POST", "/loop"),
    ("POST", "/whip/desk"),
    ("POST", "/whep/desk"),
    ("PATCH", "/session/x"),
    ("DELETE", "/session/x"),
    ("PUT", "/session/x/background"),
    ("GET", "/config.json"),
    ("GET", "/metrics"),
    ("HEAD", "/metrics"),
]
WRONG = [
    "Bearer another-token",
    f"Bearer {TOKEN}x",
    f"Bearer {TOKEN[:-1]}",
    f"Bearer {TOKEN.upper()}",
    "Bearer ",
    "Bearer",
    TOKEN,
    f"Basic {TOKEN}",
    f"Bearer{TOKEN}",
    f"Bearer {TOKEN} {TOKEN}",
    "Bearer \xff\xfe\xe9",
    "",
]


@pytest.mark.parametrize(("method", "path"), GUARDED)
def test_without_the_token_nothing_is_to_be_had(method: str, path: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.request(method, path, data=offer() if method == "POST" else None, headers=SDP) as response:
            assert response.status == 401
            assert response.headers["WWW-Authenticate"] == 'Bearer realm="gest_stream"'
        assert not sessions.begun

    ask(check, settings(TOKEN))


@pytest.mark.parametrize("shown", WRONG)
def test_another_token_is_refused_and_repeated_nowhere(shown: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        headers = SDP | {"Authorization": shown}
        async with client.post("/loop?token=query-secret", data=offer(), headers=headers) as response:
            detail = await problem(response, 401)
            assert "invalid_token" in response.headers["WWW-Authenticate"]
            assert TOKEN not in detail and (len(shown) < 8 or shown not in detail)
        assert not sessions.begun

    ask(check, settings(TOKEN))
    assert "POST /loop: 401" in caplog.text
    for secret in (TOKEN, TOKEN.upper(), "another-token", "query-secret"):
        assert secret not in caplog.text


@pytest.mark.parametrize("shown", [f"Bearer {TOKEN}", f"bearer {TOKEN}", f"BEARER  {TOKEN}"])
def test_the_token_lets_in(shown: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.post("/loop", data=offer(), headers=SDP | {"Authorization": shown}) as response:
            assert response.status == 201

    ask(check, settings(TOKEN))


def test_tokens_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return one == other

    monkeypatch.setattr("gest_stream.server.access.hmac.compare_digest", compare)

    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        for shown in ("x", "Bearer ", f"Bearer {TOKEN[:-1]}x", f"Bearer {'x' * 5000}"):
            async with client.get("/metrics", headers={"Authorization": shown}) as response:
                assert response.status == 401

    ask(check, settings(TOKEN))
    assert len(compared) == 4
    assert {len(one) for pair in compared for one in pair} == {32}  # nor does the length show


@pytest.mark.parametrize("path", ["/", "/page/index.html", "/healthz", "/openapi.json"])
def test_what_is_public_needs_no_token(path: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.get(path) as response:
            assert response.status == 200

    ask(check, settings(TOKEN))


@pytest.mark.parametrize(
    "path", ["/loop", "/whip/x", "/session/x", "/session/x/background", "/config.json", "/metrics"]
)
def test_options_needs_no_token(path: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.options(path) as response:
            assert response.status == 200

    ask(check, settings(TOKEN))


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "",
        "https://example.org.evil.example",
        "https://example.org:8443",
        "http://example.org",
        "https://user@example.org",
        "https://example.org/path",
        "https://example.org, https://evil.example",
        "file://",
        "http://127.0.0.1:1",
        "http://[",
        "https://{host}:{port}",
    ],
)
def test_pages_of_other_origins_are_refused(origin: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        host, port = address(client)
        headers = SDP | {"Origin": origin.format(host=host, port=port)}
        async with client.post("/loop", data=offer(), headers=headers) as response:
            await problem(response, 403)
            assert "Access-Control-Allow-Origin" not in response.headers
        async with client.options("/loop", headers=headers | {"Access-Control-Request-Method": "POST"}) as response:
            assert response.status == 403
            assert "Access-Control-Allow-Origin" not in response.headers
        assert not sessions.begun

    ask(check, settings(allowed_origins=("https://example.org",)))


@pytest.mark.parametrize("origin", ["http://{host}:{port}", "https://example.org", "http://localhost:3000"])
def test_pages_of_the_own_and_of_allowed_origins_may_read_the_answer(origin: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        host, port = address(client)
        headers = SDP | {"Origin": origin.format(host=host, port=port)}
        async with client.post("/loop", data=offer(), headers=headers) as response:
            assert response.status == 201
            assert response.headers["Access-Control-Allow-Origin"] == headers["Origin"]
            assert {"ETag", "Link", "Location", "Accept-Patch", "Retry-After"} <= {
                name.strip() for name in response.headers["Access-Control-Expose-Headers"].split(",")
            }
            assert "Origin" in response.headers["Vary"]
        async with client.post("/loop", data=b"nonsense", headers=headers) as response:
            assert response.headers["Access-Control-Allow-Origin"] == headers["Origin"]
            await problem(response, 400)

    ask(check, settings(allowed_origins=("https://example.org:443/", "http://LOCALHOST:3000")))


@pytest.mark.parametrize(
    ("path", "method"),
    [("/loop", "POST"), ("/session/x", "PATCH"), ("/session/x", "DELETE"), ("/session/x/background", "PUT")],
)
def test_browsers_are_told_before_they_ask(path: str, method: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        headers = {
            "Origin": "https://example.org",
            "Access-Control-Request-Method": method,
            "Access-Control-Request-Headers": "authorization,content-type,if-match",
        }
        async with client.options(path, headers=headers) as response:
            assert response.status == 200
            assert response.headers["Access-Control-Allow-Origin"] == "https://example.org"
            assert method in response.headers["Access-Control-Allow-Methods"].split(", ")
            allowed = response.headers["Access-Control-Allow-Headers"].lower().split(", ")
            assert {"authorization", "content-type", "if-match"} <= set(allowed)
            assert "Access-Control-Allow-Credentials" not in response.headers

    ask(check, settings(TOKEN, allowed_origins=("https://example.org",)))


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "localhost.evil.example", "192.168.1.2", "10.0.0.1:80"]
)
@pytest.mark.parametrize("path", ["/", "/healthz", "/config.json"])
def test_a_name_that_is_not_its_own_does_not_reach_a_server_on_loopback(host: str, path: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        name = host.format(port=address(client)[1])
        # what a page has after its name was rebound to 127.0.0.1
        async with client.get(path, headers={"Host": name, "Origin": f"http://{name}"}) as response:
            await problem(response, 421)

    ask(check)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:{port}", "127.0.0.1:{port}", "127.0.0.1", "[::1]:80", "hands.example.org", "localhost."],
)
def test_names_of_its_own_reach_a_server_on_loopback(host: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.get("/config.json", headers={"Host": host.format(port=address(client)[1])}) as response:
            assert response.status == 200

    ask(check, settings(public_names=("hands.example.org",)))


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a@b", "a:b", "localhost:99999", "[::1", 'x"y', "local\thost", "é"])
def test_a_host_that_is_none_is_400(host: str) -> None:
    async def check(client: ClientSession, sessions: FakeSessions) -> None:
        async with client.get("/healthz", headers={"Host": host}) as response:
            await problem(response, 400)

    ask(check)


@pytest.mark.parametrize(
    ("config", "host", "known"),
    [
        (ServerConfig("0.0.0.0", insecure=True, token=TOKEN), "any.example", True),
        (ServerConfig("0.0.0.0", insecure=True), "any.example", False),
        (ServerConfig("0.0.0.0", insecure=True), "192.168.1.2", True),
        (ServerConfig("0.0.0.0", insecure=True), "[2001:db8::1]", True),
        (ServerConfig("0.0.0.0", insecure=True, public_names=("mine.example",)), "mine.example", True),
        (ServerConfig("0.0.0.0", insecure=True, token=TOKEN, public_names=("mine.example",)), "any.example", False),
        (ServerConfig("box.example", insecure=True), "box.example", True),
    ],
)
def test_a_server_that_others_reach_checks_names_where_no_token_protects_it(
    config: ServerConfig, host: str, known: bool
) -> None:
    assert Access(config, frozenset()).knows_host(host) == known


@pytest.mark.parametrize(
    "origin", ["example.org", "https://", "ftp://example.org", "https://example.org/page", "*", "null"]
)
def test_an_allowed_origin_that_is_none_is_refused_at_the_start(origin: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.allowed_origins"):
        Access(ServerConfig(allowed_origins=(origin,)), frozenset())
