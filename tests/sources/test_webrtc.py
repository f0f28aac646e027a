import asyncio
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from aiortc.mediastreams import AudioStreamTrack, MediaStreamError, MediaStreamTrack

from gest_stream.errors import SourceError, SourceLostError, SourceOpenError
from gest_stream.interfaces import Source
from gest_stream.sources.webrtc import TrackSource
from gest_stream.types import Frame

RTP = Fraction(1, 90_000)


def grey(value: int, pts: int, size: tuple[int, int] = (32, 24)) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), value, np.uint8), "rgb24").reformat(
        format="yuv420p"
    )
    frame.pts, frame.time_base = pts, RTP
    return frame


class FedTrack(MediaStreamTrack):
    """A track that gives what it is fed; None ends it."""

    kind = "video"

    def __init__(self, frames: Iterable[av.VideoFrame | None] = ()) -> None:
        super().__init__()
        self.queue: asyncio.Queue[av.VideoFrame | None] = asyncio.Queue()
        self.taken = 0
        for frame in frames:
            self.queue.put_nowait(frame)

    async def recv(self) -> Any:
        frame = await self.queue.get()
        if frame is None:
            self.stop()
            raise MediaStreamError
        self.taken += 1
        return frame


async def settled(track: FedTrack) -> None:
    """Wait until everything that was fed was taken."""
    while not track.queue.empty():  # noqa: ASYNC110
        await asyncio.sleep(0)
    await asyncio.sleep(0)


def test_it_is_a_live_source_of_the_tracks_size() -> None:
    async def run() -> None:
        async with TrackSource(FedTrack([grey(10, 0, (64, 48))]), "cam") as source:
            assert isinstance(source, Source)
            assert (source.info.live, source.info.size, source.info.name) == (True, (64, 48), "cam")
            assert source.audio is None

    asyncio.run(run())


def test_frames_keep_their_pts_and_time_base_and_colour() -> None:
    async def run() -> Frame:
        track = FedTrack([grey(200, 123_456)])
        async with TrackSource(track) as source:
            async for frame in source:
                return frame
        raise AssertionError

    frame = asyncio.run(run())
    assert (frame.pts, frame.time_base) == (123_456, RTP)
    assert frame.image.shape == (24, 32, 3)
    assert np.abs(frame.image.astype(int) - 200).max() <= 2


def test_the_newest_frame_is_given_and_the_others_are_counted_as_dropped() -> None:
    async def run() -> tuple[list[int], list[int], int]:
        track = FedTrack([grey(0, 0)])
        async with TrackSource(track) as source:
            frames = aiter(source)
            given = [await anext(frames)]
            for number in range(1, 11):
                track.queue.put_nowait(grey(0, number * 3000))
            await settled(track)
            given.append(await anext(frames))
            return [frame.pts for frame in given], [frame.seq for frame in given], source.dropped

    pts, seq, dropped = asyncio.run(run())
    assert pts == [0, 30_000]
    assert seq == [0, 10]
    assert dropped == 9


def test_the_tracks_queue_is_emptied_although_nobody_takes_frames() -> None:
    async def run() -> int:
        track = FedTrack([grey(0, number * 3000) for number in range(200)])
        async with TrackSource(track):
            await settled(track)
            return track.taken

    assert asyncio.run(run()) == 200


def test_it_ends_with_the_track() -> None:
    async def run() -> list[int]:
        async with TrackSource(FedTrack([grey(0, 0), None])) as source:
            return [frame.pts async for frame in source]

    assert asyncio.run(run()) in ([0], [])  # the end may overtake the newest frame


class FailingTrack(FedTrack):
    """A track that fails where it should end."""

    async def recv(self) -> Any:
        try:
            return await super().recv()
        except MediaStreamError:
            raise KeyError("a filter's bug") from None


def test_a_track_that_fails_is_an_error_and_not_the_end() -> None:
    async def run() -> None:
        track = FailingTrack([grey(10, 0)])
        async with TrackSource(track, "cam") as source:
            track.queue.put_nowait(None)
            async for _ in source:
                pass

    with pytest.raises(SourceError, match='cam: its track failed: KeyError: "a filter\'s bug"') as caught:
        asyncio.run(run())
    assert isinstance(caught.value.__cause__, KeyError)


