"""Every change of aiortc's and aioice's behaviour.

- marker: video frames are given out with their last packet (`jitter`); aiortc waits for the first packet of the next
  frame, which is one frame of delay. A lost packet is asked for again, and given up after 0.5 s (`media`); aiortc asks
  once, and stands still until 512 packets have come.
- decoder: a bounded daemon thread that no error ends (`decoding`); aiortc's queues have no bound (aiortc PR 498, issue
  1192), pictures of any size are decoded, errors other than FFmpeg's end the thread, and a connection that nobody
  closed holds the process.
- encoder: H264 and VP8 for real time (`encoding`); aiortc's H264 takes 16 ms of CPU time at 640x480 and 27 at 1280x720
  (benchmarks/results/webrtc_codecs.json), both are opened anew when the bitrate moves, and stay between 0.5 and
  3 Mbit/s for H264, 0.25 and 1.5 for VP8 (aiortc issues 780, 1159).
- ciphers: DTLS also takes ECDHE-RSA, for peers with RSA certificates, such as GStreamer 1.22's webrtcbin.
- consent: a dead peer is noticed within `dead_after_s` (`consent`); aioice needs 30 s or more.
- hosts: 127.0.0.1 where there is no other address, which aioice leaves out, so that a machine without network gathers
  nothing; and IPv4 first, as FFmpeg's WHIP muxer tries the first candidate only.
- association: what a peer can have kept of unfinished data-channel messages is bounded (`association`).
- clocks: receivers remember RTCP sender reports, and senders their timestamp origin (`media`, `clocks`); aiortc keeps
  both to itself.
- playout: returned pictures are shown as they come (`playout`); Chromium holds them back for an even flow otherwise.

Decoder, encoder, consent, playout and the number of data channels hold only for connections from `make_connection`; an
application's own connections stay as aiortc made them. A patch is applied where aiortc still looks as the patch
expects, on any version.
"""

from __future__ import annotations

import functools
import importlib.metadata
import inspect
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import CodeType, FunctionType, SimpleNamespace
from typing import Any

import aioice.ice
import aiortc.codecs.h264
import aiortc.codecs.vpx
import aiortc.jitterbuffer
import aiortc.rtcdtlstransport
import aiortc.rtcpeerconnection
import aiortc.rtcrtpreceiver
import aiortc.rtcrtpsender
import aiortc.rtcsctptransport
import aiortc.rtp
from OpenSSL import SSL

from gest_stream.config import RtcConfig
from gest_stream.rtc import association, consent, decoding, encoding, jitter, media, playout

_LOG = logging.getLogger(__name__)

TESTED = {"aiortc": "1.16.", "aioice": "0.13."}
"""Versions that the tests were run with."""

_ECDHE_RSA = ["ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES256-GCM-SHA384"]

_create_ssl_context = aiortc.rtcdtlstransport.RTCCertificate._create_ssl_context
_get_host_addresses = aioice.ice.get_host_addresses
_decoder_worker = aiortc.rtcrtpreceiver.decoder_worker
_get_encoder = vars(aiortc.rtcrtpsender)["get_encoder"]
_create_transceiver = vars(aiortc.rtcpeerconnection.RTCPeerConnection)["_RTCPeerConnection__createTransceiver"]
_create_sctp = vars(aiortc.rtcpeerconnection.RTCPeerConnection)["_RTCPeerConnection__createSctpTransport"]


@dataclass(frozen=True, slots=True)
class Patch:
    """One change of a foreign library.

    Args:
        name: What messages call it.
        values: What is assigned: owner, attribute, value.
        holds: Whether the library still looks as the patch expects.
    """

    name: str
    values: tuple[tuple[Any, str, Any], ...]
    holds: Callable[[], bool]


def apply_patches(config: RtcConfig) -> None:
    """Change aiortc and aioice, once a process.

    Args:
        config: Settings of a connection that will be made.

    Raises:
        ConfigError: It asks for an encoder that does not work here.
    """
    encoding.check_encoder(config)
    applied()


@functools.cache
def applied() -> frozenset[str]:
    """Apply the patches where that was not done yet; the names of those that fit."""
    fitting = [patch for patch in PATCHES if fits(patch)]
    warning = _warning([patch.name for patch in PATCHES if patch not in fitting])
    if warning:
        _LOG.warning("%s", warning)
    for patch in fitting:
        for owner, attribute, value in patch.values:
            setattr(owner, attribute, value)
    return frozenset(patch.name for patch in fitting)


