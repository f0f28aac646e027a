from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gest_stream.errors import SignallingError
from gest_stream.rtc.candidates import parse_fragment, split_description
from gest_stream.rtc.offer import TrickledCandidates
from tests.rtc.test_offer import recorded

_MIDS = ("0", "1")
_LIMIT = 65_536
_FRAGMENT = (
    "a=ice-ufrag:EsAw\r\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\r\nm=audio 9 RTP/AVP 0\r\na=mid:0\r\n"
    "a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1\r\n"
    "a=candidate:3471623853 1 udp 2122194687 198.51.100.2 61765 typ srflx raddr 10.0.0.1 rport 9\r\n"
    "a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active\r\n"
    "m=video 9 RTP/AVP 0\r\na=mid:1\r\n"
    "a=candidate:1 1 UDP 1 00ddf12c-82ff-41d1-9c97-092b60c4f1ef.local 5000 typ host\r\n"
    "a=end-of-candidates\r\n"
)
"""As in RFC 8840, section 9.1, with an mDNS name."""


def _parsed(fragment: str) -> TrickledCandidates:
    return parse_fragment(fragment, _MIDS, _LIMIT)


def _one(candidate: str) -> TrickledCandidates:
    return _parsed(f"a=mid:0\r\na=candidate:{candidate}\r\n")


def test_a_fragment_is_read() -> None:
    trickled = _parsed(_FRAGMENT)
    assert [(c.sdpMid, c.ip, c.port, c.type) for c in trickled.candidates] == [
        ("0", "192.0.2.1", 61764, "host"),
        ("0", "198.51.100.2", 61765, "srflx"),
        ("1", "00ddf12c-82ff-41d1-9c97-092b60c4f1ef.local", 5000, "host"),
    ]
    assert trickled.complete and trickled.ufrag == "EsAw"


def test_a_fragment_may_only_say_that_there_is_no_more() -> None:
    assert _parsed("a=end-of-candidates\r\n") == TrickledCandidates((), True)
    assert not _parsed("a=mid:0\r\n").complete


@pytest.mark.parametrize(
    "candidate",
    [
        "1 1 tcp 1 192.0.2.1 9 typ host tcptype active",
        "1 2 udp 1 192.0.2.1 9 typ host",
        "1 1 udp 1 192.0.2.1 0 typ host",
        "1 1 udp 1 192.0.2.1 65536 typ host",
        "1 1 udp 1 192.0.2.1 -1 typ host",
        "1 1 udp 1 192.0.2.1 9 typ prflx",
        "1 1 udp 1 192.0.2.1 9 typ nonsense",
        "1 1 udp 1 internal.example.com 9 typ host",
        "1 1 udp 1 a.b.local 9 typ host",
        "1 1 udp 1 0.0.0.0 9 typ host",
        "1 1 udp 1 :: 9 typ host",
        "1 1 udp 1 224.0.0.251 5353 typ host",
        "1 1 udp 1 ff02::fb 5353 typ host",
        "1 1 udp 1 fe80::1%eth0 9 typ host",
        "1 1 udp 1 999.1.1.1 9 typ host",
    ],
)
def test_a_candidate_that_cannot_be_used_is_left_out(candidate: str) -> None:
    assert _one(candidate).candidates == ()


def test_a_candidate_of_ipv6_is_taken() -> None:
    assert [candidate.ip for candidate in _one("1 1 udp 1 2001:db8::1 9 typ host").candidates] == ["2001:db8::1"]


@pytest.mark.parametrize(
    ("fragment", "status"),
    [
        ("", 400),
        ("hello", 400),
        ("a=mid:0\r\na=candidate:x\r\n", 400),
        ("a=mid:0\r\na=candidate:1 one udp 1 192.0.2.1 9 typ host\r\n", 400),
        ("a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n", 400),
        ("a=mid:0\r\nm=video 9 RTP/AVP 0\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n", 400),
        ("a=mid:0\r\n\0", 400),
        ("a=mid:7\r\n", 422),
        ("a=mid:0\r\n" + "a=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n" * 65, 422),
        ("a=mid:0\r\n" * 10_000, 413),
    ],
)
def test_what_is_no_fragment_of_this_session_is_refused(fragment: str, status: int) -> None:
    with pytest.raises(SignallingError) as caught:
        _parsed(fragment)
    assert caught.value.status == status
    assert len(str(caught.value)) < 300


_LINES = _FRAGMENT.splitlines()
_LINE = st.one_of(st.sampled_from(_LINES), st.text(max_size=60), st.text(max_size=60).map("a=candidate:{}".format))


@settings(max_examples=150, deadline=None)
@given(st.lists(_LINE, max_size=30))
def test_a_mutilated_fragment_is_taken_or_refused_and_nothing_else(lines: list[str]) -> None:
    try:
        trickled = _parsed("\r\n".join(lines))
    except SignallingError as exc:
        assert exc.status in (400, 413, 422)
    else:
        assert all(candidate.sdpMid in _MIDS for candidate in trickled.candidates)


def test_a_description_is_parted_from_its_candidates() -> None:
    offer = recorded("chrome_loop") + "a=end-of-candidates\r\n"
    bare = split_description(offer, "the offer")
    assert [line for line in offer.splitlines() if line not in bare.sdp.splitlines()] == [
        line for line in offer.splitlines() if line.startswith(("a=candidate:", "a=end-of-candidates"))
    ]
    assert [candidate.sdpMid for candidate in bare.trickled.candidates] == ["0", "0", "1", "1"]
    assert bare.trickled.complete and bare.trickled.ufrag == "NmkG"
