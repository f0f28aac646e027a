"""A stream through the filter, in one process, on a scripted tracker."""

import io
import logging
from fractions import Fraction

import av
import numpy as np
import pytest

from gest_stream.errors import SinkError
from gest_stream.overlay.palette import GREEN_SCREEN
from gest_stream.pipe.encoding import PipeOptions
from tests.media import Clip, number_of
from tests.pipe.scripted import (
    GREEN,
    MATROSKA,
    NUT,
    OVERLAY,
    RAW,
    SIZE,
    TRANSPARENT,
    Y4M,
    filtered,
    no_hand,
    noise,
    piped,
    read,
)

STREAMS = [
    ("nut", RAW),
    ("nut", Clip(size=SIZE, frames=12, codec="rawvideo", pix_fmt="rgb24")),
    ("matroska", RAW),
    ("matroska", Clip(size=SIZE, frames=12)),
    ("yuv4mpegpipe", RAW),
]
NAMES = ["nut", "nut-rgb", "matroska-raw", "matroska-h264", "y4m"]


@pytest.mark.parametrize(("format", "clip"), STREAMS, ids=NAMES)
def test_the_container_the_pixel_format_and_every_time_stay_as_they_are(format: str, clip: Clip) -> None:
    data = piped(format, clip)
    before, after = read(data), read(filtered(data).data)
    assert after.format == before.format
    assert [f.format.name for f in after.frames] == [f.format.name for f in before.frames]
    assert after.times_s == before.times_s
    assert len(after.frames) == clip.frames
    assert after.rate == before.rate


@pytest.mark.parametrize(("format", "clip"), STREAMS, ids=NAMES)
def test_the_background_turns_green_and_the_hand_stays(format: str, clip: Clip) -> None:
    after = read(filtered(piped(format, clip)).data).rgb
    for index, image in enumerate(after):
        np.testing.assert_allclose(image[5, 5], GREEN_SCREEN, atol=3)
        assert number_of(image[46:50, 62:66]) == index % 20


@pytest.mark.parametrize("format", ["nut", "matroska", "yuv4mpegpipe"])
def test_frames_without_a_hand_leave_bit_for_bit(format: str) -> None:
    images = [noise(seed) for seed in range(3)]
    data = piped(format, Clip(size=SIZE, frames=6, codec="rawvideo", images=images))
    before, after = read(data), read(filtered(data, effect=OVERLAY, script=no_hand).data)
    for old, new in zip(before.frames, after.frames, strict=True):
        assert [bytes(plane) for plane in new.planes] == [bytes(plane) for plane in old.planes]


@pytest.mark.parametrize(("format", "codec"), [("nut", "rawvideo"), ("matroska", "libx264")])
def test_sound_passes_packet_for_packet(format: str, codec: str) -> None:
    data = piped(format, Clip(size=SIZE, frames=30, codec=codec, audio="aac"))
    before, after = read(data), read(filtered(data).data)
    assert before.packets == after.packets
    assert [len(packets) for packets in after.packets.values()] == [48]
    assert after.codecs[1] == before.codecs[1] == "aac"


def test_sound_that_goes_on_when_the_pictures_have_ended_is_passed_on() -> None:
    data = _two_streams(frames=5, audio_packets=3000)
    before, after = read(data), read(filtered(data).data)
    assert after.packets == before.packets
    assert len(after.packets[1]) == 3000
    assert len(after.frames) == 5


def _two_streams(frames: int, audio_packets: int) -> bytes:
    """Pictures beside uncompressed sound of any length."""
    file = io.BytesIO()
    with av.open(file, "w", format="nut") as out:
        video = out.add_stream("rawvideo", rate=30)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        sound = out.add_stream("pcm_s16le", rate=48_000, layout="mono")
        for index in range(max(frames, audio_packets)):
            if index < frames:
                picture = av.VideoFrame.from_ndarray(noise(index), format="rgb24").reformat(format="yuv420p")
                picture.pts, picture.time_base = index, Fraction(1, 30)
                out.mux(video.encode(picture))
            if index < audio_packets:
                tone = av.AudioFrame.from_ndarray(np.full((1, 1600), index % 999, np.int16), layout="mono")
                tone.sample_rate, tone.pts, tone.time_base = 48_000, index * 1600, Fraction(1, 48_000)
                out.mux(sound.encode(tone))
        out.mux(video.encode(None))
    return file.getvalue()


def test_subtitles_are_passed_on_with_their_language() -> None:
    data = _with_subtitles()
    before, after = read(data), read(filtered(data).data)
    assert after.packets == before.packets
    assert [text for text, _ in after.packets[1]] == [b"one", b"two"]
    with av.open(io.BytesIO(filtered(data).data), "r") as container:
        assert container.streams[1].metadata["language"] == "deu"


