"""`av_filter` and `AvFilter`: frames of an application's own PyAV in, frames of the same kind out."""

import io
import logging
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from gest_stream.config import EffectConfig, EffectKind, PipelineConfig
from gest_stream.errors import ConfigError, InvalidInputError, ModelError, SourceLostError, SourceOpenError
from gest_stream.overlay.palette import GREEN_SCREEN
from gest_stream.pipe.planes import layout_of
from gest_stream.pyav import AvFilter, av_filter
from gest_stream.testing import ScriptedDetector, ScriptedSegmenter, hull_mask, make_landmarks
from gest_stream.tracking.tracker import TrackerCore
from gest_stream.types import HandLandmarks
from tests.media import Clip, make_audio, make_clip
from tests.pipe.scripted import GREEN, OVERLAY, SIZE, TRANSPARENT, no_hand, noise, one_hand, piped, tracker_of

FORMATS = (
    *("yuv420p", "yuvj420p", "nv12", "yuv422p", "yuv444p", "yuv422p10le", "p010le"),
    *("rgb24", "bgra", "gray", "gbrp"),
)


def frame_of(
    format: str = "yuv420p", seed: int = 1, pts: int | None = 7, full: bool | None = None, size: tuple[int, int] = SIZE
) -> av.VideoFrame:
    ranges = {None: None, True: "JPEG", False: "MPEG"}
    frame = av.VideoFrame.from_ndarray(noise(seed, size), format="rgb24").reformat(
        format=format, dst_colorspace="ITU709" if full is not None else None, dst_color_range=ranges[full]
    )
    frame.pts, frame.time_base = pts, Fraction(1, 12_800)
    return frame


def config_of(effect: EffectConfig) -> PipelineConfig:
    return PipelineConfig(effect=effect)


def filter_of(effect: EffectConfig = GREEN) -> AvFilter:
    return AvFilter(config_of(effect), tracker=tracker_of())


def hand() -> NDArray[np.bool_]:
    """(H, W) where the scripted segmenter sees the hand."""
    whole = np.zeros((SIZE[1], SIZE[0]), bool)
    mask = hull_mask(one_hand(0)[0], SIZE)
    whole[mask.slices] = mask.crop > 0
    return whole


def rgb(frame: av.VideoFrame) -> NDArray[Any]:
    return frame.to_ndarray(format="rgb24").astype(int)


def memory(frame: av.VideoFrame) -> list[bytes]:
    return [bytes(memoryview(plane)) for plane in frame.planes]


@pytest.mark.parametrize("format", FORMATS)
def test_format_time_and_size_stay_and_the_background_is_green(format: str) -> None:
    frame = frame_of(format)
    before = memory(frame)
    with filter_of() as hands:
        out = hands.process(frame)
    assert (out.format.name, out.pts, out.time_base) == (format, 7, Fraction(1, 12_800))
    assert (out.width, out.height) == SIZE
    assert memory(frame) == before
    expected = np.array([150] * 3 if format == "gray" else GREEN_SCREEN)
    corner = rgb(out)[4:12, 4:12]
    assert np.abs(corner - expected).max() <= (40 if format == "gray" else 3)


@pytest.mark.parametrize("format", FORMATS)
def test_the_hand_keeps_every_bit(format: str) -> None:
    frame = frame_of(format)
    with filter_of() as hands:
        out = hands.process(frame)
    inside = hand()
    for layout, old, new in zip(layout_of(frame.format), frame.planes, out.planes, strict=True):
        one, other = layout.units(old, SIZE), layout.units(new, SIZE)
        whole = ~layout.pooled(~inside)
        assert whole.sum() > 50
        np.testing.assert_array_equal(other[whole], one[whole])


@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("format", ["yuv420p", "nv12", "yuv422p10le"])
def test_matrix_range_and_tags_stay_and_give_the_drawn_colour(format: str, full: bool) -> None:
    frame = frame_of(format, full=full)
    frame.color_primaries, frame.color_trc = 1, 1
    frame.duration = 512
    with filter_of() as hands:
        out = hands.process(frame)
    tags = (out.colorspace, out.color_range, out.color_primaries, out.color_trc, out.duration)
    assert tags == (1, 2 if full else 1, 1, 1, 512)
    assert np.abs(rgb(out)[4:12, 4:12] - GREEN_SCREEN).max() <= 3
    # the luma of that green is another one by each range
    level = np.frombuffer(memoryview(out.planes[0]), np.uint16 if "10" in format else np.uint8)[8]
    kr, kb = 0.2126, 0.0722
    luma = float(np.dot(GREEN_SCREEN, (kr, 1 - kr - kb, kb)))
    expected = luma if full else 16 + luma * 219 / 255
    assert float(level) / (4 if "10" in format else 1) == pytest.approx(expected, abs=1.2)


