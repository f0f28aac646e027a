"""A file played in a loop: what goes on, what is due when, and what a late decoder loses."""

from __future__ import annotations

import asyncio
from itertools import islice

from gest_stream.bench.looped import LoopedFile, PlayFile, decoded
from gest_stream.types import Frame
from tests.media import number_of

INTERVAL_NS = 20_000_000


class FakeTime:
    """A clock that moves when somebody waits, and by `costs_ns` every time it is looked at."""

    def __init__(self, costs_ns: int = 0) -> None:
        self.now_ns, self._costs_ns = 1_000, costs_ns

    def clock(self) -> int:
        self.now_ns += self._costs_ns
        return self.now_ns

    def wait(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)


def played(source: LoopedFile) -> list[Frame]:
    """The frames that the source makes, before its ring may drop any."""
    return list(source._frames())


def test_seq_and_pts_go_on_from_pass_to_pass(play_file: PlayFile) -> None:
    frames = list(islice(decoded(play_file), 30))
    assert [frame.seq for frame in frames] == list(range(30))
    steps = {second.pts - first.pts for first, second in zip(frames, frames[1:], strict=False)}
    assert len(steps) == 1 and steps.pop() > 0
    assert [number_of(frame.image) for frame in frames] == [k % 12 for k in range(30)]


def test_a_frame_is_stamped_with_the_moment_it_is_due(play_file: PlayFile) -> None:
    time = FakeTime()
    source = LoopedFile(play_file, realtime=True, frames=20, clock=time.clock, wait=time.wait)
    frames = played(source)
    assert [frame.captured_ns for frame in frames] == [1_000 + k * INTERVAL_NS for k in range(20)]


def test_a_decoder_that_is_too_slow_loses_frames_and_does_not_hide_its_lateness(play_file: PlayFile) -> None:
    time = FakeTime(costs_ns=3 * INTERVAL_NS)
    frames = played(LoopedFile(play_file, realtime=True, frames=20, clock=time.clock, wait=time.wait))
    assert [frame.seq for frame in frames] == [0, 3, 6, 9, 12, 15, 18]
    assert [number_of(frame.image) for frame in frames] == [0, 1, 2, 3, 4, 5, 6]
    start = frames[0]
    for frame in frames:
        assert frame.captured_ns == start.captured_ns + frame.seq * INTERVAL_NS
        assert frame.time_s - start.time_s == frame.seq / 50


def test_lossless_gives_every_frame_as_it_comes(play_file: PlayFile) -> None:
    time = FakeTime(costs_ns=3 * INTERVAL_NS)
    frames = played(LoopedFile(play_file, realtime=False, frames=20, clock=time.clock, wait=time.wait))
    assert [frame.seq for frame in frames] == list(range(20))


def test_it_is_a_source(play_file: PlayFile) -> None:
    async def read() -> tuple[bool, list[int]]:
        async with LoopedFile(play_file, realtime=False, frames=15) as source:
            return source.info.live, [frame.seq async for frame in source]

    assert asyncio.run(read()) == (False, list(range(15)))
