import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gest_stream.errors import SourceOpenError
from gest_stream.sources.file import FileSource
from tests.media import Clip, make_audio, make_clip, quadrants, truncated
from tests.sources.running import open_error, read_all


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds of noise, so that bytes are spread evenly over time; its index is in front."""
    images = [np.random.default_rng(i).integers(0, 256, (48, 64, 3), np.uint8) for i in range(150)]
    options = (("qp", "20"), ("g", "10"), ("bf", "0"))
    clip = Clip(frames=150, images=images, options=options, container_options=(("movflags", "faststart"),))
    return Path(make_clip(tmp_path_factory.mktemp("clips") / "long.mp4", clip))


def test_a_missing_file_suggests_near_names_of_its_folder(tmp_path: Path) -> None:
    make_clip(tmp_path / "holiday.mp4", Clip(frames=1))
    message = open_error(FileSource(tmp_path / "holyday.mp4"))
    assert message == f"{tmp_path / 'holyday.mp4'}: no such file; did you mean 'holiday.mp4'?"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    message = open_error(FileSource(tmp_path / "nowhere" / "clip.mp4"))
    assert message.endswith(f"no such file; the folder {tmp_path / 'nowhere'} does not exist either")


def test_a_folder_is_not_a_file(tmp_path: Path) -> None:
    assert "is a folder; pass the video file" in open_error(FileSource(tmp_path))


def test_an_empty_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "empty.mp4"
    path.touch()
    assert open_error(FileSource(path)) == f"{path}: is empty (0 bytes); record or copy it again"


def test_an_mp4_cut_inside_its_pictures_says_the_same(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    clip = Clip(codec="mjpeg", pix_fmt="yuvj420p", images=[noise])
    path = truncated(make_clip(tmp_path / "clip.mp4", clip), tmp_path / "cut.mp4", 0.5)
    assert "the MP4 has no complete index (moov atom)" in open_error(FileSource(path))


@pytest.mark.parametrize("text", ["just notes\n", "Übung " * 2000])
def test_a_text_file_says_so(tmp_path: Path, text: str) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text(text, encoding="utf-8")
    message = open_error(FileSource(path))
    assert message.startswith(f"{path}: is a text file, not a video; pass a video file")


def test_bytes_of_no_known_kind_are_refused_with_a_remedy(tmp_path: Path) -> None:
    path = tmp_path / "noise.mp4"
    path.write_bytes(np.random.default_rng(1).bytes(5000))
    assert "is not a video that FFmpeg can read; if it plays elsewhere, convert it" in open_error(FileSource(path))


def test_an_mp4_without_its_index_says_that_it_was_cut_off(tmp_path: Path) -> None:
    path = truncated(make_clip(tmp_path / "clip.mp4"), tmp_path / "cut.mp4", 0.5)
    message = open_error(FileSource(path))
    assert message.startswith(
        f"{path}: the MP4 has no complete index (moov atom), so its recording or copy was cut off"
    )
    assert "copy it again" in message


def test_an_audio_file_says_that_it_holds_no_video(tmp_path: Path) -> None:
    path = make_audio(tmp_path / "song.m4a")
    assert open_error(FileSource(path)) == f"{path}: holds no video, only audio; pass a file with a picture track"


def test_a_song_with_a_cover_picture_holds_no_video(tmp_path: Path) -> None:
    path = make_audio(tmp_path / "song.m4a", cover=quadrants())
    assert open_error(FileSource(path)).startswith(f"{path}: holds no video, only audio and a cover picture; ")


def test_a_video_without_frames_says_so(long_clip: Path, tmp_path: Path) -> None:
    data = long_clip.read_bytes()
    path = tmp_path / "headers.mp4"
    path.write_bytes(data[: data.index(b"mdat") + 100])
    message = open_error(FileSource(path))
    assert message.startswith(f"{path}: its video stream (h264) holds no frame that can be decoded")


def test_errors_of_opening_are_source_open_errors_with_their_cause(tmp_path: Path) -> None:
    path = tmp_path / "noise.mp4"
    path.write_bytes(np.random.default_rng(1).bytes(5000))
    with pytest.raises(SourceOpenError) as caught:
        read_all(FileSource(path))
    assert type(caught.value.__cause__).__module__.startswith("av")


@pytest.mark.parametrize("fraction", [0.4, 0.7])
def test_a_cut_off_file_gives_all_that_is_there_and_a_warning(
    long_clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, fraction: float
) -> None:
    path = truncated(long_clip, tmp_path / "cut.mp4", fraction)
    with caplog.at_level(logging.WARNING):
        frames = read_all(FileSource(path))
    assert 150 * (fraction - 0.1) <= len(frames) <= 150 * fraction
    assert [frame.seq for frame in frames] == list(range(len(frames)))
    assert any(str(path) in r.getMessage() and "cut off" in r.getMessage() for r in caplog.records)


def test_a_whole_file_warns_of_nothing(long_clip: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert len(read_all(FileSource(long_clip))) == 150
    assert caplog.records == []


def test_damage_in_the_middle_is_skipped_with_one_warning(
    long_clip: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = bytearray(long_clip.read_bytes())
    middle = len(data) // 2
    data[middle : middle + len(data) // 10] = bytes(len(data) // 10)
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    with caplog.at_level(logging.WARNING):
        frames = read_all(FileSource(path))
    assert 120 <= len(frames) < 150
    assert frames[-1].time_s == pytest.approx(149 / 30)
    assert [r.getMessage() for r in caplog.records] == [
        f"{path}: a damaged piece of video was skipped (Invalid data found when processing input)"
    ]


def test_ffmpegs_own_complaints_stay_off_the_terminal(long_clip: Path, tmp_path: Path) -> None:
    path = truncated(long_clip, tmp_path / "cut.mp4", 0.5)
    code = (
        "import asyncio, logging, sys\n"
        "from gest_stream.sources.file import FileSource\n"
        "logging.disable(logging.CRITICAL)\n"
        "async def run():\n"
        "    async with FileSource(sys.argv[1]) as source:\n"
        "        return len([frame async for frame in source])\n"
        "print(asyncio.run(run()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 50
    assert done.stderr == ""


def test_the_sources_load_no_decoder_before_they_are_used() -> None:
    modules = "file images network open stdin webcam cameras".split()
    code = (
        f"import sys, importlib\nfor m in {modules!r}: importlib.import_module('gest_stream.sources.' + m)\n"
        "print(sorted({'av', 'cv2', 'torch', 'mediapipe'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
