"""What becomes of a video's file: when the run fails, is killed or cancelled, and where the name is no good."""

import asyncio
import contextlib
import logging
import resource
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from gest_stream.audio import AudioFeed
from gest_stream.errors import SinkError
from gest_stream.sinks.video import VideoSink
from gest_stream.types import AudioFormat, AudioPacket, FrameResult
from tests.sinks.conftest import SUFFIXES, info_of, result_at, run_sink, times


def playable_frames(path: Path) -> int:
    """Frames that a player shows: one that cannot be decoded is passed over."""
    shown = 0
    with av.open(str(path)) as source:
        for packet in source.demux(video=0):
            with contextlib.suppress(av.InvalidDataError):
                shown += len(packet.decode())
    return shown


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_run_without_frames_writes_no_file_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, suffix: str, aac: tuple[AudioFormat, list[AudioPacket]]
) -> None:
    path = tmp_path / f"out{suffix}"
    feed = AudioFeed(aac[0])
    sink = VideoSink(path)

    async def scenario() -> None:
        await sink.open(info_of(), feed)
        for packet in aac[1]:
            feed.publish(packet)
        await sink.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(scenario())
    assert not path.exists()
    assert f"{path}: no frame came, so no file was written" in caplog.text


def test_a_first_frame_that_cannot_be_drawn_leaves_an_older_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"older")

    def fails(result: FrameResult) -> NDArray[np.uint8]:
        raise ValueError("no paint")

    with pytest.raises(SinkError, match="no paint"):
        run_sink(VideoSink(path, fails), [result_at(0)])
    assert path.read_bytes() == b"older"


_KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from gest_stream.sinks.video import VideoSink
from tests.sinks.conftest import info_of, result_at

async def main():
    sink = VideoSink(Path(sys.argv[1]))
    await sink.open(info_of((160, 120)), None)
    for pts in range(240):
        await sink.write(result_at(pts, (160, 120), colour=(pts % 256, 90, 90)))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_file_of_a_killed_process_plays_up_to_two_seconds_before_its_end(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"out{suffix}"
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(path)], cwd=root, timeout=60, check=False)
    assert killed.returncode == -9
    survived = times(path)
    assert len(survived) >= 240 - 60
    tolerance = Fraction(1, 2000)
    assert all(abs(time - Fraction(n, 30)) <= tolerance for n, time in enumerate(survived))


def test_a_write_that_fails_leaves_a_file_that_plays(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    noise = np.random.default_rng(3)

    def noisy(result: FrameResult) -> NDArray[np.uint8]:
        return noise.integers(0, 255, (120, 160, 3), np.uint8)

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, limits[1]))
    try:
        with pytest.raises(SinkError, match=r"out\.mp4: cannot write: File too large; .* raise `ulimit -f`"):
            run_sink(VideoSink(path, noisy), [result_at(n, (160, 120)) for n in range(300)], info_of((160, 120)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert playable_frames(path) >= 30


def test_a_full_disk_is_told_with_the_remedy(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "out.mkv").symlink_to("/dev/full")
    with pytest.raises(SinkError, match=r"out\.mkv: cannot write: No space left on device; the disk is full; free"):
        run_sink(VideoSink(tmp_path / "out.mkv"), [result_at(n) for n in range(100)])


def test_a_renderer_that_fails_leaves_the_frames_before_it(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"

    def fails_at_seven(result: FrameResult) -> NDArray[np.uint8]:
        if result.frame.pts == 7:
            raise ValueError("no paint")
        return result.frame.image

    with pytest.raises(SinkError, match=r"out\.mp4: ValueError: no paint"):
        run_sink(VideoSink(path, fails_at_seven), [result_at(n) for n in range(20)])
    assert [time * 30 for time in times(path)] == list(range(7))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.avi", r"out\.avi: unknown video suffix '\.avi'; name the output with one of \.mp4, .*, e\.g\. out\.mp4"),
        ("out", r"out: no suffix; name the output with one of \.mp4, \.mov, \.mkv, \.webm, e\.g\. out\.mp4"),
    ],
)
def test_an_unknown_suffix_is_refused_at_once(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(SinkError, match=message):
        VideoSink(tmp_path / name)


def test_a_missing_folder_is_told_with_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"absent: the folder does not exist; create it: mkdir -p .*absent$"):
        run_sink(VideoSink(tmp_path / "absent" / "out.mp4"), [])


def test_a_folder_is_not_a_video(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").mkdir()
    with pytest.raises(SinkError, match=r"out\.mp4: it is a folder; name a file"):
        run_sink(VideoSink(tmp_path / "out.mp4"), [])


def test_the_input_is_never_overwritten(tmp_path: Path) -> None:
    source, link = tmp_path / "in.mp4", tmp_path / "link.mp4"
    source.write_bytes(b"precious")
    link.symlink_to(source)
    for path in (source, link):
        with pytest.raises(SinkError, match=r"mp4: this is the input; give the output another name"):
            run_sink(VideoSink(path), [], info_of(name=str(source)))
    assert source.read_bytes() == b"precious"


def test_an_older_file_survives_an_encoder_that_does_not_open(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"older")
    with pytest.raises(SinkError, match=r"out\.mp4: cannot write"):
        run_sink(VideoSink(path), [], info_of((40_000, 40_000)))
    assert path.read_bytes() == b"older"


def test_an_older_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    path.write_bytes(b"older" * 100_000)
    run_sink(VideoSink(path), [result_at(0)])
    assert len(times(path)) == 1
    assert path.stat().st_size < 100_000


def test_a_colon_in_a_relative_name_is_no_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_sink(VideoSink(Path("pipe:1.mp4")), [result_at(0)])
    assert len(times(tmp_path / "pipe:1.mp4")) == 1


def test_no_thread_is_left_and_the_sink_can_be_opened_again(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    sink = VideoSink(tmp_path / "out.mp4")
    for count in (2, 4):
        run_sink(sink, [result_at(n) for n in range(count)])
        assert set(threading.enumerate()) <= before
        assert len(times(tmp_path / "out.mp4")) == count


def test_a_cancelled_run_leaves_a_finished_file(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    started = threading.Event()

    def slow(result: FrameResult) -> NDArray[np.uint8]:
        started.set()
        return result.frame.image

    async def scenario() -> None:
        sink = VideoSink(path, slow)
        await sink.open(info_of(), None)
        writing = asyncio.create_task(sink.write(result_at(0)))
        await asyncio.to_thread(started.wait, 10)
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        await sink.close()

    asyncio.run(scenario())
    assert len(times(path)) == 1


def test_writing_before_opening_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError, match=r"out\.mp4: not open; await open\(\) first"):
        asyncio.run(VideoSink(tmp_path / "out.mp4").write(result_at(0)))