def fits(patch: Patch) -> bool:
    """Whether the library still looks as a patch expects."""
    try:
        return patch.holds()
    except Exception:  # whatever a changed library makes of the questions
        _LOG.debug("patch %s", patch.name, exc_info=True)
        return False


def _warning(lacking: Sequence[str]) -> str:
    found = {name: importlib.metadata.version(name) for name in TESTED}
    untested = [f"{name} {version}" for name, version in found.items() if not version.startswith(TESTED[name])]
    known = " and ".join(f"{name} {version}x" for name, version in TESTED.items())
    warning = f"WebRTC was tested with {known}, here is {' and '.join(untested)}" if untested else ""
    if lacking:
        warning = f"{warning or 'WebRTC'}; these patches do not fit and are left out: {', '.join(lacking)}"
    return warning


def _create_context(certificate: Any, srtp_profiles: Any) -> SSL.Context:
    context = _create_ssl_context(certificate, srtp_profiles)
    context.set_cipher_list(_ciphers())
    return context


@functools.cache
def _ciphers() -> bytes:
    """aiortc's own, then ECDHE-RSA."""
    dtls = aiortc.rtcdtlstransport
    context = _create_ssl_context(dtls.RTCCertificate.generateCertificate(), dtls.SRTP_PROFILES)
    present = [name for name in SSL.Connection(context).get_cipher_list() if not name.startswith("TLS_")]
    return ":".join([*present, *_ECDHE_RSA]).encode()


def _host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
    addresses = sorted(_get_host_addresses(use_ipv4, use_ipv6), key=lambda address: ":" in address)
    return addresses or (["127.0.0.1"] if use_ipv4 else [])


def _reads(function: Any, *names: str) -> bool:
    """Whether a function's code, or that of functions within it, reads all these globals and attributes."""
    assert isinstance(function, FunctionType)
    found: set[str] = set()
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        found.update(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, CodeType)]
    return set(names) <= found


def _takes(function: Any, *names: str) -> bool:
    """Whether a function has exactly these parameters."""
    return tuple(inspect.signature(function).parameters) == names


def _marker_holds() -> bool:
    buffer, receiver = aiortc.jitterbuffer.JitterBuffer, aiortc.rtcrtpreceiver.RTCRtpReceiver
    private = [f"_RTCRtpReceiver__{name}" for name in ("jitter_buffer", "codecs", "decoder_queue", "decoder_thread")]
    return (
        _takes(buffer.__init__, "self", "capacity", "prefetch", "is_video")
        and _takes(buffer._remove_frame, "self", "sequence_number")
        and _takes(buffer.remove, "self", "count")
        and {"_origin", "_packets", "_capacity", "_is_video"} <= set(vars(buffer(capacity=2)))
        and _reads(buffer.add, "_remove_frame")
        and _takes(receiver._handle_rtp_packet, "self", "packet", "arrival_time_ms")
        and _reads(receiver._handle_rtp_packet, "_RTCRtpReceiver__timestamp_mapper", "_data", "map", "put", *private)
        and _takes(receiver._send_rtcp_nack, "self", "media_ssrc", "lost")
        and _takes(buffer.smart_remove, "self", "count")
        and _reads(receiver.__init__, "JitterBuffer", "TimestampMapper")
        and _reads(_create_transceiver, "RTCRtpReceiver")
    )


def _decoder_holds() -> bool:
    receiver = aiortc.rtcrtpreceiver.RTCRtpReceiver
    return _takes(_decoder_worker, "loop", "input_q", "output_q", "decode_error") and _reads(
        receiver.receive, "threading", "Thread", "decoder_worker"
    )


def _encoder_holds() -> bool:
    sender = aiortc.rtcrtpsender.RTCRtpSender
    h264, vp8 = aiortc.codecs.h264.H264Encoder, aiortc.codecs.vpx.Vp8Encoder
    return (
        _takes(_get_encoder, "codec")
        and _reads(sender._next_encoded_frame, "get_encoder", "encode")
        and _reads(sender._handle_rtcp_packet, "target_bitrate")
        and _takes(h264.encode, "self", "frame", "force_keyframe")
        and _takes(h264._packetize, "packages")
        and _takes(h264._split_bitstream, "buf")
        and _takes(vp8.encode, "self", "frame", "force_keyframe")
        and _takes(vp8._packetize, "buffer", "picture_id")
        and "picture_id" in vars(vp8())
    )


