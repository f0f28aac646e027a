from __future__ import annotations

import asyncio
import datetime
import inspect
import logging
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import aioice.ice
import aiortc
import aiortc.codecs.h264
import aiortc.jitterbuffer
import aiortc.rtcpeerconnection
import aiortc.rtcrtpreceiver
import aiortc.rtcrtpsender
import aiortc.rtcsctptransport
import pytest
from aiortc.rtcdtlstransport import SRTP_PROFILES, RTCCertificate
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from OpenSSL import SSL

from gest_stream.config import RtcConfig
from gest_stream.rtc import consent, patches
from gest_stream.rtc.patches import PATCHES, Patch, applied, apply_patches, fits
from tests.rtc.peers import connected_pair, until

_BY_NAME = {patch.name: patch for patch in PATCHES}


@pytest.mark.parametrize("name", _BY_NAME)
def test_aiortc_still_looks_as_the_patch_expects(name: str) -> None:
    assert _BY_NAME[name].holds()
    assert name in applied()


def test_every_patch_is_described() -> None:
    lines = (inspect.getdoc(patches) or "").splitlines()
    assert [line.split(":")[0][2:] for line in lines if line.startswith("- ")] == list(_BY_NAME)


def test_every_value_is_assigned_and_stays() -> None:
    apply_patches(RtcConfig())
    apply_patches(RtcConfig(max_backlog=3))
    for patch in PATCHES:
        for owner, attribute, value in patch.values:
            assert getattr(owner, attribute) is value


def _other(*args: object) -> None: ...


@pytest.mark.parametrize(
    ("name", "owner", "attribute"),
    [
        ("marker", aiortc.jitterbuffer.JitterBuffer, "_remove_frame"),
        ("marker", aiortc.jitterbuffer.JitterBuffer, "__init__"),
        ("marker", aiortc.rtcrtpreceiver.RTCRtpReceiver, "_handle_rtp_packet"),
        ("marker", patches, "_create_transceiver"),
        ("decoder", patches, "_decoder_worker"),
        ("decoder", aiortc.rtcrtpreceiver.RTCRtpReceiver, "receive"),
        ("encoder", patches, "_get_encoder"),
        ("encoder", aiortc.rtcrtpsender.RTCRtpSender, "_next_encoded_frame"),
        ("encoder", aiortc.codecs.h264.H264Encoder, "_packetize"),
        ("ciphers", patches, "_create_ssl_context"),
        ("consent", consent, "aioice_query_consent"),
        ("consent", aioice.ice.Connection, "connect"),
        ("hosts", patches, "_get_host_addresses"),
        ("hosts", aioice.ice.Connection, "gather_candidates"),
        ("association", aiortc.rtcsctptransport.RTCSctpTransport, "_receive_data_chunk"),
        ("association", patches, "_create_sctp"),
        ("clocks", aiortc.rtcrtpsender.RTCRtpSender, "_run_rtp"),
        ("clocks", aiortc.rtcrtpreceiver, "TimestampMapper"),
    ],
)
def test_a_change_of_aiortc_is_noticed(name: str, owner: Any, attribute: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, attribute, _other)
    assert not fits(_BY_NAME[name])


def _patching(monkeypatch: pytest.MonkeyPatch, holds: Callable[[], bool], tested: str) -> SimpleNamespace:
    """Apply one patch of a stand-in library."""
    library = SimpleNamespace(value=0)
    monkeypatch.setattr(patches, "PATCHES", (Patch("stand-in", ((library, "value", 1),), holds),))
    monkeypatch.setattr(patches, "TESTED", {"aiortc": tested})
    applied.__wrapped__()
    return library


def test_an_untested_version_is_named_once_and_patched_where_it_fits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert _patching(monkeypatch, lambda: True, "0.9.").value == 1
    assert caplog.messages == [f"WebRTC was tested with aiortc 0.9.x, here is aiortc {aiortc.__version__}"]


def test_a_patch_that_does_not_fit_is_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert _patching(monkeypatch, lambda: 1 / 0 > 0, aiortc.__version__).value == 0
    assert caplog.messages == ["WebRTC; these patches do not fit and are left out: stand-in"]


def test_nothing_is_said_where_all_is_well(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        assert _patching(monkeypatch, lambda: True, aiortc.__version__).value == 1
    assert not caplog.messages


def _rsa_server() -> SSL.Context:
    """A DTLS 1.2 server as GStreamer's: its certificate is RSA."""
    key = rsa.generate_private_key(65_537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "peer")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    context = SSL.Context(SSL.DTLS_METHOD)
    context.set_max_proto_version(0xFEFD)  # DTLS 1.2
    context.use_certificate(certificate)
    context.use_privatekey(key)
    return context


def _shakes_hands(client_context: SSL.Context, server_context: SSL.Context) -> bool:
    client, server = SSL.Connection(client_context), SSL.Connection(server_context)
    client.set_connect_state()
    server.set_accept_state()
    done: set[SSL.Connection] = set()
    for _ in range(20):
        for end, other in ((client, server), (server, client)):
            try:
                end.do_handshake()
                done.add(end)
            except SSL.WantReadError:
                pass
            except SSL.Error:
                return False
            while True:
                try:
                    other.bio_write(end.bio_read(4096))
                except SSL.WantReadError:
                    break
    return done == {client, server}


def test_a_peer_with_an_rsa_certificate_is_taken_which_aiortc_refuses() -> None:
    certificate = RTCCertificate.generateCertificate()
    server = _rsa_server()
    assert _shakes_hands(certificate._create_ssl_context(SRTP_PROFILES), server)
    assert not _shakes_hands(patches._create_ssl_context(certificate, SRTP_PROFILES), server)


def test_a_machine_without_network_connects_over_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patches, "_get_host_addresses", lambda use_ipv4, use_ipv6: [])

    async def run() -> set[str]:
        async with connected_pair() as (client, server):
            lines = (client.localDescription.sdp + server.localDescription.sdp).splitlines()
            return {line.split(" ")[4] for line in lines if line.startswith("a=candidate:")}

    assert asyncio.run(run()) == {"127.0.0.1"}


def test_ipv4_addresses_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ["fe80::1", "10.0.0.2", "2001:db8::1", "10.0.0.1"]
    monkeypatch.setattr(patches, "_get_host_addresses", lambda use_ipv4, use_ipv6: found)
    assert aioice.ice.get_host_addresses(True, True) == ["10.0.0.2", "10.0.0.1", "fe80::1", "2001:db8::1"]


def test_decoder_threads_of_a_connection_are_daemons_and_end_with_it() -> None:
    def decoders() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name == "video-decoder"]

    async def run() -> list[bool]:
        async with connected_pair():
            await until(lambda: bool(decoders()))
            return [thread.daemon for thread in decoders()]

    daemons = asyncio.run(run())
    assert daemons and all(daemons)
    assert not decoders()
