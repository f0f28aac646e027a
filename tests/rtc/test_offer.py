from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gest_stream.config import RtcConfig
from gest_stream.errors import SignallingError
from gest_stream.rtc.offer import OfferPurpose, check_offer, with_bitrate_hints

LOOP, PUBLISH, VIEW = OfferPurpose.LOOP, OfferPurpose.PUBLISH, OfferPurpose.VIEW
_FOLDER = Path(__file__).parent / "offers"
_LIMIT = 65_536


def recorded(name: str) -> str:
    """An offer as a client made it: Chrome 156, FFmpeg's WHIP muxer of PyAV 18.1, GStreamer 1.22."""
    return (_FOLDER / f"{name}.sdp").read_text().replace("\n", "\r\n")


_CHROME = recorded("chrome_loop")


def _without(prefix: str, sdp: str = _CHROME) -> str:
    kept = "".join(line for line in sdp.splitlines(True) if not line.startswith(prefix))
    assert kept != sdp
    return kept


def _with(old: str, new: str, sdp: str = _CHROME, count: int = -1) -> str:
    assert old in sdp
    return sdp.replace(old, new, count)


def _section(kind: str, sdp: str = _CHROME) -> str:
    """The m-section of a kind."""
    start = sdp.index(f"m={kind}")
    end = sdp.find("\r\nm=", start)
    return sdp[start:] if end < 0 else sdp[start : end + 2]


def _status(sdp: str, purpose: OfferPurpose = LOOP, max_bytes: int = _LIMIT) -> int:
    try:
        check_offer(sdp, purpose, max_bytes)
    except SignallingError as exc:
        assert str(exc)
        return exc.status
    return 200


@pytest.mark.parametrize(
    ("name", "purpose"),
    [
        ("chrome_loop", LOOP),
        ("chrome_publish", PUBLISH),
        ("chrome_view", VIEW),
        ("ffmpeg_publish", PUBLISH),
        ("gstreamer_publish", PUBLISH),
    ],
)
def test_what_real_clients_offer_is_taken(name: str, purpose: OfferPurpose) -> None:
    check_offer(recorded(name), purpose, _LIMIT)


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_lines_may_end_in_either_way(newline: str) -> None:
    assert _status(_CHROME.replace("\r\n", newline)) == 200


@pytest.mark.parametrize(
    ("direction", "purposes"),
    [
        ("sendrecv", {LOOP, PUBLISH, VIEW}),
        ("sendonly", {PUBLISH}),
        ("recvonly", {VIEW}),
        ("inactive", set()),
    ],
)
def test_the_direction_must_fit_the_purpose(direction: str, purposes: set[OfferPurpose]) -> None:
    offer = _with("a=sendrecv", f"a={direction}")
    assert {purpose for purpose in OfferPurpose if _status(offer, purpose) == 200} == purposes


def test_a_section_without_direction_is_sendrecv_unless_the_session_says_otherwise() -> None:
    offer = _without("a=sendrecv")
    assert _status(offer, LOOP) == 200
    offer = _with("t=0 0\r\n", "t=0 0\r\na=recvonly\r\n", offer)
    assert (_status(offer, LOOP), _status(offer, VIEW)) == (422, 200)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\r\n",
        "hello",
        "{}",
        "v=1\r\n",
        "m=video",
        "v=0\r\nm=video nonsense\r\n",
        "v=0\r\n\x00",
        _CHROME + "\x07",
        "\ud800",
    ],
)
def test_what_is_no_session_description_is_a_bad_request(text: str) -> None:
    assert _status(text) == 400


@pytest.mark.parametrize(
    "offer",
    [
        _with("a=setup:actpass", "a=setup:holdconn"),
        _with("a=rtpmap:96 VP8/90000", "a=rtpmap:96"),
        _with("a=rtpmap:96 VP8/90000", "a=rtpmap:ninety VP8/90000"),
        _with("a=fmtp:97 apt=96", "a=fmtp:7 apt=96"),
        _with("a=fmtp:97 apt=96", "a=fmtp:97 apt=x"),
        _with("c=IN IP4 0.0.0.0", "c=IN"),
        _with("m=video 9", "m=video nine"),
        _with(" 1 udp ", " one udp "),
        _with("a=sctp-port:5000", "a=sctp-port:many"),
        _with("a=extmap:1 ", "a=extmap:"),
    ],
)
def test_lines_that_cannot_be_read_are_a_bad_request(offer: str) -> None:
    assert _status(offer) == 400


