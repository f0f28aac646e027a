"""An outgoing track that is fed: what a slow taker loses, and how it ends."""

import asyncio

import pytest
from aiortc.mediastreams import MediaStreamError
from av import AudioFrame

from gest_stream.rtc.outgoing import FedTrack


def sound(pts: int) -> AudioFrame:
    frame = AudioFrame(format="s16", layout="mono", samples=960)
    frame.pts = pts
    return frame


def test_a_slow_taker_loses_the_oldest_and_it_is_counted() -> None:
    async def run() -> tuple[list[int], int, int]:
        track = FedTrack("audio", 3)
        for pts in range(5):
            track.feed(sound(pts))
        taken = [(await track.recv()).pts, (await track.recv()).pts]
        lost = track.dropped
        track.stop()
        return taken, lost, track.dropped

    assert asyncio.run(run()) == ([2, 3], 2, 3)


def test_a_taker_that_waits_learns_of_the_end_and_the_owner_once() -> None:
    async def run() -> list[FedTrack]:
        ended: list[FedTrack] = []
        track = FedTrack("audio", 3, ended.append)
        taking = asyncio.create_task(track.recv())
        await asyncio.sleep(0)
        track.stop()
        track.stop()
        with pytest.raises(MediaStreamError):
            await taking
        return ended

    [track] = asyncio.run(run())
    assert track.readyState == "ended"
