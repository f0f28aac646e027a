"""ICE candidates from session descriptions and from the fragments that peers trickle."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from aiortc import RTCIceCandidate
from aiortc.sdp import candidate_from_sdp

from gest_stream.errors import SignallingError

MAX_CANDIDATES = 64
"""Candidates in one description or fragment; a client sends a few for each of its network interfaces."""

_MDNS_NAME = re.compile(r"[A-Za-z0-9-]{1,63}\.local")
_TOKEN = re.compile(r"[!#-'*+\-.0-9A-Z^-~]{1,64}")
_DIRECTIONS = ("a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive")


@dataclass(frozen=True, slots=True)
class TrickledCandidates:
    """What a peer says of where it can be reached.

    Args:
        candidates: Those that can be used, each with its `sdpMid`.
        complete: Whether the peer says that there will be no more.
        ufrag: ICE user name that they belong to; None where the peer does not say.
    """

    candidates: tuple[RTCIceCandidate, ...]
    complete: bool
    ufrag: str | None = None


@dataclass(frozen=True, slots=True)
class BareDescription:
    """A session description without candidates, and the candidates.

    Args:
        sdp: The description. Every m-section says its direction.
        trickled: The candidates that were in it.
    """

    sdp: str
    trickled: TrickledCandidates


def is_mid(text: str) -> bool:
    """Whether `text` can name an m-section: a token (RFC 8866, section 9) of up to 64 characters."""
    return _TOKEN.fullmatch(text) is not None


def is_name(candidate: RTCIceCandidate) -> bool:
    """Whether a candidate hides its address behind an mDNS name, which must be resolved first."""
    return _MDNS_NAME.fullmatch(candidate.ip) is not None


def parse_fragment(fragment: str, mids: Sequence[str], max_bytes: int) -> TrickledCandidates:
    """Read a body of `application/trickle-ice-sdpfrag` (RFC 8840, section 9).

    Candidates that cannot be used here (TCP, RTCP's component, host names) are left out.

    Args:
        fragment: The body.
        mids: The m-sections of the session.
        max_bytes: Of the body.

    Raises:
        SignallingError: It is no fragment (400), too large (413), or names sections that the session lacks (422).
    """
    lines = text_lines(fragment, max_bytes, "the fragment")
    if not lines or any(len(line) < 2 or line[1] != "=" for line in lines):
        raise SignallingError("the fragment: expected lines of 'a=candidate:…' and their like", 400)
    mid: str | None = None
    ufrag: str | None = None
    complete = False
    found = []
    for line in lines:
        if line.startswith("m="):
            mid = None
        elif line.startswith("a=mid:"):
            mid = line[6:].strip()
            if mid not in mids:
                raise SignallingError(f"the fragment: there is no m-section {mid[:64]!r} in this session", 422)
        elif line.startswith("a=ice-ufrag:"):
            ufrag = line[12:].strip()
        elif line.startswith("a=end-of-candidates"):
            complete = True
        elif line.startswith("a=candidate:"):
            if mid is None:
                raise SignallingError("the fragment: a candidate stands before any a=mid line", 400)
            found.append((mid, line))
    return TrickledCandidates(_usable(found, "the fragment"), complete, ufrag)


def split_description(sdp: str, what: str) -> BareDescription:
    """Take the candidates out of a session description, so that answering it need not wait for them.

    Args:
        sdp: A description that was checked.
        what: What messages call it.

    Raises:
        SignallingError: A candidate makes no sense (400), or there are too many (422).
    """
    session, *sections = _sections(sdp.splitlines())
    default = next((line for line in session if line in _DIRECTIONS), "a=sendrecv")
    kept = list(session)
    found = []
    complete = False
    for section in sections:
        mid = next((line[6:].strip() for line in section if line.startswith("a=mid:")), "")
        found += [(mid, line) for line in section if line.startswith("a=candidate:")]
        complete |= any(line.startswith("a=end-of-candidates") for line in section)
        bare = [line for line in section if not line.startswith(("a=candidate:", "a=end-of-candidates"))]
        if not any(line in _DIRECTIONS for line in bare):
            bare.append(default)
        kept += bare
    ufrag = next((line[12:].strip() for line in kept if line.startswith("a=ice-ufrag:")), None)
    return BareDescription("\r\n".join(kept) + "\r\n", TrickledCandidates(_usable(found, what), complete, ufrag))


def text_lines(text: str, max_bytes: int, what: str) -> list[str]:
    """The lines of a text that a peer sent.

    Args:
        text: What it sent.
        max_bytes: How long it may be, as UTF-8.
        what: What messages call it.

    Raises:
        SignallingError: It is too long (413) or is not text (400).
    """
    if len(text) > max_bytes or len(text.encode("utf-8", "replace")) > max_bytes:
        raise SignallingError(f"{what}: is longer than {max_bytes} bytes", 413)
    if not all(char.isprintable() or char in "\r\n\t" for char in text):
        raise SignallingError(f"{what}: holds control characters, so it is no text", 400)
    return text.splitlines()


def _sections(lines: Sequence[str]) -> Iterator[list[str]]:
    """The lines before the first m-line, then those of each m-section."""
    current: list[str] = []
    for line in lines:
        if line.startswith("m="):
            yield current
            current = []
        current.append(line)
    yield current


def _usable(found: Sequence[tuple[str, str]], what: str) -> tuple[RTCIceCandidate, ...]:
    if len(found) > MAX_CANDIDATES:
        raise SignallingError(f"{what}: {len(found)} candidates; at most {MAX_CANDIDATES} are taken at once", 422)
    usable = []
    for mid, line in found:
        try:
            candidate = candidate_from_sdp(line.removeprefix("a=candidate:"))
        except Exception as exc:  # asserts, index and number errors, whatever the parser meets
            raise SignallingError(f"{what}: {line[:100]!r} is no ICE candidate", 400) from exc
        candidate.sdpMid = mid
        if _is_usable(candidate):
            usable.append(candidate)
    return tuple(usable)


def _is_usable(candidate: RTCIceCandidate) -> bool:
    """Whether aioice can send to it; what it cannot use fails late, inside of its tasks."""
    if candidate.component != 1 or candidate.protocol.lower() != "udp" or not 0 < candidate.port < 65_536:
        return False
    if candidate.type not in ("host", "srflx", "relay"):
        return False
    if is_name(candidate):
        return True
    try:
        address = ipaddress.ip_address(candidate.ip)
    except ValueError:
        return False
    scoped = isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None
    return not (scoped or address.is_multicast or address.is_unspecified)
