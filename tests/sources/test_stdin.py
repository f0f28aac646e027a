import asyncio
import io
import logging
import os
import sys
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest

from gest_stream.sources.stdin import StdinSource
from tests.media import Clip, make_clip, number_of
from tests.sources.running import FakeTime, open_error, read_all

PIPES = [
    ("yuv4mpegpipe", Clip(codec="wrapped_avframe")),
    ("nut", Clip(codec="rawvideo", pix_fmt="rgb24")),
    ("matroska", Clip()),
    ("mpegts", Clip()),
]


def piped(format: str, clip: Clip) -> bytes:
    buffer = io.BytesIO()
    make_clip(buffer, clip, format)
    return buffer.getvalue()


@pytest.mark.parametrize(("format", "clip"), PIPES, ids=[name for name, _ in PIPES])
def test_streams_that_suit_a_pipe_are_read_whole(format: str, clip: Clip) -> None:
    source = StdinSource(io.BytesIO(piped(format, clip)))
    frames = read_all(source)
    assert [number_of(frame.image) for frame in frames] == list(range(10))
    assert [frame.time_s - frames[0].time_s for frame in frames] == pytest.approx([i / 30 for i in range(10)], abs=1e-3)
    assert (source.info.name, source.info.live) == ("standard input", False)


def test_a_raw_rgb_pipe_is_bit_exact() -> None:
    image = np.random.default_rng(2).integers(0, 256, (48, 64, 3), np.uint8)
    data = piped("nut", Clip(codec="rawvideo", pix_fmt="rgb24", images=[image], frames=3))
    for frame in read_all(StdinSource(io.BytesIO(data))):
        np.testing.assert_array_equal(frame.image, image)


def test_variable_times_survive_a_nut_pipe() -> None:
    clip = Clip(codec="rawvideo", pix_fmt="rgb24", frames=4, pts=(0, 7, 90, 91), time_base=Fraction(1, 1000))
    frames = read_all(StdinSource(io.BytesIO(piped("nut", clip))))
    assert [frame.pts * frame.time_base for frame in frames] == [Fraction(ms, 1000) for ms in (0, 7, 90, 91)]


def test_realtime_plays_a_pipe_at_its_own_speed() -> None:
    time = FakeTime()
    data = piped("nut", Clip(codec="rawvideo", pix_fmt="rgb24"))
    source = StdinSource(io.BytesIO(data), realtime=True, clock=time.clock, wait=time.wait)
    read_all(source)
    assert source.info.live
    assert sum(time.waits_s) == pytest.approx(0.3, abs=1e-3)


class BreakingFile(io.BytesIO):
    """A pipe whose other end fails after its last byte."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            raise ConnectionResetError(104, "Connection reset by peer")
        return data


def test_a_pipe_that_breaks_gives_all_that_came_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    # B-frames keep the decoder some frames behind what it was given.
    images = [np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8) for i in range(100)]
    options = (("qp", "4"), ("g", "10"), ("bf", "3"), ("b-adapt", "0"))
    data = piped("matroska", Clip(frames=100, images=images, options=options))
    assert len(data) > 1 << 19  # more than is read to open it
    with caplog.at_level(logging.WARNING):
        frames = read_all(StdinSource(BreakingFile(data)))
    assert [frame.seq for frame in frames] == list(range(100))
    assert [record.getMessage() for record in caplog.records] == [
        "standard input: reading failed: Connection reset by peer; what could be decoded was delivered"
    ]


def test_a_pipe_that_breaks_at_once_says_why() -> None:
    message = open_error(StdinSource(BreakingFile(b"RIFF")))
    assert message == "standard input: cannot be read: Connection reset by peer"


def test_an_empty_pipe_says_what_to_do() -> None:
    message = open_error(StdinSource(io.BytesIO(b"")))
    assert message.startswith("standard input: is empty; pipe a video into it: ffmpeg -i clip.mp4 -f nut")


def test_an_mp4_with_its_index_at_the_end_says_which_containers_suit(tmp_path: Path) -> None:
    noise = np.random.default_rng(4).integers(0, 256, (480, 640, 3), np.uint8)
    clip = Clip(size=(640, 480), codec="mjpeg", pix_fmt="yuvj420p", images=[noise], frames=20)
    data = Path(make_clip(tmp_path / "clip.mp4", clip)).read_bytes()
    assert data.index(b"moov") > 1 << 20
    message = open_error(StdinSource(io.BytesIO(data)))
    assert "write y4m, NUT, Matroska or MPEG-TS into it" in message


def test_the_real_standard_input_is_read_when_no_file_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_clip(tmp_path / "clip.mkv")
    with path.open() as text:
        monkeypatch.setattr(sys, "stdin", text)
        assert len(read_all(StdinSource())) == 10


def test_a_terminal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    controller, terminal = os.openpty()
    try:
        with os.fdopen(terminal) as text:
            monkeypatch.setattr(sys, "stdin", text)
            assert open_error(StdinSource()).startswith("standard input: is a terminal; pipe a video into it")
    finally:
        os.close(controller)


def test_stop_wakes_a_read_that_waits_for_the_writer() -> None:
    read_end, write_end = os.pipe()
    # Half of it is enough to open it and fits into a pipe, so that writing does not wait.
    data = piped("nut", Clip(size=(16, 16), frames=60, codec="rawvideo", pix_fmt="rgb24"))
    assert len(data) // 2 < 1 << 16

    async def run(file: BinaryIO) -> int:
        count = 0
        async with StdinSource(file) as source:
            async for _ in source:
                count += 1
                asyncio.get_running_loop().call_later(0.01, source.stop)
        return count

    with os.fdopen(read_end, "rb") as file, os.fdopen(write_end, "wb") as writer:
        writer.write(data[: len(data) // 2])
        writer.flush()
        assert 1 <= asyncio.run(asyncio.wait_for(run(file), 5)) <= 30
