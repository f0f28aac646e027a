from __future__ import annotations

import asyncio
import queue
import random
import threading
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from fractions import Fraction

import av
import pytest
from aiortc.codecs.opus import OpusEncoder
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av.frame import Frame

from gest_stream.config import RtcConfig
from gest_stream.rtc.decoding import (
    DecoderThread,
    DecodingCounts,
    counting,
    decode_received,
    is_keyframe,
    vp8_size,
)
from gest_stream.rtc.jitter import MarkedFrame
from gest_stream.rtc.scope import settings_of
from tests.rtc.peers import bar_number, bar_picture, until

VP8 = RTCRtpCodecParameters("video/VP8", 90_000, payloadType=97)
H264 = RTCRtpCodecParameters("video/H264", 90_000, payloadType=99)
OPUS = RTCRtpCodecParameters("audio/opus", 48_000, channels=2, payloadType=96)
_LIBRARY = {"VP8": "libvpx", "H264": "libx264"}
_Task = tuple[RTCRtpCodecParameters, JitterFrame]


def _encoded(
    codec: RTCRtpCodecParameters, count: int, *, size: tuple[int, int] = (160, 120), keyframes: Sequence[int] = (0,)
) -> list[_Task]:
    """Numbered pictures; the timestamp of number n is 3000 n."""
    context = av.CodecContext.create(_LIBRARY[codec.name], "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height = size
    context.pix_fmt, context.time_base, context.gop_size = "yuv420p", Fraction(1, 90_000), 1000
    context.options = {"VP8": {"lag-in-frames": "0", "deadline": "realtime"}, "H264": {"tune": "zerolatency"}}[
        codec.name
    ]
    context.thread_count = 1
    tasks = []
    for number in range(count):
        frame = av.VideoFrame.from_ndarray(bar_picture(number, size), "rgb24").reformat(format="yuv420p")
        frame.pts, frame.time_base = number * 3000, Fraction(1, 90_000)
        frame.pict_type = av.video.frame.PictureType.I if number in keyframes else av.video.frame.PictureType.NONE
        data = b"".join(bytes(packet) for packet in context.encode(frame))
        tasks.append((codec, JitterFrame(data, number * 3000)))
    return tasks


@dataclass
class Stage:
    input: queue.Queue[_Task | None]
    output: asyncio.Queue[Frame | None]
    asked: threading.Event
    counts: DecodingCounts
    thread: DecoderThread

    async def shown(self, count: int) -> list[int]:
        """The numbers of the next pictures."""
        numbers = []
        for _ in range(count):
            frame = await asyncio.wait_for(self.output.get(), 10)
            assert isinstance(frame, av.VideoFrame) and frame.pts is not None
            numbers.append(bar_number(frame))
            assert frame.pts == numbers[-1] * 3000
        return numbers


@asynccontextmanager
async def _stage(config: RtcConfig | None, waiting: Iterable[_Task | None] = ()) -> AsyncIterator[Stage]:
    """A decoder thread that finds `waiting` in its queue when it starts."""
    given: queue.Queue[_Task | None] = queue.Queue()
    for task in waiting:
        given.put(task)
    output: asyncio.Queue[Frame | None] = asyncio.Queue()
    asked, counts = threading.Event(), DecodingCounts()
    with settings_of(config) if config is not None else nullcontext(), counting(counts):
        thread = DecoderThread(
            target=decode_received, name="test", args=(asyncio.get_running_loop(), given, output, asked)
        )
    thread.start()
    try:
        yield Stage(given, output, asked, counts, thread)
    finally:
        given.put(None)
        await asyncio.to_thread(thread.join, 10)
        assert not thread.is_alive()


def _fed(stage: Stage, tasks: Iterable[_Task | None]) -> None:
    for task in tasks:
        stage.input.put(task)


@pytest.mark.parametrize("codec", [VP8, H264])
def test_pictures_come_out_in_order_with_their_pts(codec: RTCRtpCodecParameters) -> None:
    async def run() -> list[int]:
        async with _stage(RtcConfig()) as stage:
            numbers = []
            for task in _encoded(codec, 8):  # each comes out before the next goes in: no delay
                stage.input.put(task)
                numbers += await stage.shown(1)
            return numbers

    assert asyncio.run(run()) == list(range(8))


@pytest.mark.parametrize("codec", [VP8, H264])
def test_a_backlog_is_dropped_up_to_its_newest_keyframe(codec: RTCRtpCodecParameters) -> None:
    async def run() -> tuple[list[int], int]:
        tasks = _encoded(codec, 12, keyframes=(0, 9))
        async with _stage(RtcConfig(max_backlog=10), tasks) as stage:
            await until(lambda: stage.counts.decoded == 3)
            return [stage.counts.dropped, *await stage.shown(2)], int(stage.asked.is_set())

    assert asyncio.run(run()) == ([9, 10, 11], 0)


@pytest.mark.parametrize("codec", [VP8, H264])
def test_a_backlog_without_keyframe_is_dropped_and_a_keyframe_asked_for(codec: RTCRtpCodecParameters) -> None:
    async def run() -> tuple[list[int], int]:
        tasks = _encoded(codec, 14, keyframes=(0, 12))
        async with _stage(RtcConfig(max_backlog=8), tasks[:9]) as stage:
            await until(stage.asked.is_set)
            _fed(stage, tasks[9:])
            numbers = await stage.shown(2)
            return numbers, stage.counts.dropped

    assert asyncio.run(run()) == ([12, 13], 12)


@pytest.mark.parametrize("codec", [VP8, H264])
def test_nothing_is_dropped_within_the_backlog(codec: RTCRtpCodecParameters) -> None:
    async def run() -> tuple[int, int]:
        async with _stage(RtcConfig(max_backlog=15), _encoded(codec, 15)) as stage:
            await until(lambda: stage.counts.decoded == 15)
            return stage.counts.dropped, stage.counts.failed

    assert asyncio.run(run()) == (0, 0)


@pytest.mark.parametrize("codec", [VP8, H264])
def test_behind_a_loss_only_a_keyframe_is_decoded(codec: RTCRtpCodecParameters) -> None:
    tasks = _encoded(codec, 8, keyframes=(0, 6))
    broken = MarkedFrame(tasks[4][1].data, tasks[4][1].timestamp, 97, follows_loss=True)

    async def run() -> list[int]:
        async with _stage(RtcConfig(), tasks[:2]) as stage:
            numbers = await stage.shown(2)
            _fed(stage, [(codec, broken), tasks[5]])
            await until(stage.asked.is_set)
            _fed(stage, tasks[6:])
            return [*numbers, *await stage.shown(2), stage.counts.dropped]

    assert asyncio.run(run()) == [0, 1, 6, 7, 2]


def test_a_track_that_nobody_reads_holds_the_two_newest_pictures() -> None:
    async def run() -> tuple[list[int], int]:
        async with _stage(RtcConfig(max_backlog=100), _encoded(VP8, 30)) as stage:
            await until(lambda: stage.counts.replaced == 28)
            return await stage.shown(2), stage.output.qsize()

    assert asyncio.run(run()) == ([28, 29], 0)


@pytest.mark.parametrize("codec", [VP8, H264])
def test_a_picture_above_the_limit_is_not_decoded_and_smaller_ones_are_again(codec: RTCRtpCodecParameters) -> None:
    large, small = _encoded(codec, 3, size=(640, 480)), _encoded(codec, 2, size=(160, 128))

    async def run() -> DecodingCounts:
        async with _stage(RtcConfig(max_frame_px=640 * 480 - 1), [*large, *small]) as stage:
            assert await stage.shown(2) == [0, 1]
            assert not stage.asked.is_set()  # the sender would only send as large a one again
            return stage.counts

    counts = asyncio.run(run())
    assert (counts.too_large, counts.failed, counts.decoded) == (3, 0, 2)


@pytest.mark.parametrize("codec", [VP8, H264])
def test_the_limit_itself_is_decoded(codec: RTCRtpCodecParameters) -> None:
    async def run() -> list[int]:
        async with _stage(RtcConfig(max_frame_px=640 * 480), _encoded(codec, 1, size=(640, 480))) as stage:
            return await stage.shown(1)

    assert asyncio.run(run()) == [0]


@pytest.mark.parametrize("codec", [VP8, H264])
def test_garbage_ends_nothing_and_asks_for_a_keyframe(codec: RTCRtpCodecParameters) -> None:
    rng = random.Random(1)
    frames = _encoded(codec, 4)
    garbage = [(codec, JitterFrame(rng.randbytes(rng.randrange(1, 2000)), i)) for i in range(60)]
    broken = [(codec, JitterFrame(task[1].data[: len(task[1].data) // 2], 0)) for task in frames]

    async def run() -> int:
        async with _stage(RtcConfig(max_backlog=1000), [*garbage, *broken]) as stage:
            await until(stage.asked.is_set)
            await until(stage.input.empty)
            before = stage.counts.decoded  # half a frame may still give a picture
            _fed(stage, frames)
            await until(lambda: stage.counts.decoded >= before + 4)
            return (await stage.shown(2))[1]

    assert asyncio.run(run()) == 3


def test_empty_frames_are_passed_over() -> None:
    frames = _encoded(H264, 4)

    async def run() -> list[int]:
        async with _stage(RtcConfig()) as stage:
            numbers = []
            for task in frames:
                stage.input.put((H264, JitterFrame(b"", 0)))
                stage.input.put(task)
                numbers += await stage.shown(1)
            return numbers

    assert asyncio.run(run()) == [0, 1, 2, 3]


def test_a_codec_that_is_not_known_ends_nothing() -> None:
    unknown = replace(VP8, mimeType="audio/unheard-of")

    async def run() -> list[int]:
        async with _stage(RtcConfig(), [(unknown, JitterFrame(b"x", 0)), *_encoded(VP8, 1)]) as stage:
            return await stage.shown(1)

    assert asyncio.run(run()) == [0]


def test_keyframes_are_asked_for_twice_a_second_at_most() -> None:
    async def run() -> int:
        async with _stage(RtcConfig(max_backlog=1000)) as stage:
            asked = 0
            for number in range(40):
                failed = stage.counts.failed
                stage.input.put((VP8, JitterFrame(b"\x01garbage", number)))
                await until(lambda: stage.counts.failed > failed)  # noqa: B023
                asked += stage.asked.is_set()
                stage.asked.clear()
            return asked

    assert 1 <= asyncio.run(run()) <= 10  # in far less than 5 s


def test_the_end_overtakes_the_backlog() -> None:
    async def run() -> tuple[Frame | None, int]:
        async with _stage(RtcConfig(max_backlog=1000), [*_encoded(VP8, 200), None]) as stage:
            last: Frame | None = await stage.output.get()
            while last is not None:
                last = await stage.output.get()
            await until(lambda: not stage.thread.is_alive())
            return last, stage.counts.decoded

    assert asyncio.run(run()) == (None, 0)


def test_a_thread_whose_loop_is_gone_ends() -> None:
    given: queue.Queue[_Task | None] = queue.Queue()
    loop = asyncio.new_event_loop()
    with settings_of(RtcConfig()):
        thread = DecoderThread(
            target=decode_received, name="test", args=(loop, given, asyncio.Queue(), threading.Event())
        )
    thread.start()
    loop.close()
    for task in [*_encoded(VP8, 2), None]:
        given.put(task)
    thread.join(10)
    assert not thread.is_alive()


def test_threads_do_not_hold_the_interpreter() -> None:
    assert DecoderThread(target=print, name="test", args=()).daemon


def test_audio_comes_out_and_what_nobody_hears_is_bounded() -> None:
    encoder = OpusEncoder()
    tasks = []
    for number in range(120):
        frame = av.AudioFrame(format="s16", layout="stereo", samples=960)
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
        frame.pts, frame.sample_rate, frame.time_base = number * 960, 48_000, Fraction(1, 48_000)
        tasks += [(OPUS, JitterFrame(payload, number * 960)) for payload in encoder.encode(frame)[0]]

    async def run() -> tuple[int, int | None]:
        async with _stage(RtcConfig(max_backlog=1000), tasks) as stage:
            await until(lambda: stage.counts.replaced + stage.output.qsize() == len(tasks))
            size = stage.output.qsize()
            first = await stage.output.get()
            assert isinstance(first, av.AudioFrame)
            return size, first.samples

    assert asyncio.run(run()) == (50, 960)


def test_an_applications_own_connection_keeps_aiortcs_queue() -> None:
    async def run() -> tuple[int, DecodingCounts]:
        async with _stage(None, _encoded(VP8, 30)) as stage:
            await until(lambda: stage.output.qsize() == 30)
            return stage.output.qsize(), stage.counts

    assert asyncio.run(run()) == (30, DecodingCounts())


def test_a_vp8_keyframe_says_its_size() -> None:
    tasks = _encoded(VP8, 3, size=(322, 242))
    assert vp8_size(tasks[0][1].data) == (322, 242)
    assert vp8_size(tasks[1][1].data) is None
    assert vp8_size(b"") is None and vp8_size(b"\0" * 20) is None


@pytest.mark.parametrize("codec", [VP8, H264])
def test_keyframes_are_told_from_others(codec: RTCRtpCodecParameters) -> None:
    assert [is_keyframe(*task) for task in _encoded(codec, 6, keyframes=(0, 4))] == [True, *[False] * 3, True, False]
