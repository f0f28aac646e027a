"""`gest-stream filter` as a process between pipes; with the ffmpeg program on both sides where it is there."""

from __future__ import annotations

import io
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gest_stream.cli.exit_codes import ExitCode
from gest_stream.cli.filter import parse_codec_options
from gest_stream.errors import ConfigError
from gest_stream.overlay.palette import GREEN_SCREEN
from tests.media import Clip
from tests.pipe.scripted import Read, piped, read

SIZE = (160, 120)
ROOT = Path(__file__).resolve().parents[2]
FILTER = [sys.executable, "-m", "tests.pipe.command", "filter"]
FRAMES = 200
TIMEOUT_S = 60


@pytest.fixture(scope="module")
def stream() -> bytes:
    return piped("nut", Clip(size=SIZE, frames=30, codec="rawvideo", audio="aac"))


def filtered(data: bytes, *args: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*FILTER, *args], input=data, capture_output=True, cwd=ROOT, timeout=TIMEOUT_S)


@pytest.fixture
def running() -> Iterator[subprocess.Popen[bytes]]:
    """The filter, waiting for its input."""
    process = subprocess.Popen(
        [*FILTER, "--effect", "green"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        bufsize=0,
    )
    yield process
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def test_a_stream_goes_through_and_all_talk_is_on_stderr(stream: bytes, tmp_path: Path) -> None:
    lines = tmp_path / "hands.jsonl"
    done = filtered(stream, "--effect", "green", "--set", "effect.feather_px=0", "--save-json", str(lines))
    before, after = read(stream), read(done.stdout)
    assert (done.returncode, after.format, len(after.frames)) == (0, "nut", 30)
    assert (after.times_s, after.packets) == (before.times_s, before.packets)
    assert np.abs(after.rgb[20][5, 5].astype(int) - GREEN_SCREEN).max() <= 3
    talk = done.stderr.decode()
    assert "standard input: 30 frames" in talk
    assert "printed in the middle of it" in talk
    assert [json.loads(line)["seq"] for line in lines.read_text().splitlines()] == list(range(30))


def test_container_and_codec_can_be_chosen_and_no_setting_drops_frames(stream: bytes) -> None:
    args = ["--format", "matroska", "--codec", "libx264", "--codec-option", "qp=3", "--set", "buffer.policy=live", "-q"]
    done = filtered(stream, *args)
    after = read(done.stdout)
    assert (done.returncode, after.format, after.codecs) == (0, "matroska,webm", ["h264", "aac"])
    assert len(after.frames) == 30


def test_what_cannot_be_read_is_one_clear_line_and_an_empty_stream() -> None:
    done = filtered(b"nothing that FFmpeg knows" * 99)
    assert (done.returncode, done.stdout) == (ExitCode.SOURCE, b"")
    talk = " ".join(done.stderr.decode().split())
    assert "not a video that can be read from a pipe" in talk
    assert "Traceback" not in talk


def test_options_of_the_encoder_are_pairs() -> None:
    assert parse_codec_options(["crf=20", "x264-params=keyint=30:ref=2"]) == {
        "crf": "20",
        "x264-params": "keyint=30:ref=2",
    }
    for wrong in ("level", "=3"):
        with pytest.raises(ConfigError, match=f"--codec-option {wrong}: expected KEY=VALUE"):
            parse_codec_options([wrong])


def test_a_terminal_is_no_place_for_a_video(stream: bytes) -> None:
    leader, follower = pty.openpty()
    done = subprocess.run(FILTER, input=stream, stdout=follower, stderr=subprocess.PIPE, cwd=ROOT, timeout=TIMEOUT_S)
    os.close(follower)
    os.close(leader)
    assert done.returncode == ExitCode.SINK
    assert b"standard output: is a terminal" in done.stderr


def test_a_reader_that_goes_away_ends_it_without_a_traceback(running: subprocess.Popen[bytes]) -> None:
    assert running.stdin and running.stdout and running.stderr
    data = piped("nut", Clip(size=SIZE, frames=300, codec="rawvideo"))
    feeder = threading.Thread(target=feed, args=(running, data))
    feeder.start()
    assert running.stdout.read(50_000)
    running.stdout.close()
    talk = running.stderr.read().decode()
    assert running.wait(TIMEOUT_S) == ExitCode.SINK
    feeder.join()
    assert "its reader has ended" in " ".join(talk.split())
    assert "Traceback" not in talk and "BrokenPipe" not in talk


def feed(process: subprocess.Popen[bytes], data: bytes) -> None:
    """Write as much as is taken."""
    assert process.stdin is not None
    try:
        view = memoryview(data)
        while view:
            view = view[process.stdin.write(view) :]
        process.stdin.close()
    except BrokenPipeError:
        pass


def test_an_interrupted_run_leaves_a_whole_stream(running: subprocess.Popen[bytes]) -> None:
    assert running.stdin and running.stdout and running.stderr
    data = piped("nut", Clip(size=SIZE, frames=60, codec="rawvideo"))
    feed_open = threading.Thread(target=lambda: os.write(running.stdin.fileno(), data[: 40 * 28_800]))  # type: ignore[union-attr]
    feed_open.start()
    written = bytearray(running.stdout.read(20_000))
    running.send_signal(signal.SIGINT)
    while piece := running.stdout.read(1 << 16):
        written += piece
    talk = running.stderr.read().decode()
    assert running.wait(TIMEOUT_S) == ExitCode.INTERRUPTED
    feed_open.join()
    after = read(bytes(written))
    assert 1 <= len(after.frames) <= 40
    assert after.times_s == [Fraction(index, 30) for index in range(len(after.frames))]
    assert "interrupted" in talk and "Traceback" not in talk


@pytest.fixture(scope="module")
def ffmpeg() -> str:
    program = shutil.which("ffmpeg")
    if program is None:
        pytest.skip("the ffmpeg program is not installed")
    return program


@pytest.fixture(scope="module")
def source_clip(ffmpeg: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 frames with sound that an independent program encoded."""
    path = tmp_path_factory.mktemp("ffmpeg") / "source.mkv"
    picture, tone = f"testsrc2=size={SIZE[0]}x{SIZE[1]}:rate=30", "sine=440:sample_rate=48000"
    length = str(FRAMES / 30)
    made = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone, "-t", length]
    subprocess.run([*made, "-frames:v", str(FRAMES), "-c:v", "ffv1", "-c:a", "aac", str(path)], check=True)
    return path


def through_pipes(before: list[str], args: list[str], after: list[str]) -> list[bytes]:
    """`before | gest-stream filter args | after`; what each of the three printed as errors."""
    first = subprocess.Popen(before, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    middle = subprocess.Popen(
        [*FILTER, *args], stdin=first.stdout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    last = subprocess.Popen(after, stdin=middle.stdout, stderr=subprocess.PIPE)
    for process in (first, middle):
        assert process.stdout is not None
        process.stdout.close()  # so that one who reads no more is noticed
    try:
        errors = [process.communicate(timeout=TIMEOUT_S)[1] for process in (last, middle, first)][::-1]
        assert [process.returncode for process in (first, middle, last)] == [0, 0, 0], errors
    finally:
        for process in (first, middle, last):
            process.kill()
    return errors


def stored(path: Path) -> Read:
    return read(path.read_bytes())


@pytest.mark.native
@pytest.mark.parametrize(
    ("format", "codec"), [("nut", "rawvideo"), ("matroska", "rawvideo"), ("matroska", "libx264"), ("nut", "ffv1")]
)
def test_ffmpeg_in_and_out_keeps_every_frame_time_and_sound_packet(
    ffmpeg: str, source_clip: Path, tmp_path: Path, format: str, codec: str
) -> None:
    """The issue's round trip: 200 frames with sound."""
    into, out = tmp_path / f"in.{format}", tmp_path / f"out.{format}"
    encode = ["-c:v", codec, "-c:a", "copy", "-f", format]
    # the same bytes that go into the pipe, for the comparison
    subprocess.run([ffmpeg, "-v", "error", "-i", str(source_clip), *encode, str(into)], check=True)
    sent = [ffmpeg, "-v", "error", "-i", str(into), "-c", "copy", "-f", format, "-"]
    received = [ffmpeg, "-v", "error", "-i", "-", "-c", "copy", "-f", format, str(out)]
    through_pipes(sent, ["--effect", "green", "--set", "effect.feather_px=0"], received)
    before, after = stored(into), stored(out)
    assert len(before.frames) == len(after.frames) == FRAMES
    assert after.times_s == before.times_s
    assert [payload for payload, _ in after.packets[1]] == [payload for payload, _ in before.packets[1]]
    times = [time for _, time in after.packets[1]], [time for _, time in before.packets[1]]
    assert times[0] == times[1]
    assert len(times[0]) > 300
    for old, new in zip(before.rgb[::40], after.rgb[::40], strict=True):
        assert np.abs(new[5, 5].astype(int) - GREEN_SCREEN).max() <= 3
        assert np.abs(new[56:64, 76:84].astype(int) - old[56:64, 76:84]).max() == 0


@pytest.mark.native
def test_y4m_from_ffmpeg_and_back(ffmpeg: str, source_clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.y4m"
    y4m = ["-fps_mode", "passthrough", "-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe"]
    sent = [ffmpeg, "-v", "error", "-i", str(source_clip), *y4m, "-"]
    through_pipes(sent, ["--effect", "contour"], [ffmpeg, "-v", "error", "-i", "-", *y4m, str(out)])
    after = stored(out)
    assert (after.format, len(after.frames), after.rate) == ("yuv4mpegpipe", FRAMES, Fraction(30))
    assert after.times_s == [Fraction(index, 30) for index in range(FRAMES)]


@pytest.mark.native
def test_ffmpeg_takes_the_alpha_of_transparent(ffmpeg: str, source_clip: Path, tmp_path: Path) -> None:
    """Composited over red by ffmpeg itself."""
    out = tmp_path / "out.nut"
    sent = [ffmpeg, "-v", "error", "-i", str(source_clip), "-c:v", "rawvideo", "-pix_fmt", "yuv420p", "-f", "nut", "-"]
    over = f"color=red:size={SIZE[0]}x{SIZE[1]}:rate=30[back];[back][0:v]overlay=shortest=1:format=auto,format=rgb24"
    received = [ffmpeg, "-v", "error", "-i", "-", "-filter_complex", over, "-c:v", "rawvideo", "-f", "nut", str(out)]
    through_pipes(sent, ["--effect", "transparent", "--set", "effect.feather_px=0"], received)
    image = stored(out).rgb[50].astype(int)
    assert np.abs(image[5, 5] - (255, 0, 0)).max() <= 4
    assert np.abs(image[60, 80] - (255, 0, 0)).max() > 40


@pytest.mark.native
def test_the_line_of_the_help_works(ffmpeg: str, source_clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    sent = [ffmpeg, "-v", "error", "-i", str(source_clip), "-c:v", "rawvideo", "-c:a", "copy", "-f", "nut", "-"]
    through_pipes(sent, ["--effect", "green"], [ffmpeg, "-v", "error", "-i", "-", "-fps_mode", "passthrough", str(out)])
    with av.open(io.BytesIO(out.read_bytes()), "r") as container:
        assert sum(1 for _ in container.decode(video=0)) == FRAMES
        assert [stream.type for stream in container.streams] == ["video", "audio"]