def test_stop_ends_a_source_that_waits() -> None:
    async def run() -> list[int]:
        async with TrackSource(FedTrack([grey(0, 0)])) as source:
            asyncio.get_running_loop().call_later(0.01, source.stop)
            return [frame.pts async for frame in source]

    assert asyncio.run(asyncio.wait_for(run(), 5)) in ([0], [])


def test_a_track_without_a_first_picture_is_told_with_what_to_check() -> None:
    async def run() -> None:
        async with TrackSource(FedTrack(), "cam", first_frame_timeout_s=0.01):
            pass

    with pytest.raises(SourceOpenError, match=r"cam: connected, but no picture came within 0\.01 s; check"):
        asyncio.run(run())


def test_a_track_that_ends_at_once_is_told() -> None:
    async def run() -> None:
        async with TrackSource(FedTrack([None]), "cam"):
            pass

    with pytest.raises(SourceOpenError, match="cam: the track ended before its first picture"):
        asyncio.run(run())


def test_a_track_that_falls_silent_counts_as_lost() -> None:
    async def run() -> None:
        async with TrackSource(FedTrack([grey(0, 0)]), "cam", idle_after_s=0.02) as source:
            async for _ in source:
                pass

    with pytest.raises(SourceLostError, match=r"cam: no picture came for 0\.02 s"):
        asyncio.run(asyncio.wait_for(run(), 5))


def test_a_track_of_sound_is_refused() -> None:
    async def run() -> None:
        async with TrackSource(AudioStreamTrack(), "cam"):
            pass

    with pytest.raises(SourceError, match="cam: expected a track of pictures, got AudioFrame"):
        asyncio.run(run())


def test_while_paused_frames_are_taken_and_dropped() -> None:
    async def run() -> tuple[int, int, int]:
        track = FedTrack([grey(0, 0)])
        async with TrackSource(track) as source:
            frames = aiter(source)
            await anext(frames)
            source.paused = True
            for number in range(1, 6):
                track.queue.put_nowait(grey(0, number * 3000))
            await settled(track)
            dropped = source.dropped
            source.paused = False
            track.queue.put_nowait(grey(0, 99_000))
            return (await anext(frames)).pts, dropped, track.taken

    assert asyncio.run(run()) == (99_000, 5, 7)


def test_a_paused_source_is_not_lost_while_its_sender_sends() -> None:
    async def run() -> int:
        track = FedTrack([grey(0, 0)])
        async with TrackSource(track, idle_after_s=0.2) as source:
            frames = aiter(source)
            await anext(frames)
            source.paused = True
            waiting = asyncio.ensure_future(anext(frames))
            for number in range(1, 31):  # 0.6 s
                track.queue.put_nowait(grey(0, number * 3000))
                await asyncio.sleep(0.02)
            assert not waiting.done()
            source.paused = False
            track.queue.put_nowait(grey(0, 990_000))
            return (await asyncio.wait_for(waiting, 5)).pts

    assert asyncio.run(run()) == 990_000


@pytest.mark.parametrize(("max_fps", "share"), [(None, 1.0), (60.0, 1.0), (30.0, 1.0), (15.0, 0.5), (20.0, 2 / 3)])
def test_a_cap_on_the_rate_drops_evenly_by_pts(max_fps: float | None, share: float) -> None:
    async def run() -> list[int]:
        track = FedTrack()
        source = TrackSource(track, max_fps=max_fps)
        wanted = []
        for number in range(300):
            if source._is_wanted(grey(0, number * 3000 + (number % 3) * 200)):  # 30 frames a second that jitter
                wanted.append(number)
        return wanted

    wanted = asyncio.run(run())
    assert len(wanted) == pytest.approx(300 * share, abs=2)
    assert max(np.diff(wanted)) <= round(1 / share) + 1


def test_a_clock_that_jumps_does_not_stop_a_capped_source() -> None:
    async def run() -> list[int]:
        source = TrackSource(FedTrack(), max_fps=30)
        times = [*range(0, 30_000, 3000), *range(0, 30_000, 3000), *range(9_000_000, 9_030_000, 3000)]
        return [pts for pts in times if source._is_wanted(grey(0, pts))]

    assert len(asyncio.run(run())) == 30


def test_a_source_serves_one_run() -> None:
    async def run() -> None:
        source = TrackSource(FedTrack([grey(0, 0)]), "cam")
        async with source:
            pass
        async with source:
            pass

    with pytest.raises(SourceError, match="cam: was already used"):
        asyncio.run(run())
