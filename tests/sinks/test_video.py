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
from gest_stream.config import EffectConfig, EffectKind, H264Encoder, VideoConfig
from gest_stream.errors import ConfigError, InvalidInputError, SinkError
from gest_stream.overlay.palette import GREEN_SCREEN
from gest_stream.sinks import picture_encoder
from gest_stream.sinks.containers import codec_for
from gest_stream.sinks.video import VideoSink, landmark_video, segmented_video
from gest_stream.testing import hull_mask, make_landmarks
from gest_stream.types import AudioFormat, AudioPacket, Frame, FrameResult, Handedness, Track, TrackState
from tests.sinks.conftest import info_of, picture, result_at, run_sink

SUFFIXES = [".mp4", ".mov", ".mkv", ".webm"]


def decoded(path: Path) -> list[tuple[Fraction, NDArray[np.uint8]]]:
    """(media time in seconds, RGB) of every frame."""
    with av.open(str(path)) as source:
        return [
            (frame.pts * frame.time_base, frame.to_ndarray(format="rgb24").astype(np.uint8))
            for frame in source.decode(video=0)
            if frame.pts is not None and frame.time_base is not None
        ]


def times(path: Path) -> list[Fraction]:
    return [time for time, _ in decoded(path)]


def playable_frames(path: Path) -> int:
    """Frames that a player shows: one that cannot be decoded is passed over."""
    shown = 0
    with av.open(str(path)) as source:
        for packet in source.demux(video=0):
            with contextlib.suppress(av.InvalidDataError):
                shown += len(packet.decode())
    return shown


def result_with_hand(center: tuple[float, float], size: tuple[int, int], seq: int = 0) -> FrameResult:
    hand = make_landmarks(center, size_px=60)
    track = Track(1, TrackState.TRACKED, Handedness.RIGHT, 1.0, hand, hull_mask(hand, size))
    return FrameResult(Frame(picture(size, (250, 250, 250)), seq, Fraction(1, 30), 0, seq), (track,))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_mask_of_the_green_effect_is_where_the_hand_is(tmp_path: Path, suffix: str) -> None:
    size, path = (200, 120), tmp_path / f"out{suffix}"
    results = [result_with_hand((140, 45), size, seq) for seq in range(4)]
    run_sink(segmented_video(path, EffectConfig(EffectKind.GREEN, feather_px=0)), results, info_of(size))
    mask = results[0].tracks[0].mask
    assert mask is not None
    shown = decoded(path)[-1][1].astype(int)
    is_hand = np.abs(shown - 250).max(axis=2) < np.abs(shown - GREEN_SCREEN).max(axis=2)
    wanted = mask.full() >= 128
    overlap = (is_hand & wanted).sum() / (is_hand | wanted).sum()
    assert overlap > 0.97
    for wrong in (wanted[:, ::-1], wanted[::-1], np.roll(wanted, 4, axis=1), np.roll(wanted, 4, axis=0)):
        assert (is_hand & wrong).sum() / (is_hand | wrong).sum() < overlap - 0.05


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("time_base", [Fraction(1001, 30_000), Fraction(1, 90_000), Fraction(1, 1_000_000)], ids=str)
def test_uneven_pts_come_out_as_they_went_in(tmp_path: Path, suffix: str, time_base: Fraction) -> None:
    step = max(4, round(Fraction(1, 100) / time_base))
    pts = [step * n + n % 3 for n in (3, 4, 5, 9, 10, 17, 18, 19, 40, 41, 42, 90)]
    path = tmp_path / f"out{suffix}"
    run_sink(VideoSink(path), [result_at(p, time_base=time_base) for p in pts], info_of(time_base=time_base))
    wanted = [p * time_base for p in pts]
    if suffix in (".mp4", ".mov"):
        assert times(path) == wanted
    else:  # these containers count milliseconds
        assert max(abs(got - want) for got, want in zip(times(path), wanted, strict=True)) <= Fraction(1, 2000)