@pytest.mark.parametrize(
    ("offer", "says"),
    [
        ("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", "no m-section"),
        (_CHROME + _section("video").replace("a=mid:0", "a=mid:7"), "2 video sections"),
        (_CHROME + _section("application").replace("a=mid:1", "a=mid:7"), "2 application sections"),
        (_with("m=video", "m=text"), "m='text' is not served"),
        (_with(_section("video"), "").replace("BUNDLE 0 1", "BUNDLE 1"), "no video"),
        (_with("a=mid:1", "a=mid:0"), "each another"),
        (_without("a=mid:1"), "each another"),
        (_with("a=mid:1", "a=mid:" + "x" * 65), "each another"),
        (_with("BUNDLE 0 1", "BUNDLE 0 1 2"), "BUNDLE"),
        (_with("BUNDLE 0 1", "BUNDLE 0 0"), "BUNDLE"),
        (_with("BUNDLE 0 1", "BUNDLE 0\r\na=group:BUNDLE 1"), "BUNDLE"),
        (_without("a=ice-ufrag"), "a=ice-ufrag"),
        (_without("a=ice-pwd"), "a=ice-pwd"),
        (_with("a=ice-ufrag:NmkG", "a=ice-ufrag:N"), "a=ice-ufrag"),
        (_with("a=ice-ufrag:NmkG", "a=ice-ufrag:Nm G"), "a=ice-ufrag"),
        (_with("a=ice-ufrag:NmkG", "a=ice-ufrag:" + "x" * 257), "a=ice-ufrag"),
        (_without("a=setup"), "a=setup"),
        (_without("a=fingerprint"), "a=fingerprint"),
        (_with("a=fingerprint:sha-256", "a=fingerprint:md5"), "a=fingerprint"),
        (_with("a=fingerprint:sha-256 44:", "a=fingerprint:sha-256 "), "32 hexadecimal bytes"),
        (_with("a=setup:actpass", "a=setup:actpass\r\n" + "a=fingerprint:sha-256 00\r\n" * 20), "a=fingerprint"),
        (_without("a=rtcp-mux"), "a=rtcp-mux"),
        (_without("a=sctp-port"), "a=sctp-port"),
        (_with("a=sctp-port:5000", "a=sctp-port:0"), "a=sctp-port"),
        (_with("a=sctp-port:5000", "a=sctp-port:99999"), "a=sctp-port"),
        (_with("UDP/DTLS/SCTP", "TCP/DTLS/SCTP"), "UDP/DTLS/SCTP"),
        (_with("a=max-message-size:262144", "a=max-message-size:-1"), "max-message-size"),
        (_with("a=extmap:1 ", "a=extmap:0 "), "a=extmap"),
        (_with("a=extmap:1 ", "a=extmap:256 "), "a=extmap"),
        (_with("a=extmap:1 ", "a=extmap:2 "), "a=extmap"),
        (_with("VP8/", "VP7/").replace("H264/", "H263/"), "no codec that is known"),
        (_with("VP8/", "rtx/").replace("H264/", "rtx/"), "no codec that is known"),
        (_with("packetization-mode=1", "packetization-mode").replace("VP8/", "VP7/"), "codecs make no sense"),
        (_with("t=0 0\r\n", "t=0 0\r\n" + "a=x\r\n" * 1000), "lines"),
        (_with("a=rtcp-mux\r\n", "a=rtcp-mux\r\n" + "a=rtpmap:50 x/1\r\n" * 99), "codecs"),
        (_with("a=rtcp-mux\r\n", "a=rtcp-mux\r\n" + "a=rtpmap:50 x/1\r\n" * 400), "codecs"),
        (_with("a=mid:0\r\n", "a=mid:0\r\n" + "a=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n" * 65), "candidates"),
    ],
)
def test_what_cannot_be_served_is_unprocessable_and_the_message_says_why(offer: str, says: str) -> None:
    with pytest.raises(SignallingError, match=says) as caught:
        check_offer(offer, LOOP, _LIMIT)
    assert caught.value.status == 422
    assert len(str(caught.value)) < 400


def test_audio_is_checked_as_video_is() -> None:
    offer = recorded("chrome_publish")
    assert _status(_with("a=rtcp-mux", "a=x", offer, 1), PUBLISH) == 422
    audio = _section("audio", offer)
    known = ("opus/48000/2", "G722/8000", "PCMU/8000", "PCMA/8000")
    for kept in known:
        changed = audio
        for name in known:
            changed = changed.replace(f" {name}", " other/8000") if name != kept else changed
        assert _status(offer.replace(audio, changed), PUBLISH) == 200, kept
    for name in known:
        audio = audio.replace(f" {name}", " other/8000")
    assert _status(offer.replace(_section("audio", offer), audio), PUBLISH) == 422