def _with_subtitles() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        video = out.add_stream("libx264", rate=30)
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        text = out.add_mux_stream("subrip", time_base=Fraction(1, 1000))
        text.metadata["language"] = "deu"
        for index in range(12):
            frame = av.VideoFrame.from_ndarray(noise(index), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, 30)
            out.mux(video.encode(frame))
            if index in (3, 8):
                packet = av.Packet(b"one" if index == 3 else b"two")
                packet.stream, packet.pts, packet.dts, packet.duration = text, index * 33, index * 33, 100
                packet.time_base = Fraction(1, 1000)
                out.mux(packet)
        out.mux(video.encode(None))
    return file.getvalue()


def test_a_variable_rate_keeps_every_time() -> None:
    pts = (0, 7, 90, 91, 500, 501)
    clip = Clip(size=SIZE, frames=6, codec="rawvideo", pts=pts, time_base=Fraction(1, 1000))
    after = read(filtered(piped("nut", clip)).data)
    assert after.times_s == [Fraction(value, 1000) for value in pts]


def test_times_before_zero_and_b_frames_are_kept() -> None:
    options = (("bf", "2"), ("b-adapt", "0"), ("qp", "4"))
    clip = Clip(size=SIZE, frames=20, options=options)
    data = piped("matroska", clip)
    encoded = filtered(data, options=PipeOptions(codec="libx264", codec_options={"bf": "2", "b-adapt": "0"})).data
    assert read(encoded).times_s == read(data).times_s


def test_a_stream_that_starts_before_zero_is_moved_as_a_whole_for_nut(caplog: pytest.LogCaptureFixture) -> None:
    pts = (-80, -40, 0, 40)
    options = (("avoid_negative_ts", "disabled"),)
    data = piped("mpegts", Clip(size=SIZE, frames=4, pts=pts, time_base=Fraction(1, 1000), container_options=options))
    assert read(data).times_s[0] == Fraction(-80, 1000)
    with caplog.at_level(logging.WARNING):
        moved = read(filtered(data).data)
    assert moved.times_s == [Fraction(value + 80, 1000) for value in pts]
    assert "starts 0.080 s before 0, which NUT cannot hold" in caplog.text


def test_colours_and_range_are_declared_as_they_were() -> None:
    clip = Clip(size=SIZE, frames=4, matrix="ITU709", full_range=True)
    after = read(filtered(piped("matroska", clip)).data).frames[0]
    assert (after.colorspace, after.color_range) == (1, 2)
    y4m = Clip(size=SIZE, frames=4, codec="rawvideo", full_range=True)
    assert read(filtered(piped("yuv4mpegpipe", y4m)).data).frames[0].color_range == 2


def test_interlaced_y4m_stays_interlaced() -> None:
    data = piped("yuv4mpegpipe", Clip(size=SIZE, frames=3, codec="rawvideo"))
    after = filtered(data.replace(b" Ip ", b" It ", 1)).data
    assert b" It " in after.partition(b"\n")[0]


def test_full_range_that_nut_cannot_declare_is_told(caplog: pytest.LogCaptureFixture) -> None:
    data = piped("nut", Clip(size=SIZE, frames=4, full_range=True, pix_fmt="yuvj420p"))
    with caplog.at_level(logging.WARNING):
        after = read(filtered(data, effect=OVERLAY, script=no_hand).data)
    assert "-color_range pc" in caplog.text
    before = read(data)
    assert [bytes(p) for p in after.frames[2].planes] == [bytes(p) for p in before.frames[2].planes]


@pytest.mark.parametrize(
    ("pix_fmt", "expected"), [("yuv420p", "yuva420p"), ("rgb24", "rgba"), ("yuv422p10le", "yuva422p10le")]
)
def test_transparent_gives_pictures_with_alpha(pix_fmt: str, expected: str) -> None:
    data = piped("nut", Clip(size=SIZE, frames=3, codec="rawvideo", pix_fmt=pix_fmt, images=[noise(1)]))
    after = read(filtered(data, effect=TRANSPARENT).data)
    assert {frame.format.name for frame in after.frames} == {expected}
    alpha = after.frames[1].to_ndarray(format="rgba")[..., 3]
    assert (alpha[48, 64], alpha[5, 5]) == (255, 0)


def test_transparent_in_y4m_is_444_with_alpha() -> None:
    data = piped("yuv4mpegpipe", Clip(size=SIZE, frames=3, codec="rawvideo"))
    after = read(filtered(data, effect=TRANSPARENT).data)
    assert after.frames[0].format.name == "yuva444p"


def test_a_codec_without_alpha_is_refused_for_transparent() -> None:
    with pytest.raises(SinkError, match="libx264: yuva420p pictures with alpha.*--codec ffv1"):
        filtered(piped("nut", RAW), effect=TRANSPARENT, options=PipeOptions(codec="libx264"))