def _consent_holds() -> bool:
    connection = aioice.ice.Connection
    names = ("build_request", "request", "_nominated", "remote_addr", "_query_consent_task", "close")
    return (
        _takes(consent.aioice_query_consent, "self")
        and _reads(consent.aioice_query_consent, *names)
        and _reads(connection.connect, "query_consent", "_query_consent_task")
        and _takes(connection.build_request, "self", "pair", "nominate")
    )


def _hosts_hold() -> bool:
    return _takes(_get_host_addresses, "use_ipv4", "use_ipv6") and _reads(
        aioice.ice.Connection.gather_candidates, "get_host_addresses"
    )


def _association_holds() -> bool:
    sctp = aiortc.rtcsctptransport
    return (
        _takes(sctp.RTCSctpTransport._receive_data_chunk, "self", "chunk")
        and _reads(sctp.RTCSctpTransport._receive_data_chunk, "_mark_received", "_sack_needed", "_advertised_rwnd")
        and _reads(sctp.RTCSctpTransport._mark_received, "_sack_misordered")
        and _reads(sctp.RTCSctpTransport.__init__, "_inbound_streams", "_data_channels")
        and _takes(sctp.RTCSctpTransport._receive, "self", "stream_id", "pp_id", "data")
        and "reassembly" in vars(sctp.InboundStream())
        and _reads(_create_sctp, "RTCSctpTransport")
    )


def _clocks_hold() -> bool:
    receiver, sender = aiortc.rtcrtpreceiver.RTCRtpReceiver, aiortc.rtcrtpsender.RTCRtpSender
    return (
        _takes(receiver._handle_rtcp_packet, "self", "packet")
        and _reads(receiver.__init__, "_RTCRtpReceiver__rtx_ssrc", "_RTCRtpReceiver__timestamp_mapper")
        and vars(aiortc.rtcrtpreceiver.TimestampMapper()).keys() >= {"_origin"}
        and _takes(sender._next_encoded_frame, "self", "codec")
        and _reads(sender._run_rtp, "_next_encoded_frame", "uint32_add", "_RTCRtpSender__rtp_timestamp")
        and _reads(_create_transceiver, "RTCRtpSender", "RTCRtpReceiver")
    )


def _playout_holds() -> bool:
    sender, extensions = aiortc.rtcrtpsender.RTCRtpSender, aiortc.rtp.HeaderExtensionsMap
    used = "_RTCRtpSender__rtp_header_extensions_map"
    return (
        _takes(sender.__init__, "self", "trackOrKind", "transport")
        and _reads(sender.__init__, "HeaderExtensionsMap", used)
        and _reads(sender.send, used, "configure")
        and _reads(sender._run_rtp, used, "serialize")
        and _takes(extensions.configure, "self", "parameters")
        and _takes(extensions.set, "self", "values")
        and _reads(_peer.RTCPeerConnection.setRemoteDescription, "HEADER_EXTENSIONS")
    )


_peer = aiortc.rtcpeerconnection
PATCHES = (
    Patch(
        "marker",
        (
            (aiortc.rtcrtpreceiver, "JitterBuffer", jitter.MarkerJitterBuffer),
            (_peer, "RTCRtpReceiver", media.MediaReceiver),
        ),
        _marker_holds,
    ),
    Patch(
        "decoder",
        (
            (aiortc.rtcrtpreceiver, "decoder_worker", decoding.decode_received),
            (
                aiortc.rtcrtpreceiver,
                "threading",
                SimpleNamespace(Event=threading.Event, Thread=decoding.DecoderThread),
            ),
        ),
        _decoder_holds,
    ),
    Patch("encoder", ((aiortc.rtcrtpsender, "get_encoder", encoding.get_encoder),), _encoder_holds),
    Patch(
        "ciphers",
        ((aiortc.rtcdtlstransport.RTCCertificate, "_create_ssl_context", _create_context),),
        lambda: _takes(_create_ssl_context, "self", "srtp_profiles"),
    ),
    Patch("consent", ((aioice.ice.Connection, "query_consent", consent.query_consent),), _consent_holds),
    Patch("hosts", ((aioice.ice, "get_host_addresses", _host_addresses),), _hosts_hold),
    Patch("association", ((_peer, "RTCSctpTransport", association.BoundedAssociation),), _association_holds),
    Patch(
        "clocks",
        ((_peer, "RTCRtpSender", media.MediaSender), (_peer, "RTCRtpReceiver", media.MediaReceiver)),
        _clocks_hold,
    ),
    Patch(
        "playout",
        ((_peer, "HEADER_EXTENSIONS", playout.OFFERED), (_peer, "RTCRtpSender", media.MediaSender)),
        _playout_holds,
    ),
)
"""Every patch, in the order of the table above."""