def test_transparent_gives_the_format_with_alpha() -> None:
    with filter_of(TRANSPARENT) as hands:
        out = hands.process(frame_of("yuv420p"))
    assert (out.format.name, out.pts) == ("yuva420p", 7)
    alpha = np.frombuffer(memoryview(out.planes[3]), np.uint8).reshape(SIZE[1], -1)[:, : SIZE[0]]
    np.testing.assert_array_equal(alpha, np.where(hand(), 255, 0))


def test_a_frame_without_hands_passes_untouched() -> None:
    frame = frame_of()
    with AvFilter(config_of(OVERLAY), tracker=tracker_of(no_hand)) as hands:
        assert hands.process(frame) is frame
        assert hands.result is not None and hands.result.tracks == ()


def test_what_was_found_can_be_asked_for() -> None:
    with filter_of() as hands:
        hands.process(frame_of(pts=100))
        hands.process(frame_of(pts=612))
        result = hands.result
    assert result is not None
    assert [track.id for track in result.tracks] == [1]
    assert (result.frame.pts, result.frame.seq) == (612, 1)


def test_times_that_are_missing_or_stand_still_are_kept_and_do_not_disturb_the_tracker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    times = [None, 5, 5, 3, 900]
    with caplog.at_level(logging.WARNING), filter_of() as hands:
        assert [hands.process(frame_of(pts=pts)).pts for pts in times] == times
        assert hands.result is not None and hands.result.frame.seq == 4
    bare = av.VideoFrame.from_ndarray(noise(1), format="rgb24")
    with filter_of() as hands:
        out = hands.process(bare)
    assert (out.pts, out.time_base) == (bare.pts, bare.time_base) == (None, None)


def test_a_rotated_frame_stays_as_it_lies_and_is_seen_upright(tmp_path: Path) -> None:
    image = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    path = make_clip(tmp_path / "clip.mp4", Clip(size=SIZE, frames=3, rotation=90, images=[image]))
    seen: list[tuple[int, int]] = []

    class Watching(ScriptedDetector):
        def detect(self, frame: Any) -> tuple[HandLandmarks, ...]:
            seen.append(frame.size)
            return super().detect(frame)

    def script(seq: int) -> Sequence[HandLandmarks]:
        return [make_landmarks((30.0, 100.0), 40)]

    tracker = TrackerCore(Watching(script), ScriptedSegmenter())
    with av.open(str(path)) as container:
        out = next(iter(av_filter(container, config_of(GREEN), tracker=tracker)))
    assert seen[0] == (SIZE[1], SIZE[0])
    assert (out.width, out.height, out.rotation) == (*SIZE, 90)
    # upright (30, 100) of 96x128 lies at (128 - 1 - 100, 30) of the stored picture, which is turned counter-clockwise
    assert np.abs(rgb(out)[30, 27] - 90).max() <= 3
    assert np.abs(rgb(out)[80, 100] - GREEN_SCREEN).max() <= 3


def test_frames_of_a_container_are_filtered_one_for_one(tmp_path: Path) -> None:
    pts = (0, 40, 41, 300, 900, 1000)
    clip = Clip(size=SIZE, frames=6, pts=pts, time_base=Fraction(1, 1000), audio="aac")
    path = make_clip(tmp_path / "clip.mkv", clip)
    with av.open(str(path)) as container:
        out = list(av_filter(container, config_of(GREEN), tracker=tracker_of()))
    assert [frame.pts for frame in out] == list(pts)
    assert {frame.time_base for frame in out} == {Fraction(1, 1000)}
    assert all(np.abs(rgb(frame)[4:12, 4:12] - GREEN_SCREEN).max() <= 3 for frame in out)


def test_frames_of_any_iterable_are_filtered_as_they_are_asked_for() -> None:
    made: list[int] = []

    def frames() -> Iterator[av.VideoFrame]:
        for index in range(5):
            made.append(index)
            yield frame_of(seed=index, pts=index)

    out = av_filter(frames(), config_of(GREEN), tracker=tracker_of())
    assert made == []
    assert next(out).pts == 0
    assert made == [0]
    assert [frame.pts for frame in out] == [1, 2, 3, 4]


def test_size_and_format_may_change_on_the_way() -> None:
    frames = [frame_of("yuv420p", pts=0), frame_of("nv12", pts=1, size=(96, 96)), frame_of("rgb24", pts=2)]
    out = list(av_filter(frames, config_of(GREEN), tracker=tracker_of()))
    assert [(f.format.name, f.width) for f in out] == [("yuv420p", 128), ("nv12", 96), ("rgb24", 128)]


