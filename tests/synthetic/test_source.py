import asyncio
import threading
from dataclasses import replace

import numpy as np
import pytest

from gest_stream.errors import ConfigError, DeviceError
from gest_stream.interfaces import Source
from gest_stream.sources.synthetic import SyntheticSource, parse_synthetic_spec
from gest_stream.synthetic import ClipConfig, SyntheticFrame, preset
from gest_stream.types import Frame

TINY = ClipConfig(size=(160, 120), frames=6, rate=25, hands=1, seed=2)


async def play(source: Source, stop_after: int | None = None) -> list[Frame]:
    frames = []
    async with source:
        async for frame in source:
            frames.append(frame)
            if len(frames) == stop_after:
                source.stop()
    return frames


def rendering_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("gest-source")]


def test_every_frame_comes_in_order_with_its_pts_and_the_thread_ends() -> None:
    source: Source = SyntheticSource(TINY)
    frames = asyncio.run(play(source))
    assert [(frame.pts, frame.seq) for frame in frames] == [(k, k) for k in range(6)]
    assert all(frame.time_base.denominator == 25 and frame.size == (160, 120) for frame in frames)
    assert rendering_threads() == []


def test_what_is_known_before_the_first_frame() -> None:
    async def look(realtime: bool) -> tuple[bool, int | None, float]:
        async with SyntheticSource(TINY, realtime) as source:
            assert source.audio is None
            assert source.info.size == (160, 120) and source.info.average_rate is not None
            return source.info.live, source.info.frame_count, float(source.info.average_rate)

    assert asyncio.run(look(False)) == (False, 6, 25.0)
    assert asyncio.run(look(True)) == (True, 6, 25.0)


def test_stop_ends_a_long_clip_early_and_joins_the_thread() -> None:
    frames = asyncio.run(play(SyntheticSource(replace(TINY, frames=100_000), workers=1), stop_after=2))
    assert len(frames) == 2
    assert rendering_threads() == []


def test_the_truth_of_every_frame_comes_before_the_frame() -> None:
    truths: list[SyntheticFrame] = []
    frames = asyncio.run(play(SyntheticSource(TINY, on_truth=truths.append)))
    assert [t.frame.pts for t in truths] == [f.pts for f in frames]
    for truth, frame in zip(truths, frames, strict=True):
        assert np.array_equal(truth.frame.image, frame.image)
        assert truth.hands[0].hand_mask.frame_size == frame.size


def test_in_realtime_each_frame_waits_until_it_is_due() -> None:
    now, waits = [0], []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        now[0] += round(seconds * 1e9)

    source = SyntheticSource(TINY, realtime=True, clock=lambda: now[0], wait=wait)
    stamps: list[int] = []

    async def collect() -> None:
        async with source:
            async for frame in source:
                stamps.append(frame.captured_ns)

    asyncio.run(collect())
    assert waits == pytest.approx([0.04] * 5)
    # a slow consumer may miss frames of a live source, but each carries the moment it was due
    assert stamps and {stamp % 40_000_000 for stamp in stamps} == {0}


def test_processes_render_the_same_frames_and_truth_as_the_thread() -> None:
    config = replace(TINY, frames=5)
    crew: list[SyntheticFrame] = []
    alone: list[SyntheticFrame] = []
    asyncio.run(play(SyntheticSource(config, workers=2, on_truth=crew.append)))
    asyncio.run(play(SyntheticSource(config, workers=1, on_truth=alone.append)))
    assert len(crew) == 5
    for one, other in zip(crew, alone, strict=True):
        assert one.frame.pts == other.frame.pts
        assert np.array_equal(one.frame.image, other.frame.image)
        assert np.array_equal(one.hands[0].hand_mask.full(), other.hands[0].hand_mask.full())


def test_an_absent_device_is_told_on_opening() -> None:
    with pytest.raises(DeviceError, match="cuda:99"):
        asyncio.run(play(SyntheticSource(TINY, device="cuda:99")))


def test_a_spec_names_a_preset_and_changes_it() -> None:
    clip = parse_synthetic_spec("synthetic:demo,frames=90,size=320x240,seed=3,rate=25,noise=0")
    assert (clip.frames, clip.size, clip.seed, clip.rate, clip.noise) == (90, (320, 240), 3, 25, 0.0)
    assert clip.events == preset("demo").events
    assert clip.tones == ()  # a seed draws the skin anew


@pytest.mark.parametrize("text", ["synthetic:", "synthetic:demo", "demo", ""])
def test_the_demo_is_what_a_bare_spec_means(text: str) -> None:
    assert parse_synthetic_spec(text) == preset("demo")


def test_one_hand_keeps_the_events_that_need_only_it() -> None:
    clip = parse_synthetic_spec("demo,hands=1")
    assert clip.hands == 1 and {event.hand for event in clip.events} == {0}
    assert all(event.kind != "cross" for event in clip.events)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dmo", "preset 'dmo': unknown; did you mean 'demo'"),
        ("demo,frame=3", "setting 'frame' is unknown; did you mean 'frames'"),
        ("demo,frames", "setting 'frames' has no value; write frames=90"),
        ("demo,seed=", "setting 'seed' has no value; write seed=3"),
        ("demo,size=640", "size=640: cannot be read; write it like size=640x480"),
        ("demo,rate=fast", "rate=fast: cannot be read; write it like rate=30"),
        ("demo,rate=25,rate=30", "setting 'rate' is given twice"),
        ("demo,frames=0", "synthetic frames: expected 1 to 1000000, got 0"),
        ("demo,,", "setting '' is unknown"),
    ],
)
def test_a_bad_spec_says_what_to_write(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_synthetic_spec(f"synthetic:{text}")
    assert message in str(raised.value)