def test_another_container_and_codec_can_be_asked_for() -> None:
    data = piped("nut", Clip(size=SIZE, frames=12, codec="rawvideo", audio="aac"))
    options = PipeOptions(MATROSKA, "libx264", {"preset": "ultrafast", "qp": "2"})
    before, after = read(data), read(filtered(data, options=options).data)
    assert after.format == "matroska,webm"
    assert after.codecs == ["h264", "aac"]
    assert [payload for payload, _ in after.packets[1]] == [payload for payload, _ in before.packets[1]]
    # Matroska counts milliseconds
    assert [float(t) for t in after.times_s] == pytest.approx([float(t) for t in before.times_s], abs=5e-4)


def test_matroska_takes_ffv1_where_it_cannot_hold_raw_pictures() -> None:
    data = piped("matroska", Clip(size=SIZE, frames=3, codec="ffv1", pix_fmt="yuv444p", images=[noise(1)]))
    before, after = read(data), read(filtered(data, effect=OVERLAY, script=no_hand).data)
    assert after.codecs == ["ffv1"]
    assert [bytes(p) for p in after.frames[1].planes] == [bytes(p) for p in before.frames[1].planes]


def test_a_raw_format_that_nut_would_misname_is_written_as_a_like_one() -> None:
    data = piped("matroska", Clip(size=SIZE, frames=2, codec="ffv1", pix_fmt="yuv420p10le", images=[noise(1)]))
    assert read(filtered(data, options=PipeOptions(NUT)).data).frames[0].format.name == "yuv420p10le"
    grey = piped("matroska", Clip(size=SIZE, frames=2, codec="ffv1", pix_fmt="gray9le", images=[noise(1)]))
    after = read(filtered(grey, options=PipeOptions(NUT), effect=OVERLAY, script=no_hand).data)
    expected = read(grey).frames[0].to_ndarray(format="rgb24").astype(int)
    assert np.abs(after.rgb[0].astype(int) - expected).max() <= 3


def test_mpegts_leaves_as_nut() -> None:
    data = piped("mpegts", Clip(size=SIZE, frames=12))
    before, after = read(data), read(filtered(data).data)
    assert after.format == "nut"
    assert after.times_s == before.times_s


def test_y4m_leaves_sound_out_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    data = piped("nut", Clip(size=SIZE, frames=12, codec="rawvideo", audio="aac"))
    with caplog.at_level(logging.WARNING):
        after = read(filtered(data, options=PipeOptions(Y4M)).data)
    assert (after.format, after.packets, len(after.frames)) == ("yuv4mpegpipe", {}, 12)
    assert "audio stream 1 is left out: y4m holds video alone" in caplog.text


def test_a_picture_that_changes_its_size_is_fitted_into_the_first() -> None:
    data = _of_two_sizes()
    after = read(filtered(data, effect=OVERLAY, script=no_hand).data)
    assert {(frame.width, frame.height) for frame in after.frames} == {SIZE}
    assert len(after.frames) == 20
    late = after.rgb[-1]
    assert late[:, :10].max() < 12  # black beside a picture that is narrower
    assert late[:, 40:88].min() > 180


def _of_two_sizes() -> bytes:
    pieces = [
        piped("h264", Clip(size=size, frames=10, images=[np.full((size[1], size[0], 3), 200, np.uint8)]))
        for size in (SIZE, (96, 96))
    ]
    file = io.BytesIO()
    with av.open(file, "w", format="mpegts") as out:
        stream = out.add_mux_stream("h264", time_base=Fraction(1, 90_000))
        with av.open(io.BytesIO(b"".join(pieces)), "r", format="h264") as annex_b:
            for index, packet in enumerate(packet for packet in annex_b.demux(video=0) if packet.size):
                packet.stream = stream  # type: ignore[assignment]
                packet.pts = packet.dts = 3000 * (index + 3)
                packet.time_base = Fraction(1, 90_000)
                out.mux(packet)
    return file.getvalue()


def test_a_rotated_picture_leaves_upright() -> None:
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    image[:, :32] = 220  # the left quarter; counter-clockwise by 90 degrees it is the lower one
    clip = Clip(size=SIZE, frames=4, rotation=90, images=[image])
    after = read(filtered(piped("matroska", clip), effect=OVERLAY, script=no_hand).data)
    assert (after.frames[0].width, after.frames[0].height) == (SIZE[1], SIZE[0])
    assert after.rgb[0][-20:].mean() > 180
    assert after.rgb[0][:60].mean() < 30


def test_green_is_exact_inside_the_hand() -> None:
    data = piped("nut", Clip(size=SIZE, frames=3, codec="rawvideo", images=[noise(5)]))
    old, new = read(data).frames[1], read(filtered(data, effect=GREEN).data).frames[1]
    for before, after in zip(old.planes, new.planes, strict=True):
        scale = old.width // before.width
        part = np.s_[44 // scale : 52 // scale, 60 // scale : 68 // scale]
        one, other = (np.frombuffer(memoryview(plane), np.uint8).reshape(plane.height, -1) for plane in (before, after))
        np.testing.assert_array_equal(other[part], one[part])
        assert not np.array_equal(other, one)
