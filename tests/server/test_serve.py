"""Where the server listens, how it encrypts, and that it ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from gest_stream.config import LimitsConfig, PipelineConfig, ServerConfig
from gest_stream.errors import ConfigError
from gest_stream.server.metrics import ServerMetrics
from gest_stream.server.serve import serve
from tests.server.fake_sessions import SDP, FakeSessions, address, offer, serving, settings, until
from tests.server.raw_client import RawClient, status_of

TIMEOUT_S = 0.3
PING = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def make_pair(folder: Path, name: str, password: bytes | None = None) -> tuple[Path, Path]:
    """A certificate for loopback, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .sign(key, hashes.SHA256())
    )
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    pem = serialization.Encoding.PEM
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(pem))
    paths[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption))
    return paths


def fail(config: PipelineConfig) -> str:
    """The message of the ConfigError that serving ends with; the sessions are closed then, too."""
    sessions = FakeSessions()
    with pytest.raises(ConfigError) as raised:
        asyncio.run(asyncio.wait_for(serve(config, sessions, ServerMetrics(), stop=asyncio.Event()), 30))
    assert sessions.closed
    return str(raised.value)


def encrypted(tmp_path: Path, **limits: float) -> tuple[PipelineConfig, ssl.SSLContext]:
    """Settings of a server that encrypts, and a context that trusts it."""
    certificate, key = make_pair(tmp_path, "server")
    config = settings(limits=LimitsConfig(**limits), certificate=certificate, key=key)  # type: ignore[arg-type]
    return config, ssl.create_default_context(cafile=str(certificate))


@pytest.mark.parametrize(
    ("host", "shown"),
    [("127.0.0.1", "127.0.0.1"), ("localhost", "localhost"), ("::1", "[::1]"), ("0.0.0.0", "localhost")],
)
def test_a_free_port_is_taken_and_told(host: str, shown: str) -> None:
    async def run() -> None:
        stop, url = asyncio.Event(), asyncio.get_running_loop().create_future()
        config = PipelineConfig(server=ServerConfig(host, 0, insecure=True))
        server = asyncio.create_task(serve(config, FakeSessions(), ServerMetrics(), ready=url.set_result, stop=stop))
        base = await asyncio.wait_for(url, 30)
        assert base.startswith(f"http://{shown}:") and base.endswith("/")
        async with aiohttp.ClientSession(base) as client, client.get("/healthz") as response:
            assert response.status == 200
        stop.set()
        await asyncio.wait_for(server, 30)

    if ":" in host and not _has_ipv6():
        pytest.skip("this machine has no IPv6")
    asyncio.run(run())


def test_a_port_in_use_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = fail(PipelineConfig(server=ServerConfig(port=port)))
    assert str(port) in message and "in use" in message and "--port" in message


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_named(host: str) -> None:
    message = fail(PipelineConfig(server=ServerConfig(host, 0, insecure=True)))
    assert host in message and "--host" in message


def test_https_is_served_where_there_is_a_certificate(tmp_path: Path) -> None:
    config, trusting = encrypted(tmp_path)

    async def run() -> None:
        async with serving(config, FakeSessions()) as client:
            base = client._base_url
            assert base is not None and base.scheme == "https"
            async with aiohttp.ClientSession(base, connector=aiohttp.TCPConnector(ssl=trusting)) as secure:
                async with secure.post("/loop", data=offer(), headers=SDP) as response:
                    assert response.status == 201
                    assert response.headers["Location"].startswith(f"https://127.0.0.1:{base.port}/session/")
                own = {"Origin": f"https://127.0.0.1:{base.port}"}
                for _ in range(3):
                    async with secure.get("/page/index.html", headers=own) as response:
                        assert response.status == 200
                        assert (await response.read()).endswith(b"</html>\n")
                async with secure.get("/healthz", headers={"Origin": f"http://127.0.0.1:{base.port}"}) as response:
                    assert response.status == 403

    asyncio.run(run())


def test_connections_count_before_tls_and_have_no_more_time_for_it_than_for_a_request(tmp_path: Path) -> None:
    config, trusting = encrypted(tmp_path, max_connections=4, request_timeout_s=TIMEOUT_S)

    async def run() -> None:
        async with serving(config, FakeSessions()) as client:
            silent = [RawClient(client) for _ in range(4)]
            for raw in silent:
                await raw.__aenter__()
            with pytest.raises(OSError):
                async with RawClient(client, trusting) as refused:
                    await refused.send(PING)
            for raw in silent:
                assert await raw.rest() == b""
                assert TIMEOUT_S * 0.9 < raw.age_s < TIMEOUT_S + 5
                await raw.__aexit__(None, None, None)
            async with RawClient(client, trusting) as raw:
                await raw.send(PING)
                assert status_of(await raw.rest()) == 200

    asyncio.run(run())


