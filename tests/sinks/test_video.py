"""What a video shows: pictures, times, colours and transparency, read back from the file."""

import logging
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from gest_stream.config import EffectConfig, EffectKind
from gest_stream.errors import InvalidInputError, SinkError
from gest_stream.overlay.palette import GREEN_SCREEN
from gest_stream.sinks.video import VideoSink, landmark_video, segmented_video
from gest_stream.testing import hull_mask, make_landmarks
from gest_stream.types import Frame, FrameResult, Handedness, Track, TrackState
from tests.sinks.conftest import SUFFIXES, decoded, info_of, picture, result_at, run_sink, times


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


def test_the_landmark_video_shows_landmarks(tmp_path: Path) -> None:
    size, path = (200, 120), tmp_path / "out.mp4"
    result = result_with_hand((100, 60), size)
    run_sink(landmark_video(path), [result], info_of(size))
    shown = decoded(path)[0][1].astype(int)
    assert np.abs(shown[:20] - 250).max() < 12
    assert np.abs(shown[30:90, 60:140] - 250).max() > 100


def test_rgb_where_alpha_was_promised_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"expected a picture of 4 channels to write, got \(48, 64, 3\)"):
        run_sink(VideoSink(tmp_path / "out.webm", alpha=True), [result_at(0)])
