from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable

import av
from aiortc import MediaStreamTrack, RTCPeerConnection
from aiortc.rtp import RtpPacket

from gest_stream.rtc.media import MediaReceiver
from gest_stream.rtc.offer import OfferPurpose
from tests.rtc.peers import bar_number, connected_pair


async def _received(loses: Callable[[RtpPacket, int], bool], seconds: float) -> list[tuple[float, int]]:
    """When which pictures came over a network that loses packets; `loses` gets each with the number it stands for."""
    tracks: list[MediaStreamTrack] = []

    def take(connection: RTCPeerConnection) -> None:
        receiver = connection.getReceivers()[0]
        assert isinstance(receiver, MediaReceiver)
        tracks.append(receiver.track)
        rest = receiver._handle_rtp_packet

        async def handle(packet: RtpPacket, arrival_time_ms: int) -> None:
            repeated = packet.ssrc in receiver._private("rtx_ssrc")
            number = int.from_bytes(packet.payload[:2], "big") if repeated else packet.sequence_number
            if not loses(packet, number):
                await rest(packet, arrival_time_ms)

        receiver._handle_rtp_packet = handle  # type: ignore[method-assign]

    seen = []
    async with connected_pair(OfferPurpose.PUBLISH, before_answer=take):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            frame = await asyncio.wait_for(tracks[0].recv(), 5)
            assert isinstance(frame, av.VideoFrame)
            seen.append((time.monotonic(), bar_number(frame)))
    return seen


def _longest_wait_s(seen: list[tuple[float, int]]) -> float:
    return max(later - earlier for (earlier, _), (later, _) in zip(seen, seen[1:], strict=False))


def test_a_packet_that_never_comes_stops_the_picture_for_less_than_a_second() -> None:
    packets = 0
    lost: set[int] = set()

    def loses(_: RtpPacket, number: int) -> bool:
        nonlocal packets
        packets += 1
        if packets == 40:
            lost.add(number)
        return number in lost  # with all its repetitions

    seen = asyncio.run(_received(loses, 2.5))
    numbers = [number for _, number in seen]
    assert lost and 0.4 < _longest_wait_s(seen) < 1.2
    assert numbers == sorted(set(numbers)) and numbers[-1] > 40


def test_the_picture_goes_on_over_a_network_that_loses_a_packet_in_twenty() -> None:
    rng = random.Random(5)
    seen = asyncio.run(_received(lambda packet, number: rng.random() < 0.05, 2.5))
    numbers = [number for _, number in seen]
    assert numbers == sorted(set(numbers))  # none is broken, none comes twice
    assert len(numbers) > 40
    assert _longest_wait_s(seen) < 1.2