@pytest.mark.parametrize(
    "text", ["GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "\x16\x03\x01\x02\x00\x01", "\x00" * 300]
)
def test_what_is_no_tls_is_hung_up_on_and_leaves_nothing(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    config, trusting = encrypted(tmp_path, max_connections=2, request_timeout_s=TIMEOUT_S)

    async def run() -> None:
        async with serving(config, FakeSessions()) as client:
            for _ in range(2):
                async with RawClient(client) as raw:
                    await raw.send(text)
                    assert status_of(await raw.rest()) == 0
            for _ in range(20):
                async with RawClient(client) as raw:
                    await raw.send(text)
            async with RawClient(client, trusting) as raw:
                await raw.send(PING)
                assert status_of(await raw.rest()) == 200

    asyncio.run(run())
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def test_a_client_that_is_slow_after_tls_is_told_so(tmp_path: Path) -> None:
    config, trusting = encrypted(tmp_path, request_timeout_s=TIMEOUT_S)

    async def run() -> None:
        async with serving(config, FakeSessions()) as client, RawClient(client, trusting) as raw:
            await raw.send("GET /healthz HT")
            assert status_of(await raw.rest()) == 408
            assert raw.age_s < TIMEOUT_S * 2 + 5

    asyncio.run(run())


def test_a_client_that_never_says_goodbye_does_not_keep_its_place(tmp_path: Path) -> None:
    config, trusting = encrypted(tmp_path, max_connections=1, request_timeout_s=TIMEOUT_S)

    async def run() -> None:
        async with serving(config, FakeSessions()) as client:
            clock = asyncio.get_running_loop().time
            begun_s = clock()
            mute = await asyncio.to_thread(_half_a_request, address(client), trusting)  # nobody reads what it gets
            for _ in range(500):
                with contextlib.suppress(OSError):
                    async with RawClient(client, trusting) as raw:
                        await raw.send(PING)
                        if status_of(await raw.rest()) == 200:
                            break
                await asyncio.sleep(0.03)
            assert TIMEOUT_S * 0.9 < clock() - begun_s < TIMEOUT_S + 1 + 5
            mute.close()

    asyncio.run(run())


def test_tls_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    certificate, key = make_pair(tmp_path, "one")
    other_certificate, other_key = make_pair(tmp_path, "two")
    _, locked = make_pair(tmp_path, "three", b"a password")
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_bytes(b"\x00\xff nonsense")

    def message(certificate: Path, key: Path) -> str:
        return fail(settings(certificate=certificate, key=key))

    assert str(tmp_path / "gone.crt") in (text := message(tmp_path / "gone.crt", key)) and "No such file" in text
    assert str(tmp_path / "gone.key") in (text := message(certificate, tmp_path / "gone.key")) and "No such" in text
    assert str(tmp_path) in message(tmp_path, key)
    assert str(other_key) in (text := message(certificate, other_key)) and "not the key" in text
    assert str(nonsense) in message(nonsense, key)
    assert str(nonsense) in message(certificate, nonsense)
    assert str(locked) in (text := message(certificate, locked)) and "password" in text


def test_stopping_ends_sessions_and_connections_even_when_a_request_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gest_stream.server.serve._ANSWER_S", 0.3)

    async def run() -> None:
        sessions = FakeSessions()
        loop = asyncio.get_running_loop()
        async with serving(settings(), sessions) as client:
            async with client.post("/loop", data=offer(), headers=SDP) as response:
                assert response.status == 201
            idle, half, hanging = RawClient(client), RawClient(client), RawClient(client)
            for raw in (idle, half, hanging):
                await raw.__aenter__()
            await half.send("POST /loop HTTP/1.1\r\nHost: localhost\r\n")
            sessions.gate = asyncio.Event()
            body = offer()
            await hanging.send("POST /loop HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/sdp\r\n")
            await hanging.send(f"Content-Length: {len(body)}\r\n\r\n{body}")
            await until(lambda: sessions.waiting)
            stopped_s = loop.time()
        assert loop.time() - stopped_s < 8
        assert sessions.begun[0].ended == "the server shuts down"
        for raw in (idle, half, hanging):
            assert status_of(await raw.rest()) != 201
            await raw.__aexit__(None, None, None)
        with pytest.raises(OSError):
            await asyncio.open_connection(*address(client))

    asyncio.run(run())


def test_sessions_that_do_not_end_do_not_keep_the_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gest_stream.server.serve._SESSIONS_S", 0.2)

    async def run() -> None:
        async with serving(settings(), FakeSessions(close_gate=asyncio.Event())):
            pass

    asyncio.run(asyncio.wait_for(run(), 30))
    assert "sessions did not end within 0.2 s" in caplog.text


def test_requests_are_logged_for_debugging_only_and_without_what_is_secret(caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> str:
        sessions = FakeSessions()
        async with serving(settings(), sessions) as client:
            async with client.post("/loop?x=secret", data=offer(), headers=SDP) as response:
                assert response.status == 201
            async with client.delete(f"/session/{sessions.begun[0].id}") as response:
                assert response.status == 200
            async with client.get("/secret-path\r\nINJECTED".replace("\r\n", "%0d%0a")) as response:
                assert response.status == 404
        return sessions.begun[0].id

    caplog.set_level(logging.DEBUG, "gest_stream")
    session_id = asyncio.run(run())
    assert "POST /loop: 201" in caplog.text
    assert "DELETE /session/{id}: 200" in caplog.text
    assert "GET (no such path): 404" in caplog.text
    assert "secret" not in caplog.text and session_id not in caplog.text and "INJECTED" not in caplog.text
    caplog.clear()
    caplog.set_level(logging.INFO, "gest_stream")
    asyncio.run(run())
    assert [one.getMessage().split(" at ")[0] for one in caplog.records] == ["serving"]


def _half_a_request(server: tuple[str, int], tls: ssl.SSLContext) -> ssl.SSLSocket:
    secured = tls.wrap_socket(socket.create_connection(server, timeout=30), server_hostname=server[0])
    secured.sendall(PING[:20].encode())
    return secured


def _has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False
