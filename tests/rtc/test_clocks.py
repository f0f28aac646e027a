from __future__ import annotations

import asyncio
import statistics
import time
from fractions import Fraction

import av
import pytest
from aiortc import MediaStreamTrack, RTCPeerConnection
from aiortc.rtp import RtpPacket

from gest_stream.rtc.clocks import ReceiverClock, SenderClock, SenderReports
from gest_stream.rtc.media import MediaReceiver
from gest_stream.rtc.offer import OfferPurpose
from tests.rtc.peers import BarTrack, bar_number, connected_pair, until

_NOW_MS = 1_790_000_000_000.0


def _ntp(unix_ms: float) -> int:
    return round((unix_ms / 1000 + 2_208_988_800) * 2**32)


def _reports(*reports: tuple[float, int]) -> SenderReports:
    made = SenderReports()
    for after_ms, rtp in reports:
        made.add(_ntp(_NOW_MS + after_ms), rtp % 2**32)
    return made


def _after_ms(reports: SenderReports, rtp: int) -> float:
    at = reports.unix_ms(rtp % 2**32)
    assert at is not None
    return at - _NOW_MS


def test_nothing_is_known_before_a_report() -> None:
    assert SenderReports().unix_ms(0) is None


def test_a_report_without_a_clock_is_passed_over() -> None:
    reports = SenderReports()
    reports.add(0, 0)
    assert reports.unix_ms(0) is None


def test_times_are_counted_from_the_report() -> None:
    reports = _reports((0, 5000))
    assert _after_ms(reports, 5000) == pytest.approx(0, abs=0.01)
    assert _after_ms(reports, 5000 + 9000) == pytest.approx(100, abs=0.01)
    assert _after_ms(reports, 5000 - 900) == pytest.approx(-10, abs=0.01)


@pytest.mark.parametrize("rtp", [2**32 - 1, 2**32 - 90_000, 2**31 - 45_000, 0])
def test_timestamps_may_wrap_between_report_and_frame(rtp: int) -> None:
    reports = _reports(*((second * 1000, rtp + second * 90_000) for second in range(5)))
    for after_ms in (-1500, 0, 33, 4000, 60_000):
        assert _after_ms(reports, rtp + after_ms * 90) == pytest.approx(after_ms, abs=0.01)


@pytest.mark.parametrize("wrong", [(5_000_000.0, 3 * 90_000), (3000.0, 77_777_777), (-9e8, 2**31)])
@pytest.mark.parametrize("place", [1, 2, 3, 4, 5])
def test_a_single_wrong_report_changes_nothing(wrong: tuple[float, int], place: int) -> None:
    right = [(second * 1000.0, second * 90_000) for second in range(place)]
    reports = _reports(*right, wrong, *(right[-1:] if place > 1 else ()))
    assert _after_ms(reports, 450_000) == pytest.approx(5000, abs=0.01)


def test_a_clock_that_was_set_is_followed() -> None:
    reports = _reports(
        *((s * 1000, s * 90_000) for s in range(5)), *((s * 1000 + 700, s * 90_000) for s in range(5, 9))
    )
    assert _after_ms(reports, 9 * 90_000) == pytest.approx(9700, abs=0.01)


async def _seen(seconds: float) -> tuple[list[tuple[int, float]], list[float | None], dict[int, int], dict[int, int]]:
    """Run a pair for a while: (number, error in ms), first capture times, and RTP timestamps by number at both ends."""
    track = BarTrack()
    received: list[MediaStreamTrack] = []
    wire: list[int] = []
    early: list[float | None] = []
    errors, told, seen = [], {}, {}

    def take(connection: RTCPeerConnection) -> None:
        receiver = connection.getTransceivers()[0].receiver
        assert isinstance(receiver, MediaReceiver)
        received.append(receiver.track)
        whole = receiver._handle_rtp_packet

        async def note(packet: RtpPacket, arrival_time_ms: int) -> None:
            wire.append(packet.timestamp)
            await whole(packet, arrival_time_ms)

        receiver._handle_rtp_packet = note  # type: ignore[method-assign]

    async with connected_pair(OfferPurpose.PUBLISH, track=track, before_answer=take) as (client, server):
        sender = SenderClock(client.getSenders()[0])
        clock = ReceiverClock(server.getReceivers()[0])
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            frame = await received[0].recv()
            assert isinstance(frame, av.VideoFrame) and frame.pts is not None
            number = bar_number(frame)
            pts = number * 3000
            captured = clock.capture_time_ms(frame.pts)
            if captured is None:
                early.append(captured)
            else:
                errors.append((number, captured - track.sent[pts]))
            rtp = clock.rtp_timestamp(frame.pts)
            assert rtp is not None and rtp in wire
            seen[number] = rtp
            await until(lambda: sender.rtp_timestamp(0, Fraction(1, 90_000)) is not None)
            stamp = sender.rtp_timestamp(pts, Fraction(1, 90_000))
            assert stamp is not None
            assert sender.rtp_timestamp(number, Fraction(1, 30)) == stamp
            told[number] = stamp
    return errors, early, told, seen


def test_both_ends_agree_on_the_timestamp_of_every_frame_and_on_when_it_was_captured() -> None:
    errors, early, told, seen = asyncio.run(_seen(2.5))
    assert len(seen) > 20 and told == seen
    assert early, "there is no report before the first frame"
    assert len(errors) > 5
    assert abs(statistics.median(error for _, error in errors)) < 50


def test_a_sender_that_has_sent_nothing_knows_no_timestamp() -> None:
    async def run() -> tuple[int | None, float | None]:
        connection = RTCPeerConnection()
        transceiver = connection.addTransceiver("video")
        try:
            stamp = SenderClock(transceiver.sender).rtp_timestamp(0, Fraction(1, 90_000))
            return stamp, ReceiverClock(transceiver.receiver).capture_time_ms(0)
        finally:
            await connection.close()

    assert asyncio.run(run()) == (None, None)
