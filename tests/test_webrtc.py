"""HandTrack: a processed track in two lines, for applications with an aiortc of their own."""

import asyncio
from fractions import Fraction

import pytest
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError

import gest_stream as gs
from gest_stream.errors import InvalidInputError
from gest_stream.testing import ScriptedDetector, ScriptedSegmenter, make_landmarks
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import FrameResult
from tests.sources.test_webrtc import FedTrack, grey


def tracker() -> TrackerCore:
    hand = make_landmarks((80, 60), 60)
    return TrackerCore(ScriptedDetector(lambda seq: [hand]), ScriptedSegmenter())


def test_a_processed_track_shows_the_overlay_and_keeps_pts() -> None:
    async def run() -> tuple[list[tuple[int | None, Fraction, int]], list[FrameResult]]:
        fed, seen, results = FedTrack(), [], list[FrameResult]()
        track = gs.webrtc.HandTrack(fed, tracker=tracker(), on_result=results.append)
        for number in range(6):
            fed.queue.put_nowait(grey(128, number * 3000, (160, 120)))
            picture = await asyncio.wait_for(track.recv(), 10)
            pixel = picture.to_ndarray(format="rgb24")[60, 80].astype(int)
            spread = int(pixel.max() - pixel.min())
            seen.append((picture.pts, Fraction(picture.time_base or 0), spread))
        track.stop()
        await asyncio.wait_for(track.finished(), 10)
        return seen, results

    seen, results = asyncio.run(run())
    assert [(pts, base) for pts, base, _ in seen] == [(n * 3000, Fraction(1, 90_000)) for n in range(6)]
    assert seen[-1][2] > 30  # grey before, coloured where the hand is
    assert results[-1].tracks[0].mask is not None


def test_it_ends_with_the_track_it_takes_from() -> None:
    async def run() -> None:
        fed = FedTrack([grey(128, 0, (160, 120))])
        track = gs.webrtc.HandTrack(fed, tracker=tracker())
        await asyncio.wait_for(track.recv(), 10)
        fed.queue.put_nowait(None)
        with pytest.raises(MediaStreamError):
            while True:
                await asyncio.wait_for(track.recv(), 10)
        await asyncio.wait_for(track.finished(), 10)
        assert track.readyState == "ended" and track.error is None

    asyncio.run(run())


def test_an_error_of_the_models_ends_it_and_is_kept() -> None:
    def fail(seq: int) -> list[gs.HandLandmarks]:
        raise gs.ModelError("the model broke")

    async def run() -> BaseException | None:
        broken = TrackerCore(ScriptedDetector(fail), ScriptedSegmenter())
        track = gs.webrtc.HandTrack(FedTrack([grey(128, 0, (160, 120))]), tracker=broken)
        with pytest.raises(MediaStreamError):
            await asyncio.wait_for(track.recv(), 10)
        await asyncio.wait_for(track.finished(), 10)
        return track.error

    assert str(asyncio.run(run())) == "the model broke"


def test_only_a_track_of_pictures_is_taken() -> None:
    async def run() -> None:
        gs.webrtc.HandTrack(AudioStreamTrack())

    with pytest.raises(InvalidInputError, match="expected a video track, got one of audio"):
        asyncio.run(run())
