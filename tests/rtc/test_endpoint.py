import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from yarl import URL

from gest_stream.errors import ConfigError
from gest_stream.rtc.endpoint import DialError, Endpoint, Protocol
from tests.rtc.certificate import self_signed
from tests.rtc.standin import Refusal, StandIn, standing_in

TOKEN = "not-for-your-eyes"
OFFER = "v=0\r\n"  # what a server that refuses does not even read


def with_server(
    scenario: Callable[[StandIn], Awaitable[None]], server: StandIn | None = None, tls: ssl.SSLContext | None = None
) -> None:
    async def run() -> None:
        async with standing_in(server, tls) as standin:
            await scenario(standin)

    asyncio.run(run())


def answering(status: int, text: str = "", **headers: str) -> Refusal:
    return lambda: web.Response(
        status=status, text=text, headers={name.replace("_", "-"): value for name, value in headers.items()}
    )


async def offer_error(endpoint: Endpoint) -> DialError:
    with pytest.raises(DialError) as caught:
        await endpoint.offer(OFFER)
    assert str(caught.value).startswith(f"{endpoint.name}: ")
    assert TOKEN not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("answer", "words", "retry_after_s"),
    [
        (answering(401), "the server does not accept the token (401); check it", None),
        (answering(403), "access denied (403)", None),
        (
            answering(404, Retry_After="3"),
            "no stream under this address (404); check the path, and that somebody publishes there; "
            "it asks to come back in 3 s",
            3,
        ),
        (answering(405), "the address is not a WHEP endpoint (405)", None),
        (answering(409), "nobody publishes the stream yet (409)", None),
        (answering(429), "too many connections", None),
        (answering(503, Retry_After="12"), "full or busy (503); wait, or end other sessions; it asks to come back", 12),
        (answering(503, Retry_After="Wed, 25 Nov 2026 09:00:00 GMT"), "is full or busy (503)", None),
        (answering(418), "the server refuses the offer (418)", None),
        (answering(500), "the server failed (500)", None),
        (answering(302, Location="/elsewhere"), "redirects in a way that would lose the offer (302)", None),
        (answering(307), "was redirected (307) to nowhere", None),
        (answering(307, Location="/whep/cam"), "was redirected 5 times", None),
        (answering(307, Location="ftp://host/"), "was redirected to ftp, which is not followed", None),
        (answering(200, "<html>welcome</html>"), "answers, but not with a session description", None),
        (answering(201, "v=0" + "a" * 70_000), "answers, but not with a session description", None),
    ],
)
def test_an_answer_that_is_none_says_what_it_means_and_what_to_do(
    answer: Refusal, words: str, retry_after_s: float | None
) -> None:
    async def scenario(server: StandIn) -> None:
        server.always = answer
        error = await offer_error(Endpoint(Protocol.WHEP, f"{server.base}/whep/cam", TOKEN))
        assert words in str(error)
        assert error.retry_after_s == retry_after_s

    with_server(scenario)


@pytest.mark.parametrize(
    ("status", "words"),
    [(404, "takes no stream under this address (404)"), (409, "somebody publishes this stream already (409)")],
)
def test_to_a_publisher_the_same_codes_mean_something_else(status: int, words: str) -> None:
    async def scenario(server: StandIn) -> None:
        server.always = answering(status)
        assert words in str(await offer_error(Endpoint(Protocol.WHIP, f"{server.base}/whip/cam")))

    with_server(scenario)


def test_a_missing_token_is_told_with_the_way_to_give_it() -> None:
    async def scenario(server: StandIn) -> None:
        error = await offer_error(Endpoint(Protocol.WHEP, f"{server.base}/whep/cam"))
        assert "wants a token (401); pass it with --token or GEST_STREAM_TOKEN" in str(error)
        assert server.requests == [("POST", "/whep/cam", None)]

    with_server(scenario, StandIn(token=TOKEN))


def test_what_a_problem_document_says_is_told_without_the_token() -> None:
    problem = {"title": "Unprocessable", "detail": f"token {TOKEN} may not\nwatch"}

    async def scenario(server: StandIn) -> None:
        server.always = lambda: web.json_response(problem, status=422, content_type="application/problem+json")
        error = await offer_error(Endpoint(Protocol.WHEP, f"{server.base}/whep/cam", TOKEN))
        assert str(error).endswith("; it says: token *** may not watch")

    with_server(scenario)


def test_a_token_that_a_long_problem_document_is_cut_in_is_not_shown_in_part() -> None:
    problem = {"detail": "x" * 196 + TOKEN}

    async def scenario(server: StandIn) -> None:
        server.always = lambda: web.json_response(problem, status=422, content_type="application/problem+json")
        error = await offer_error(Endpoint(Protocol.WHEP, f"{server.base}/whep/cam", TOKEN))
        assert str(error).endswith("; it says: " + "x" * 196 + "***")

    with_server(scenario)


def test_a_problem_document_that_is_nested_without_end_is_passed_over() -> None:
    async def scenario(server: StandIn) -> None:
        server.always = lambda: web.Response(status=422, text="[" * 60_000, content_type="application/problem+json")
        error = await offer_error(Endpoint(Protocol.WHEP, f"{server.base}/whep/cam", TOKEN))
        assert "(422)" in str(error) and "it says" not in str(error)

    with_server(scenario)


