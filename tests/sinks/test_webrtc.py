import asyncio
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamError

from gest_stream.config import EffectConfig, EffectKind
from gest_stream.errors import ConfigError
from gest_stream.interfaces import Sink
from gest_stream.sinks.webrtc import PictureSink, PictureTrack
from gest_stream.types import FrameResult
from tests.sinks.conftest import info_of, result_at

PLAIN = EffectConfig(labels=False)


async def shown(sink: PictureSink, track: PictureTrack, result: FrameResult) -> av.VideoFrame:
    await sink.write(result)
    return await asyncio.wait_for(track.recv(), 5)


def test_a_track_shows_the_result_with_its_pts_and_colour() -> None:
    async def run() -> av.VideoFrame:
        sink = PictureSink(PLAIN)
        assert isinstance(sink, Sink)
        track = sink.track()
        await sink.open(info_of(), None)
        picture = await shown(sink, track, result_at(77, time_base=Fraction(1, 90_000), colour=(200, 30, 60)))
        await sink.close()
        return picture

    picture = asyncio.run(run())
    assert (picture.pts, picture.time_base, picture.format.name) == (77, Fraction(1, 90_000), "yuv420p")
    assert np.abs(picture.to_ndarray(format="rgb24")[12, 12].astype(int) - (200, 30, 60)).max() <= 3


def test_odd_sizes_are_made_even_as_the_codecs_want_it() -> None:
    async def run() -> av.VideoFrame:
        sink = PictureSink(PLAIN)
        track = sink.track()
        await sink.open(info_of((63, 47)), None)
        picture = await shown(sink, track, result_at(0, (63, 47)))
        await sink.close()
        return picture

    picture = asyncio.run(run())
    assert (picture.width, picture.height) == (64, 48)


def test_a_slow_watcher_gets_the_newest_picture_and_the_others_are_counted() -> None:
    async def run() -> tuple[int | None, int]:
        sink = PictureSink(PLAIN)
        track = sink.track()
        await sink.open(info_of(), None)
        for pts in range(5):
            await sink.write(result_at(pts))
        await asyncio.sleep(0)
        picture = await track.recv()
        dropped = sink.dropped
        await sink.close()
        return picture.pts, dropped

    assert asyncio.run(run()) == (4, 4)


def test_the_pictures_of_a_watcher_that_left_stay_counted() -> None:
    async def run() -> tuple[int, int]:
        sink = PictureSink(PLAIN)
        track = sink.track()
        await sink.open(info_of(), None)
        for pts in range(5):
            await sink.write(result_at(pts))
        await asyncio.sleep(0)
        watched = sink.dropped
        track.stop()
        left = sink.dropped
        await sink.close()
        return watched, left

    watched, left = asyncio.run(run())
    assert watched == 4
    assert left == 5  # with the one that waited


def test_everybody_who_watches_gets_the_picture_and_a_late_comer_the_newest() -> None:
    async def run() -> list[int | None]:
        sink = PictureSink(PLAIN)
        first = sink.track()
        await sink.open(info_of(), None)
        pts = [(await shown(sink, first, result_at(3))).pts]
        second = sink.track()
        pts.append((await asyncio.wait_for(second.recv(), 5)).pts)
        await sink.write(result_at(4))
        pts += [(await asyncio.wait_for(track.recv(), 5)).pts for track in (first, second)]
        await sink.close()
        return pts

    assert asyncio.run(run()) == [3, 3, 4, 4]


def test_nothing_is_drawn_while_nobody_watches() -> None:
    async def run() -> tuple[int, int]:
        sink = PictureSink(PLAIN)
        drawn: list[FrameResult] = []
        sink._drawn = lambda result: drawn.append(result)  # type: ignore[assignment, return-value]
        await sink.open(info_of(), None)
        await sink.write(result_at(0))
        alone = len(drawn)
        track = sink.track()
        track.stop()
        await sink.write(result_at(1))
        await sink.close()
        return alone, len(drawn)

    assert asyncio.run(run()) == (0, 0)


def test_closing_the_sink_ends_its_tracks_also_those_that_wait() -> None:
    async def run() -> None:
        sink = PictureSink(PLAIN)
        track = sink.track()
        await sink.open(info_of(), None)
        waiting = asyncio.create_task(track.recv())
        await asyncio.sleep(0)
        await sink.close()
        with pytest.raises(MediaStreamError):
            await asyncio.wait_for(waiting, 5)
        assert not sink.watched
        with pytest.raises(MediaStreamError):
            await sink.track().recv()

    asyncio.run(run())


def test_the_effect_can_be_changed_between_two_results() -> None:
    async def run() -> list[int]:
        sink = PictureSink(PLAIN)
        track = sink.track()
        await sink.open(info_of(), None)
        before = await shown(sink, track, result_at(0, colour=(90, 90, 90)))
        sink.set_effect(EffectConfig(EffectKind.REPLACE), np.full((8, 8, 3), 200, np.uint8))
        after = await shown(sink, track, result_at(1, colour=(90, 90, 90)))
        await sink.close()
        return [int(picture.to_ndarray(format="rgb24")[12, 12, 0]) for picture in (before, after)]

    before, after = asyncio.run(run())
    assert abs(before - 90) <= 3 and abs(after - 200) <= 3


def test_an_effect_that_cannot_be_sent_is_refused_and_the_old_one_stays() -> None:
    with pytest.raises(ConfigError, match="transparent.*no alpha; use 'green'"):
        PictureSink(EffectConfig(EffectKind.TRANSPARENT))
    sink = PictureSink(PLAIN)
    with pytest.raises(ConfigError, match="transparent"):
        sink.set_effect(EffectConfig(EffectKind.TRANSPARENT))
    assert sink.effect is PLAIN