def test_mp4_keeps_the_clock_of_the_source(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    run_sink(VideoSink(path), [result_at(n) for n in range(5)])
    with av.open(str(path)) as source:
        assert source.streams.video[0].time_base == Fraction(1, 30)


@pytest.mark.parametrize(("size", "tag"), [((64, 48), 6), ((1280, 720), 1)], ids=["SD is BT.601", "HD is BT.709"])
def test_colours_are_converted_as_they_are_tagged(tmp_path: Path, size: tuple[int, int], tag: int) -> None:
    path = tmp_path / "out.mp4"
    colour = (200, 30, 60)
    run_sink(VideoSink(path), [result_at(0, size, colour=colour)], info_of(size))
    with av.open(str(path)) as source:
        context = source.streams.video[0].codec_context
        frame = next(source.decode(video=0))
        tags = (int(context.colorspace), int(context.color_primaries), int(context.color_trc), int(context.color_range))
        assert tags == (tag, tag, tag, 1)
        luma, blue, red = (bytes(plane)[0] for plane in frame.planes)
    k_red, k_blue = (0.2126, 0.0722) if tag == 1 else (0.299, 0.114)
    r, g, b = (value / 255 for value in colour)
    y = k_red * r + (1 - k_red - k_blue) * g + k_blue * b
    assert luma == pytest.approx(16 + 219 * y, abs=1)
    assert blue == pytest.approx(128 + 112 * (b - y) / (1 - k_blue), abs=1)
    assert red == pytest.approx(128 + 112 * (r - y) / (1 - k_red), abs=1)


def test_an_odd_size_is_made_even_by_repeating_the_edge(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4"
    image = picture((63, 47), (40, 40, 40))
    image[:, 56:] = image[40:] = 220
    run_sink(VideoSink(path), [FrameResult(Frame(image, 0, Fraction(1, 30), 0))], info_of((63, 47)))
    shown = decoded(path)[0][1].astype(int)
    assert shown.shape == (48, 64, 3)
    assert np.abs(shown[:, -1] - 220).max() < 12
    assert np.abs(shown[-1] - 220).max() < 12
    assert np.abs(shown[:30, :50] - 40).max() < 12


@pytest.mark.parametrize("suffix", [".mov", ".webm"])
def test_transparency_is_read_back(tmp_path: Path, suffix: str) -> None:
    size, path = (200, 120), tmp_path / f"out{suffix}"
    results = [result_with_hand((140, 45), size, seq) for seq in range(3)]
    run_sink(segmented_video(path, EffectConfig(EffectKind.TRANSPARENT, feather_px=0)), results, info_of(size))
    mask = results[0].tracks[0].mask
    assert mask is not None
    with av.open(str(path)) as source:
        stream = source.streams.video[0]
        if suffix == ".webm":  # FFmpeg's own VP9 decoder drops the alpha
            decoder = av.CodecContext.create("libvpx-vp9", "r")
            packet = next(packet for packet in source.demux(stream) if packet.size)
            frame = next(iter(decoder.decode(packet)))
        else:
            frame = next(source.decode(stream))
        alpha = frame.to_ndarray(format="rgba")[..., 3]
    wanted = mask.full() >= 128
    overlap = ((alpha >= 128) & wanted).sum() / ((alpha >= 128) | wanted).sum()
    assert overlap > 0.97
    assert alpha[100:, :80].max() < 8


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_transparency_is_refused_where_the_container_has_none(tmp_path: Path, suffix: str) -> None:
    wanted = rf"out\{suffix}: {suffix} files carry no transparency; use out\.webm \(VP9\) or out\.mov \(ProRes 4444\)"
    with pytest.raises(SinkError, match=wanted):
        segmented_video(tmp_path / f"out{suffix}", EffectConfig(EffectKind.TRANSPARENT))


def test_a_picture_of_another_size_is_fitted_into_the_first_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "out.mp4"
    results = [result_at(0), result_at(1), *(result_at(n, (40, 80), colour=(240, 240, 240)) for n in range(2, 6))]
    with caplog.at_level(logging.WARNING):
        run_sink(VideoSink(path), results)
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: the picture changed from 64x48 to 40x80; it is fitted into the first size"
    ]
    shown = decoded(path)
    assert {image.shape for _, image in shown} == {(48, 64, 3)}
    last = shown[-1][1].astype(int)
    assert last[:, 24:40].min() > 200  # 24x48, centred
    assert last[:, :16].max() < 40
    assert last[:, -16:].max() < 40


def test_frames_whose_pts_do_not_advance_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "out.mp4"
    with caplog.at_level(logging.WARNING):
        run_sink(VideoSink(path), [result_at(pts) for pts in (0, 1, 1, 0, 2)])
    assert [time * 30 for time in times(path)] == [0, 1, 2]
    assert [record.getMessage() for record in caplog.records] == [
        f"{path}: pts 1 does not advance; such frames are left out of the video",
        f"{path}: 2 frames whose pts did not advance were left out",
    ]


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


def test_the_landmark_video_shows_landmarks(tmp_path: Path) -> None:
    size, path = (200, 120), tmp_path / "out.mp4"
    result = result_with_hand((100, 60), size)
    run_sink(landmark_video(path), [result], info_of(size))
    shown = decoded(path)[0][1].astype(int)
    assert np.abs(shown[:20] - 250).max() < 12
    assert np.abs(shown[30:90, 60:140] - 250).max() > 100


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


def test_rgb_where_alpha_was_promised_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"expected a picture of 4 channels to write, got \(48, 64, 3\)"):
        run_sink(VideoSink(tmp_path / "out.webm", alpha=True), [result_at(0)])


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"crf": 52}, "video.crf: expected 0 to 51, got 52"),
        ({"preset": "hasty"}, "video.preset: expected one of ultrafast, .*, got 'hasty'"),
        ({"threads": -1}, "video.threads: expected 0 or more, got -1"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        VideoConfig(**options)  # type: ignore[arg-type]


def test_crf_trades_size_for_quality(tmp_path: Path) -> None:
    image = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
    results = [FrameResult(Frame(image, n, Fraction(1, 30), 0)) for n in range(3)]
    for crf in (10, 40):
        run_sink(VideoSink(tmp_path / f"{crf}.mp4", options=VideoConfig(crf=crf)), results)
    assert (tmp_path / "10.mp4").stat().st_size > 2 * (tmp_path / "40.mp4").stat().st_size


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


def test_h264_by_nvenc_is_refused_or_done_without_where_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(picture_encoder, "nvenc_works", lambda: False)
    caplog.set_level(logging.INFO)
    results = [FrameResult(Frame(np.zeros((48, 64, 3), np.uint8), n, Fraction(1, 30), 0)) for n in range(3)]
    with pytest.raises(ConfigError, match="video.h264: 'nvenc' cannot be opened on this machine; use 'auto'"):
        run_sink(VideoSink(tmp_path / "a.mp4", options=VideoConfig(h264=H264Encoder.NVENC)), results)
    run_sink(VideoSink(tmp_path / "b.mp4", options=VideoConfig(h264=H264Encoder.AUTO)), results)
    assert "NVENC cannot be opened, x264 encodes" in caplog.text
    with av.open(str(tmp_path / "b.mp4")) as written:
        assert sum(1 for _ in written.decode(video=0)) == 3


def test_only_h264_has_nvenc_with_a_quality_option_of_its_own(tmp_path: Path) -> None:
    codec = codec_for(tmp_path / "a.mp4", alpha=False)
    assert codec.nvenc is not None
    assert (codec.nvenc.name, codec.nvenc.quality_option, codec.nvenc.options["bf"]) == ("h264_nvenc", "cq", "0")
    assert codec_for(tmp_path / "a.webm", alpha=False).nvenc is None


@pytest.mark.gpu
def test_nvenc_writes_every_picture(tmp_path: Path) -> None:
    image = np.full((240, 320, 3), 128, np.uint8)
    results = [FrameResult(Frame(image, n, Fraction(1, 30), 0)) for n in range(30)]
    run_sink(VideoSink(tmp_path / "a.mp4", options=VideoConfig(h264=H264Encoder.NVENC)), results)
    with av.open(str(tmp_path / "a.mp4")) as written:
        frames = list(written.decode(video=0))
    assert len(frames) == 30
    assert abs(int(frames[-1].to_ndarray(format="rgb24").mean()) - 128) <= 4