def test_the_tracker_is_closed_at_the_end_and_when_the_loop_is_left() -> None:
    for take in (3, 1):
        detector = ScriptedDetector(one_hand)
        out = av_filter([frame_of(pts=i) for i in range(2)], tracker=TrackerCore(detector, ScriptedSegmenter()))
        for _ in zip(range(take), out, strict=False):
            pass
        del out
        assert detector.closed


def test_an_error_of_the_tracker_comes_through() -> None:
    def script(seq: int) -> Sequence[HandLandmarks]:
        if seq == 1:
            raise ModelError("scripted")
        return one_hand(seq)

    out = av_filter([frame_of(pts=i) for i in range(3)], tracker=tracker_of(script))
    next(out)
    with pytest.raises(ModelError, match="scripted"):
        next(out)


def test_after_a_reset_hands_are_new_and_ids_go_on() -> None:
    with filter_of() as hands:
        hands.process(frame_of(pts=900))
        hands.reset()
        hands.process(frame_of(pts=0))
        result = hands.result
    assert result is not None
    assert [track.id for track in result.tracks] == [2]
    assert result.frame.pts == 0


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ("clip.mp4", "got 'clip.mp4'; open it first: av.open"),
        (Path("clip.mp4"), "open it first"),
        (3, "expected an iterable of av.VideoFrame .* got int"),
        (None, "got NoneType"),
    ],
)
def test_what_holds_no_frames_is_refused_at_once(frames: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        av_filter(frames, tracker=tracker_of())


def test_one_frame_and_a_container_for_writing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="use AvFilter"):
        av_filter(frame_of(), tracker=tracker_of())  # type: ignore[arg-type]
    out = av.open(str(tmp_path / "out.mkv"), "w")
    with pytest.raises(InvalidInputError, match="got av.OutputContainer"):
        av_filter(out, tracker=tracker_of())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (np.zeros((8, 8, 3), np.uint8), "expected an av.VideoFrame, got numpy.ndarray"),
        (av.AudioFrame(), "got av.AudioFrame; pass on frames of video streams only"),
        (av.VideoFrame(), "an empty frame"),
        (av.VideoFrame(64, 48, "monow"), "cannot draw on the pixel format monow"),
    ],
)
def test_what_is_no_frame_that_can_be_drawn_on_is_refused(frame: Any, message: str) -> None:
    with filter_of() as hands, pytest.raises(InvalidInputError, match=message):
        hands.process(frame)


def test_transparent_refuses_a_format_without_a_counterpart_before_the_tracker_sees_it() -> None:
    with filter_of(TRANSPARENT) as hands:
        with pytest.raises(InvalidInputError, match="yuv410p has no counterpart with alpha"):
            hands.process(frame_of("yuv410p"))
        assert hands.result is None


def test_a_matrix_that_cannot_be_converted_is_named() -> None:
    frame = frame_of()
    frame.colorspace = 14
    with filter_of() as hands, pytest.raises(InvalidInputError, match="colour matrix 14"):
        hands.process(frame)


def test_a_closed_filter_says_so() -> None:
    hands = filter_of()
    hands.close()
    hands.close()
    with pytest.raises(InvalidInputError, match="is closed; make a new one"):
        hands.process(frame_of())


def test_a_replace_effect_without_a_background_is_refused() -> None:
    with pytest.raises(ConfigError, match="effect.background"):
        AvFilter(config_of(EffectConfig(kind=EffectKind.REPLACE)), tracker=tracker_of())


def test_a_container_without_video_is_refused_at_once(tmp_path: Path) -> None:
    with av.open(str(make_audio(tmp_path / "tone.mp4"))) as container:
        with pytest.raises(SourceOpenError, match="tone.mp4 holds no video"):
            av_filter(container, tracker=tracker_of())


class BreakingFile(io.BytesIO):
    """A stream whose other end fails after its last byte."""

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        if not data:
            raise ConnectionResetError(104, "Connection reset by peer")
        return data


def test_a_container_that_can_be_read_no_further_is_a_source_error() -> None:
    data = piped("nut", Clip(size=SIZE, frames=30, codec="rawvideo"))
    taken = 0
    with av.open(BreakingFile(data), "r") as container, pytest.raises(SourceLostError, match="can be read no further"):
        for _ in av_filter(container, config_of(OVERLAY), tracker=tracker_of()):
            taken += 1
    assert taken >= 28
