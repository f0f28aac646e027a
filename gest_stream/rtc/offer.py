"""What an offer must hold before aiortc sees it, and what is told to a sender in the answer."""

from __future__ import annotations

import ipaddress
import re
from enum import StrEnum

from aiortc.codecs import CODECS, is_rtx
from aiortc.rtcpeerconnection import find_common_codecs
from aiortc.sdp import MediaDescription, SessionDescription

from gest_stream.config import RtcConfig
from gest_stream.errors import SignallingError
from gest_stream.rtc.candidates import TrickledCandidates, is_mid, parse_fragment, split_description, text_lines

__all__ = ["OfferPurpose", "TrickledCandidates", "check_offer", "parse_fragment", "with_bitrate_hints"]

_MAX_LINES = 1000
"""Chrome's in tests/rtc/offers have up to 217."""
_MAX_CODECS = 100
"""A section; the parser of aiortc takes lines times codecs."""
_ICE_CHARS = re.compile(r"[A-Za-z0-9+/]+")
_DIGEST_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
_KNOWN_CODECS = {"video": "VP8 and H264 baseline, packetization-mode 1", "audio": "Opus, G722, PCMU and PCMA"}


class OfferPurpose(StrEnum):
    """What a client wants with the connection that it offers."""

    LOOP = "loop"
    """Send a picture, and get it back."""
    PUBLISH = "publish"
    """Send a picture."""
    VIEW = "view"
    """Get a picture."""

    @property
    def directions(self) -> tuple[str, ...]:
        """What the offer may say of its video, seen from the client."""
        return {
            OfferPurpose.LOOP: ("sendrecv",),
            OfferPurpose.PUBLISH: ("sendonly", "sendrecv"),
            OfferPurpose.VIEW: ("recvonly", "sendrecv"),
        }[self]


def check_offer(sdp: str, purpose: OfferPurpose, max_bytes: int) -> None:
    """Refuse an offer that cannot be served.

    Args:
        sdp: The session description.
        purpose: What the client wants.
        max_bytes: How long it may be, as UTF-8.

    Raises:
        SignallingError: It is too long (413), no session description (400), or one that cannot be served (422); the
            message says why.
    """
    description = _parsed(sdp, max_bytes)
    _check_sections(description)
    for media in description.media:
        name = f"the offer's {media.kind} section"
        _check_ice(media, name)
        _check_dtls(media, name)
        if media.kind == "application":
            _check_data_channels(media, name)
        else:
            _check_media(media, name)
    video = next((media for media in description.media if media.kind == "video"), None)
    if video is None:
        raise SignallingError(f"the offer: has no video; expected a {purpose.directions[0]} video section", 422)
    if video.direction not in purpose.directions:
        wanted = " or ".join(purpose.directions)
        raise SignallingError(f"the offer: its video is {video.direction}; expected {wanted} for {purpose}", 422)


def _parsed(sdp: str, max_bytes: int) -> SessionDescription:
    lines = text_lines(sdp, max_bytes, "the offer")
    if not lines or lines[0].strip() != "v=0":
        raise SignallingError("the offer: expected a session description, which begins with 'v=0'", 400)
    if len(lines) > _MAX_LINES:
        raise SignallingError(f"the offer: has {len(lines)} lines; at most {_MAX_LINES} are taken", 422)
    if sum(line.startswith("a=rtpmap:") for line in lines) > 3 * _MAX_CODECS:
        raise SignallingError(f"the offer: names more than {3 * _MAX_CODECS} codecs", 422)
    bare = split_description(sdp, "the offer")
    try:
        return SessionDescription.parse(bare.sdp)
    except Exception as exc:  # asserts, index, key and number errors, whatever the parser meets
        raise SignallingError(f"the offer: is no session description that can be read ({_reason(exc)})", 400) from exc


def _reason(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}"[:200]


def _check_sections(description: SessionDescription) -> None:
    kinds = [media.kind for media in description.media]
    if not kinds:
        raise SignallingError("the offer: has no m-section, so there is nothing to connect", 422)
    for kind in kinds:
        if kind not in ("audio", "video", "application"):
            raise SignallingError(f"the offer: m={kind[:32]!r} is not served; audio, video and application are", 422)
        if kinds.count(kind) > 1:
            raise SignallingError(f"the offer: has {kinds.count(kind)} {kind} sections; one is served", 422)
    for place in (media.host for media in description.media if media.host is not None):
        _check_address(place)
    mids = [media.rtp.muxId for media in description.media]
    if len(set(mids)) != len(mids) or not all(mid is not None and is_mid(mid) for mid in mids):
        raise SignallingError("the offer: expected an a=mid in every m-section, each another", 422)
    bundles = [group.items for group in description.group if group.semantic == "BUNDLE"]
    if len(bundles) > 1 or any(len(set(items)) != len(items) or not set(items) <= set(mids) for items in bundles):
        raise SignallingError("the offer: its a=group:BUNDLE names m-sections that are not there", 422)


def _check_address(place: str) -> None:
    """aiortc writes the address out again, and cannot where it is none."""
    try:
        ipaddress.ip_address(place)
    except ValueError as exc:
        raise SignallingError(f"the offer: expected an IP address in c=, got {place[:64]!r}", 422) from exc


