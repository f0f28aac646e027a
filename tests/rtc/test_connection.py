from __future__ import annotations

import asyncio

import av
from aiortc import MediaStreamTrack, RTCPeerConnection

from gest_stream.rtc.offer import OfferPurpose
from tests.rtc.peers import bar_number, connected_pair


def test_a_published_video_arrives_with_its_numbers() -> None:
    async def run() -> list[int]:
        tracks: list[MediaStreamTrack] = []

        def take(connection: RTCPeerConnection) -> None:
            tracks.extend(t.receiver.track for t in connection.getTransceivers())

        async with connected_pair(OfferPurpose.PUBLISH, before_answer=take):
            numbers = []
            for _ in range(10):
                frame = await tracks[0].recv()
                assert isinstance(frame, av.VideoFrame)
                numbers.append(bar_number(frame))
            return numbers

    numbers = asyncio.run(run())
    assert numbers == list(range(numbers[0], numbers[0] + 10))
