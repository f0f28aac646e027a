from __future__ import annotations

import random
from collections.abc import Iterable

from aiortc.jitterbuffer import JitterBuffer
from aiortc.rtp import RtpPacket

from gest_stream.rtc.jitter import MarkedFrame, MarkerJitterBuffer

_Frame = tuple[int, bytes]


def _packet(sequence: int, timestamp: int, data: bytes, marker: bool = False) -> RtpPacket:
    packet = RtpPacket(97, int(marker), sequence % 2**16, timestamp % 2**32)
    packet._data = data  # type: ignore[attr-defined]  # as aiortc's receiver does
    return packet


def _stream(frames: int, packets: int, first: int = 0, markers: bool = True) -> list[RtpPacket]:
    """Frames of so many packets each, whose data is the sequence number as two bytes."""
    return [
        _packet(sequence, frame * 3000, (sequence % 2**16).to_bytes(2, "big"), markers and part == packets - 1)
        for frame in range(frames)
        for part in range(packets)
        for sequence in [first + frame * packets + part]
    ]


def _buffer(capacity: int = 64) -> MarkerJitterBuffer:
    return MarkerJitterBuffer(capacity, is_video=True)


def _given(buffer: MarkerJitterBuffer, packets: Iterable[RtpPacket]) -> list[list[_Frame]]:
    """What comes out after each packet."""
    out = []
    for packet in packets:
        frame = buffer.add(packet)[1]
        frames = [] if frame is None else [frame]
        while (further := buffer.next_frame()) is not None:
            frames.append(further)
        out.append([(frame.timestamp, frame.data) for frame in frames])
    return out


def _expected(packets: Iterable[RtpPacket]) -> list[_Frame]:
    whole: dict[int, bytes] = {}
    for packet in packets:
        whole[packet.timestamp] = whole.get(packet.timestamp, b"") + packet._data  # type: ignore[attr-defined]
    return list(whole.items())


def test_a_frame_is_given_out_with_its_marked_packet() -> None:
    packets = _stream(2, 3)
    assert [len(frames) for frames in _given(_buffer(), packets)] == [0, 0, 1, 0, 0, 1]


def test_aiortcs_own_buffer_waits_for_the_next_frame() -> None:
    buffer = JitterBuffer(64, is_video=True)
    assert [buffer.add(packet)[1] is not None for packet in _stream(2, 3)] == [False, False, False, True, False, False]


def test_a_frame_of_one_packet_is_given_out_at_once() -> None:
    assert [len(frames) for frames in _given(_buffer(), _stream(4, 1))] == [1, 1, 1, 1]


def test_reordered_packets_make_the_same_frames() -> None:
    packets = _stream(30, 4)
    for seed in range(20):
        shuffled = packets[:1]  # what comes first is where the buffer begins
        rest = packets[1:]
        rng = random.Random(seed)
        for start in range(0, len(rest), 6):
            window = rest[start : start + 6]
            rng.shuffle(window)
            shuffled += window
        assert sum(_given(_buffer(), shuffled), []) == _expected(packets), seed


def test_a_late_packet_gives_out_every_frame_that_waited_for_it() -> None:
    packets = _stream(3, 2)
    late = packets.pop(1)
    assert _given(_buffer(), [*packets, late])[-1] == _expected(_stream(3, 2))


def test_a_lost_packet_holds_the_frames_behind_it_until_the_buffer_is_full() -> None:
    packets = _stream(20, 2)
    del packets[1]
    buffer = _buffer(capacity=16)
    out = []
    asks = []
    for packet in packets:
        ask, frame = buffer.add(packet)
        asks.append(ask)
        out += [] if frame is None else [frame.timestamp]
        while (further := buffer.next_frame()) is not None:
            out.append(further.timestamp)
    assert out == [frame * 3000 for frame in range(1, 20)]
    assert sum(asks) == 1


def test_what_is_missing_is_known_until_it_comes_or_is_given_up() -> None:
    buffer, packets = _buffer(), _stream(4, 3, first=65_533)
    for packet in (packets[0], packets[1], packets[4], packets[5]):
        buffer.add(packet)
    assert buffer.missing == [65_535, 0]
    _given(buffer, [packets[3]])
    assert buffer.missing == [65_535]
    assert _given(buffer, [packets[2]])[0] == _expected(packets)[:2]
    assert buffer.missing == []