def test_a_redirect_is_followed_with_the_token_and_the_session_is_where_it_led() -> None:
    async def scenario(front: StandIn) -> None:
        async with standing_in() as back:
            front.always = answering(307, Location=f"{back.base}/whep/elsewhere")
            back.always = answering(201, "v=0\r\n", Location="../session/7", Link='<stun:s>; rel="ice-server"')
            answer = await Endpoint(Protocol.WHEP, f"{front.base}/whep/cam", TOKEN).offer(OFFER)
            assert answer.session_url == URL(f"{back.base}/session/7")
            assert [server.url for server in answer.ice_servers] == ["stun:s"]
            assert front.requests == [("POST", "/whep/cam", f"Bearer {TOKEN}")]
            assert back.requests == [("POST", "/whep/elsewhere", f"Bearer {TOKEN}")]

    with_server(scenario)


def test_a_login_in_the_address_is_sent_and_a_token_takes_its_place() -> None:
    async def scenario(server: StandIn) -> None:
        server.always = answering(201, "v=0\r\n")
        url = f"{server.base}/whep/cam".replace("//", "//user:pass@")
        await Endpoint(Protocol.WHEP, url).offer(OFFER)
        await Endpoint(Protocol.WHEP, url, TOKEN).offer(OFFER)
        assert [shown for _, _, shown in server.requests] == ["Basic dXNlcjpwYXNz", f"Bearer {TOKEN}"]

    with_server(scenario)


def test_a_certificate_that_nobody_vouches_for_gets_no_token(tmp_path: Path) -> None:
    context, _ = self_signed(tmp_path)

    async def scenario(server: StandIn) -> None:
        error = await offer_error(Endpoint(Protocol.WHEP, f"{server.base}/whep/cam", TOKEN))
        assert "its TLS certificate is not accepted (self-signed certificate)" in str(error)
        assert "SSL_CERT_FILE" in str(error)
        assert server.requests == []

    with_server(scenario, tls=context)


def test_https_is_not_left_for_http(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context, certificate = self_signed(tmp_path)
    monkeypatch.setattr("aiohttp.connector._SSL_CONTEXT_VERIFIED", ssl.create_default_context(cafile=certificate))

    async def scenario(secure: StandIn) -> None:
        async with standing_in() as plain:
            endpoint = Endpoint(Protocol.WHEP, f"{secure.base}/whep/cam", TOKEN)
            secure.always = answering(307, Location=f"{plain.base}/whep/cam")
            assert "redirected to http, which is not followed" in str(await offer_error(endpoint))
            assert secure.requests == [("POST", "/whep/cam", f"Bearer {TOKEN}")]
            await endpoint.end(URL(f"{plain.base}/session/1"))
            assert plain.requests == [("DELETE", "/session/1", None)]

    with_server(scenario, tls=context)


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1)
    writer.close()
    await writer.wait_closed()


def test_servers_that_are_not_there_silent_or_of_another_kind_are_told_apart() -> None:
    async def scenario(server: StandIn) -> None:
        secure = server.base.replace("http:", "https:")
        error = await offer_error(Endpoint(Protocol.WHEP, f"{secure}/whep/cam"))
        assert "TLS failed; if the server speaks plain HTTP, write http://" in str(error)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}/whep/cam"
            error = await offer_error(Endpoint(Protocol.WHEP, url, timeout_s=0.2))
            assert "no answer within 0.2 s; check the address and the firewall" in str(error)
        error = await offer_error(Endpoint(Protocol.WHEP, url))
        assert "connection refused; start the server, or check host and port" in str(error)
        async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as rude:
            url = f"http://127.0.0.1:{rude.sockets[0].getsockname()[1]}/whep/cam"
            error = await offer_error(Endpoint(Protocol.WHEP, url))
            assert "hung up without an answer; if it speaks TLS, write https://" in str(error)

    with_server(scenario)


def test_an_unknown_host_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    error = asyncio.run(offer_error(Endpoint(Protocol.WHEP, "http://nosuch.example/whep/cam")))
    assert "the host nosuch.example is not known; check its spelling and the network" in str(error)


@pytest.mark.parametrize("url", ["", "stream", "rtsp://host/x", "http://", "//host/whep", "http://[::1"])
def test_what_is_no_http_address_is_refused_with_an_example(url: str) -> None:
    with pytest.raises(
        ConfigError, match=r"expected an http:// or https:// address, as in whip:https://example\.org/whip"
    ):
        Endpoint(Protocol.WHIP, url)


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "ümlaut"])
def test_a_token_that_no_header_carries_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(ConfigError, match="expected a token of printable ASCII characters without spaces") as caught:
        Endpoint(Protocol.WHIP, "http://127.0.0.1/whip", token)
    assert not token or token not in str(caught.value)


def test_a_token_over_plain_http_to_another_machine_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    Endpoint(Protocol.WHIP, "http://127.0.0.1:1/whip", TOKEN)
    Endpoint(Protocol.WHIP, "https://host.example/whip", TOKEN)
    Endpoint(Protocol.WHIP, "http://host.example/whip")
    assert caplog.messages == []
    Endpoint(Protocol.WHIP, "http://host.example/whip", TOKEN)
    assert caplog.messages == [
        "whip:http://host.example/whip: the token travels unencrypted; use https:// if the server has it"
    ]


def test_secrets_are_in_no_name_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario(server: StandIn) -> None:
        server.always = answering(307, Location=f"/whep/cam?token={TOKEN}")
        url = f"{server.base}/whep/cam?key={TOKEN}".replace("//", f"//user:{TOKEN}@")
        endpoint = Endpoint(Protocol.WHEP, url, TOKEN)
        assert TOKEN not in endpoint.name
        await offer_error(endpoint)
        await endpoint.end(URL(f"{server.base}/session/1?token={TOKEN}"))
        await endpoint.end(URL("http://127.0.0.1:1/session/1"))

    with caplog.at_level(logging.DEBUG, logger="gest_stream"):
        with_server(scenario)
    own = [record.getMessage() for record in caplog.records if record.name.startswith("gest_stream")]
    assert len(own) >= 7 and not any(TOKEN in message for message in own)