def test_an_offer_is_counted_in_bytes() -> None:
    assert _status(_CHROME, max_bytes=len(_CHROME)) == 200
    assert _status(_CHROME, max_bytes=len(_CHROME) - 1) == 413
    named = _with("s=-", "s=éé")
    assert _status(named, max_bytes=len(named)) == 413
    assert _status(named, max_bytes=len(named) + 2) == 200


def test_the_longest_offer_is_refused_or_read_at_once() -> None:
    filler = "a=rtcp-fb:* x\r\n"
    codecs = "".join(f"a=rtpmap:{96 + i % 30} x/1\r\n" for i in range(60))
    room = 990 - len((_CHROME + codecs).splitlines())
    worst = _with("a=rtcp-mux\r\n", "a=rtcp-mux\r\n" + codecs + filler * room)
    started = time.process_time()
    assert _status(worst) == 200
    assert _status(_with("t=0 0\r\n", "t=0 0\r\n" + filler * 5000), max_bytes=2**20) == 422
    assert time.process_time() - started < 2


_LINES = _CHROME.splitlines()
_TEXT = st.text(st.characters(codec="utf-8"), max_size=40)
_EDIT = st.tuples(
    st.sampled_from(["delete", "double", "swap", "replace", "value", "insert", "cut"]),
    st.integers(0, len(_LINES) - 1),
    st.integers(0, len(_LINES) - 1),
    st.one_of(_TEXT, st.sampled_from(["a=", "m=video 0 UDP/TLS/RTP/SAVPF 96", "-1", "99999999999999999999", "0", ":"])),
)


def edited(edits: list[tuple[str, int, int, str]]) -> str:
    """Chrome's offer after some edits of its lines."""
    lines = list(_LINES)
    for kind, at, other, text in edits:
        at, other = at % max(len(lines), 1), other % max(len(lines), 1)
        match kind:
            case "delete" if lines:
                del lines[at]
            case "double":
                lines.insert(other, lines[at] if lines else text)
            case "swap" if lines:
                lines[at], lines[other] = lines[other], lines[at]
            case "replace" if lines:
                lines[at] = text
            case "value" if lines:
                lines[at] = lines[at].partition(":")[0] + ":" + text
            case "cut":
                lines = lines[: max(at, 1)]
            case _:
                lines.insert(at, text)
    return "\r\n".join(lines) + "\r\n"


@settings(max_examples=300, deadline=None)
@given(st.lists(_EDIT, min_size=1, max_size=8), st.sampled_from(OfferPurpose))
@example([("value", 16, 0, "")], LOOP)
def test_a_mutilated_offer_is_taken_or_refused_and_nothing_else(
    edits: list[tuple[str, int, int, str]], purpose: OfferPurpose
) -> None:
    assert _status(edited(edits), purpose) in (200, 400, 413, 422)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_taken_or_refused_and_nothing_else(text: str) -> None:
    assert _status(text) in (400, 413)
    assert _status(f"v=0\r\n{text}") in (400, 413, 422)


_ANSWER = """v=0
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=rtpmap:111 opus/48000/2
a=fmtp:111 minptime=10
m=video 9 UDP/TLS/RTP/SAVPF 96 97 102 103
a=rtpmap:96 VP8/90000
a=rtcp-fb:96 nack
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=rtpmap:102 H264/90000
a=fmtp:102 packetization-mode=1
a=rtpmap:103 rtx/90000
a=fmtp:103 apt=102
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
a=sctp-port:5000
""".replace("\n", "\r\n")
_HINTS = "x-google-start-bitrate=2000;x-google-min-bitrate=500;x-google-max-bitrate=4000"
_RATES = RtcConfig(start_bitrate_kbps=2000, min_bitrate_kbps=500, max_bitrate_kbps=4000)


def test_the_answer_asks_chrome_for_a_bitrate_on_vp8_and_h264_and_nothing_else() -> None:
    before, after = _ANSWER.splitlines(), with_bitrate_hints(_ANSWER, _RATES).splitlines()
    assert [line for line in after if line not in before] == [
        f"a=fmtp:96 {_HINTS}",
        f"a=fmtp:102 packetization-mode=1;{_HINTS}",
    ]
    assert after.index(f"a=fmtp:96 {_HINTS}") > after.index("a=rtpmap:96 VP8/90000")
    assert [line for line in after if line in before] == [line for line in before if not line.startswith("a=fmtp:102")]


def test_hints_are_given_once() -> None:
    once = with_bitrate_hints(_ANSWER, _RATES)
    assert with_bitrate_hints(once, _RATES) == once


def test_an_answer_without_video_stays_as_it_is() -> None:
    answer = _ANSWER.replace("m=video", "m=audio")
    assert with_bitrate_hints(answer, _RATES) == answer