def test_frames_behind_a_loss_that_was_given_up_say_so_once() -> None:
    buffer, packets = _buffer(), _stream(4, 3)
    out = _given(buffer, packets[:1] + packets[2:9])  # of the first frame one packet is lost
    assert sum(out, []) == [] and buffer.missing == [1]
    buffer.give_up()
    frames = []
    while (frame := buffer.next_frame()) is not None:
        frames.append(frame)
    assert [(frame.timestamp, frame.follows_loss) for frame in frames] == [(3000, True), (6000, False)]
    assert buffer.missing == []
    assert sum(_given(buffer, packets[9:]), []) == _expected(packets)[3:]


def test_a_loss_in_the_newest_frame_may_be_given_up() -> None:
    buffer, packets = _buffer(), _stream(4, 3)
    assert sum(_given(buffer, [*packets[:3], packets[3], packets[5]]), []) == _expected(packets)[:1]
    buffer.give_up()
    assert buffer.missing == []
    assert sum(_given(buffer, packets[6:]), []) == _expected(packets)[2:]


def test_frames_behind_an_overflow_say_so() -> None:
    buffer, packets = _buffer(capacity=16), _stream(8, 4)
    flags = []
    for packet in packets[:1] + packets[2:]:
        frame = buffer.add(packet)[1]
        while isinstance(frame, MarkedFrame):
            flags.append((frame.timestamp, frame.follows_loss))
            frame = buffer.next_frame()
    assert flags[0][1] and not any(lost for _, lost in flags[1:])


def test_sequence_numbers_and_timestamps_may_wrap() -> None:
    packets = [
        _packet(65_533 + i, 2**32 - 3000 + i // 3 * 3000, bytes([i]), i % 3 == 2)  # the second frame begins at 0
        for i in range(9)
    ]
    assert sum(_given(_buffer(), packets), []) == [
        (2**32 - 3000, b"\0\1\2"),
        (0, b"\3\4\5"),
        (3000, b"\6\7\x08"),
    ]


def test_without_markers_a_frame_ends_where_the_next_begins() -> None:
    packets = _stream(4, 3, markers=False)
    assert sum(_given(_buffer(), packets), []) == _expected(packets)[:3]


def test_a_lost_marker_costs_no_frame() -> None:
    packets = _stream(4, 3)
    packets[5].marker = 0
    assert sum(_given(_buffer(), packets), []) == _expected(packets)


def test_markers_in_the_middle_of_frames_are_found_out() -> None:
    packets = _stream(6, 4)
    for packet in packets[1::4]:
        packet.marker = 1
    out = sum(_given(_buffer(), packets), [])
    whole = _expected(packets)
    assert out[0] == (0, whole[0][1][:4])  # the first is cut in two
    assert out[2:] == whole[1:5]  # and no other


def test_a_stream_may_begin_in_the_middle_of_a_frame() -> None:
    packets = _stream(3, 4)[2:]
    assert sum(_given(_buffer(), packets), []) == _expected(packets)


def test_padding_behind_a_frame_is_no_frame() -> None:
    packets = _stream(3, 2, first=0)
    padded = [
        *packets[:2],
        _packet(2, 0, b""),
        _packet(3, 0, b""),
        *(_packet(i + 4, 3000 + i // 2 * 3000, b"x", i % 2 == 1) for i in range(4)),
    ]
    assert _given(_buffer(), padded) == [[], [_expected(packets)[0]], [], [], [], [(3000, b"xx")], [], [(6000, b"xx")]]


def test_a_frame_knows_its_payload_type() -> None:
    for markers in (True, False):
        buffer = _buffer()
        frames = [buffer.add(packet)[1] for packet in _stream(2, 2, markers=markers)]
        assert {getattr(frame, "payload_type", None) for frame in frames if frame is not None} == {97}


def test_audio_is_given_out_as_aiortc_does() -> None:
    packets = [_packet(i, i * 960, bytes([i]), marker=i == 0) for i in range(20)]
    ours, theirs = MarkerJitterBuffer(16, prefetch=4), JitterBuffer(16, prefetch=4)
    given = [ours.add(packet)[1] for packet in packets]
    wanted = [theirs.add(packet)[1] for packet in packets]
    assert [frame and (frame.timestamp, frame.data) for frame in given] == [
        frame and (frame.timestamp, frame.data) for frame in wanted
    ]
    assert any(wanted)