def _check_ice(media: MediaDescription, name: str) -> None:
    ufrag, password = (media.ice.usernameFragment or "", media.ice.password or "") if media.ice else ("", "")
    for value, attribute, least in ((ufrag, "ice-ufrag", 4), (password, "ice-pwd", 22)):
        if not least <= len(value) <= 256 or not _ICE_CHARS.fullmatch(value):
            raise SignallingError(f"{name}: expected a={attribute} of {least} to 256 ICE characters", 422)


def _check_dtls(media: MediaDescription, name: str) -> None:
    if media.dtls is None:
        raise SignallingError(f"{name}: expected a=setup:actpass", 422)
    known = [f for f in media.dtls.fingerprints if f.algorithm.lower() in _DIGEST_BYTES]
    if not known or len(media.dtls.fingerprints) > 16:
        raise SignallingError(f"{name}: expected a=fingerprint of {', '.join(_DIGEST_BYTES)}", 422)
    for fingerprint in known:
        count = _DIGEST_BYTES[fingerprint.algorithm.lower()]
        if not re.fullmatch(rf"[0-9A-Fa-f]{{2}}(:[0-9A-Fa-f]{{2}}){{{count - 1}}}", fingerprint.value):
            raise SignallingError(f"{name}: a=fingerprint is not {count} hexadecimal bytes", 422)


def _check_data_channels(media: MediaDescription, name: str) -> None:
    port = str(media.fmt[0] if media.profile == "DTLS/SCTP" else media.sctp_port)
    known = media.profile in ("DTLS/SCTP", "UDP/DTLS/SCTP")
    if not known or not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65_536:
        raise SignallingError(f"{name}: expected UDP/DTLS/SCTP webrtc-datachannel with an a=sctp-port", 422)
    size = media.sctpCapabilities.maxMessageSize if media.sctpCapabilities is not None else 0
    if size < 0:
        raise SignallingError(f"{name}: a=max-message-size is {size}", 422)


def _check_media(media: MediaDescription, name: str) -> None:
    if not media.rtcp_mux:
        raise SignallingError(f"{name}: expected a=rtcp-mux", 422)
    if len(media.rtp.codecs) > _MAX_CODECS:
        raise SignallingError(f"{name}: names {len(media.rtp.codecs)} codecs; at most {_MAX_CODECS} are taken", 422)
    # an identifier is one byte (RFC 8285, section 4.3); a larger one fails when the first packet is written
    ids = [extension.id for extension in media.rtp.headerExtensions]
    if not all(0 < identifier < 256 for identifier in ids) or len(set(ids)) != len(ids):
        raise SignallingError(f"{name}: expected identifiers of 1 to 255 in a=extmap, each another", 422)
    try:
        common = find_common_codecs(CODECS[media.kind], media.rtp.codecs)
    except Exception as exc:  # parameters without a value, names without a slash
        raise SignallingError(f"{name}: its codecs make no sense ({_reason(exc)})", 422) from exc
    if all(is_rtx(codec) for codec in common):
        raise SignallingError(f"{name}: names no codec that is known here; {_KNOWN_CODECS[media.kind]} are", 422)


def with_bitrate_hints(answer_sdp: str, config: RtcConfig) -> str:
    """Tell Chrome in the answer at how many kbit/s to begin, and between which bounds to stay.

    Chrome reads them from the format parameters of the codec that it sends (`x-google-start-bitrate` and its like);
    aiortc's own feedback would let it begin at 300 kbit/s with a small picture.

    Args:
        answer_sdp: A session description; a hint that it holds already stays as it is.
        config: The bitrates.
    """
    hints = (
        f"x-google-start-bitrate={config.start_bitrate_kbps};x-google-min-bitrate={config.min_bitrate_kbps};"
        f"x-google-max-bitrate={config.max_bitrate_kbps}"
    )
    hinted: list[str] = []
    pending: set[str] = set()
    in_video = False
    for line in answer_sdp.splitlines():
        if line.startswith("m="):
            _add_missing(hinted, pending, hints)
            in_video = line.startswith("m=video ")
        payload = _video_payload(line) if in_video else None
        if payload is not None:
            pending.add(payload)
        elif line.startswith("a=fmtp:") and line[7:].split(" ")[0] in pending:
            pending.discard(line[7:].split(" ")[0])
            if "x-google-start-bitrate" not in line:
                line = f"{line};{hints}"
        hinted.append(line)
    _add_missing(hinted, pending, hints)
    return "\r\n".join(hinted) + "\r\n"


def _video_payload(line: str) -> str | None:
    """The payload type that an a=rtpmap line gives to VP8 or H264, else None."""
    match = re.fullmatch(r"a=rtpmap:(\d+) (?:VP8|H264)/90000", line, re.IGNORECASE)
    return match.group(1) if match else None


def _add_missing(lines: list[str], payloads: set[str], hints: str) -> None:
    """Give format parameters to those payload types of the last section that have none, behind their a=rtpmap."""
    for payload in sorted(payloads):
        at = max(i for i, line in enumerate(lines) if line.startswith(f"a=rtpmap:{payload} "))
        lines.insert(at + 1, f"a=fmtp:{payload} {hints}")
    payloads.clear()
