from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import av
import numpy as np
import pytest
from aiortc.codecs import CODECS, depayload
from aiortc.codecs.base import Encoder
from aiortc.rtcrtpparameters import RTCRtpCodecParameters
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from gest_stream.config import H264Encoder, RtcConfig
from gest_stream.errors import ConfigError
from gest_stream.hwcodec import nvenc_works
from gest_stream.rtc import encoding
from gest_stream.rtc.encoding import RealtimeH264Encoder, RealtimeVp8Encoder, check_encoder, get_encoder
from gest_stream.rtc.scope import settings_of
from tests.rtc.peers import bar_number, bar_picture

_RTP = Fraction(1, 90_000)
_WIDE = RtcConfig(
    start_bitrate_kbps=1000,
    min_bitrate_kbps=100,
    max_bitrate_kbps=4000,
    max_bits_per_pixel=10,
    h264=H264Encoder.X264,
)
_CODECS = {codec.name: codec for codec in CODECS["video"]}
both = pytest.mark.parametrize("name", ["VP8", "H264"])


def _encoder(name: str, config: RtcConfig = _WIDE) -> RealtimeH264Encoder | RealtimeVp8Encoder:
    with settings_of(config):
        encoder = get_encoder(_CODECS[name])
    assert isinstance(encoder, RealtimeH264Encoder | RealtimeVp8Encoder)
    return encoder


def _frame(
    number: int, size: tuple[int, int] = (160, 120), *, fmt: str = "yuv420p", pts: int | None = None
) -> av.VideoFrame:
    frame = av.VideoFrame.from_ndarray(bar_picture(number, size), "rgb24").reformat(format=fmt)
    frame.pts, frame.time_base = number * 3000 if pts is None else pts, _RTP
    return frame


def _noise(count: int, fps: float, size: tuple[int, int] = (320, 240)) -> Iterator[av.VideoFrame]:
    """Pictures with a grain that takes as many bits as it is given, or none."""
    rng = np.random.default_rng(0)
    for number in range(count):
        grain = rng.integers(90, 165, (size[1] * 3 // 2, size[0]), np.uint8)
        frame = av.VideoFrame.from_ndarray(grain, "yuv420p")
        frame.pts, frame.time_base = round(number * 90_000 / fps), _RTP
        yield frame


class Viewer:
    """What a receiver makes of payloads."""

    def __init__(self, name: str) -> None:
        self._codec = _CODECS[name]
        decoder = av.CodecContext.create(name.lower(), "r")
        assert isinstance(decoder, VideoCodecContext)
        self._decoder = decoder

    def pictures(self, payloads: Sequence[bytes]) -> list[av.VideoFrame]:
        return self._decoder.decode(av.Packet(_data(self._codec, payloads)))


def _data(codec: RTCRtpCodecParameters, payloads: Sequence[bytes]) -> bytes:
    return b"".join(depayload(codec, payload) for payload in payloads)


def _is_key(name: str, payloads: Sequence[bytes]) -> bool:
    data = _data(_CODECS[name], payloads)
    return not data[0] & 1 if name == "VP8" else any(b"\0\0\1" + bytes([nal]) in data for nal in (0x65, 0x25, 0x45))


@both
@pytest.mark.parametrize("size", [(160, 120), (162, 122), (161, 121), (33, 17), (640, 480)])
@pytest.mark.parametrize("fmt", ["yuv420p", "rgb24", "yuvj420p", "nv12", "gray"])
def test_pictures_of_any_size_and_format_are_encoded(name: str, size: tuple[int, int], fmt: str) -> None:
    encoder, viewer = _encoder(name), Viewer(name)
    for number in (5, 6, 7):
        payloads, timestamp = encoder.encode(_frame(number, size, fmt=fmt))
        (picture,) = viewer.pictures(payloads)
        assert timestamp == number * 3000
        assert size[0] - picture.width in (0, 1) and size[1] - picture.height in (0, 1)
        if size[0] > 100:
            assert bar_number(picture) == number


@both
def test_the_size_may_change_in_mid_stream(name: str) -> None:
    encoder, viewer = _encoder(name), Viewer(name)
    sizes = [(160, 120), (320, 240), (161, 121), (160, 120)]
    for number, size in enumerate(size for size in sizes for _ in range(3)):
        (picture,) = viewer.pictures(encoder.encode(_frame(number, size))[0])
        assert bar_number(picture) == number
        assert abs(picture.width - size[0]) <= 1


@both
def test_a_keyframe_comes_when_it_is_asked_for_and_only_then(name: str) -> None:
    encoder = _encoder(name)
    keys = [_is_key(name, encoder.encode(_frame(number), number in (0, 7, 8))[0]) for number in range(40)]
    assert [number for number, key in enumerate(keys) if key] == [0, 7, 8]


@both
def test_a_viewer_who_joins_at_a_keyframe_sees_the_picture(name: str) -> None:
    encoder, viewer = _encoder(name), Viewer(name)
    for number in range(5):
        encoder.encode(_frame(number))
    (picture,) = viewer.pictures(encoder.encode(_frame(5), True)[0])
    assert bar_number(picture) == 5


@both
def test_a_decoded_pictures_own_type_decides_nothing(name: str) -> None:
    encoder = _encoder(name)
    encoder.encode(_frame(0))
    frame = _frame(1)
    frame.pict_type = PictureType.I
    assert not _is_key(name, encoder.encode(frame)[0])


@both
def test_a_frame_that_others_hold_as_well_stays_as_it_is(name: str) -> None:
    encoder = _encoder(name)
    frame = _frame(3)
    frame.pts, frame.time_base = 7, Fraction(1, 30)
    payloads, timestamp = encoder.encode(frame, True)
    assert payloads and timestamp == 21_000
    assert (frame.pts, frame.time_base, frame.pict_type) == (7, Fraction(1, 30), PictureType.NONE)


@both
def test_timestamps_are_exact(name: str) -> None:
    encoder = _encoder(name)
    stamps = [0, 1, 2999, 3001, 90_000 * 3600 * 24 * 3 + 7]
    assert [encoder.encode(_frame(0, pts=pts))[1] for pts in stamps] == stamps


@both
def test_pts_that_stand_still_go_back_or_are_missing_end_nothing(name: str) -> None:
    encoder, viewer = _encoder(name), Viewer(name)
    stamps = [90_000, 90_000, 89_000, 93_000, 0, 3000, 2**40, 2**40 + 3000, 5]
    for number, pts in enumerate(stamps):
        payloads, timestamp = encoder.encode(_frame(number, pts=pts))
        assert timestamp == pts
        (picture,) = viewer.pictures(payloads)
        assert bar_number(picture) == number
    frame = _frame(9)
    frame.pts = None
    (picture,) = viewer.pictures(encoder.encode(frame)[0])
    assert bar_number(picture) == 9


@both
@pytest.mark.parametrize("fps", [12.0, 30.0, 60.0])
def test_the_bitrate_is_kept_at_any_frame_rate(name: str, fps: float) -> None:
    encoder = _encoder(name)
    encoder.target_bitrate = 1_500_000
    sizes = [sum(map(len, encoder.encode(frame)[0])) for frame in _noise(int(fps * 5), fps)]
    settled = sizes[int(fps * 2) :]
    assert sum(settled) * 8 / (len(settled) / fps) == pytest.approx(1_500_000, rel=0.25)


@both
def test_the_bitrate_follows_its_target_within_a_second_and_a_half(name: str) -> None:
    encoder = _encoder(name)
    targets = [3_000_000, 800_000, 2_500_000]
    rates, keys = [], 0
    frames = _noise(300, 30)
    for target in targets:
        encoder.target_bitrate = target
        payloads = [encoder.encode(next(frames))[0] for _ in range(100)]
        keys += sum(_is_key(name, payload) for payload in payloads)
        rates.append(sum(len(part) for payload in payloads[45:] for part in payload) * 8 / (55 / 30))
    assert rates == pytest.approx(targets, rel=0.3)
    assert keys == {"H264": 1, "VP8": 3}[name]  # x264 goes on as it was; libvpx must be opened anew


def test_vp8_is_not_opened_anew_for_every_step_up() -> None:
    encoder = _encoder("VP8")
    keys = 0
    for number, frame in enumerate(_noise(90, 30)):
        encoder.target_bitrate = 1_000_000 + number * 30_000
        keys += _is_key("VP8", encoder.encode(frame)[0])
    assert keys == 2


@both
def test_the_target_stays_within_the_configured_bounds(name: str) -> None:
    encoder = _encoder(name, RtcConfig(start_bitrate_kbps=3000, min_bitrate_kbps=1000, max_bitrate_kbps=8000))
    assert encoder.target_bitrate == 3_000_000
    encoder.target_bitrate = 1
    assert encoder.target_bitrate == 1_000_000
    encoder.target_bitrate = 10**12
    assert encoder.target_bitrate == 8_000_000


@both
def test_small_pictures_get_no_more_than_they_need(name: str) -> None:
    encoder = _encoder(name, RtcConfig(max_bits_per_pixel=0.2))
    encoder.target_bitrate = 10**12
    encoder.encode(_frame(0, (640, 480)))
    assert encoder.target_bitrate == 640 * 480 * 30 // 5
    encoder.encode(_frame(1, (1280, 720)))
    assert encoder.target_bitrate == 4_000_000


@pytest.mark.parametrize(("size", "level"), [((320, 240), 30), ((640, 480), 31), ((1920, 1080), 40)])
def test_h264_is_constrained_baseline_of_a_level_that_fits_the_size(size: tuple[int, int], level: int) -> None:
    data = _data(_CODECS["H264"], _encoder("H264").encode(_frame(0, size))[0])
    sps = data[data.index(b"\0\0\1\x67") + 4 :]
    assert sps[0] == 66 and sps[1] & 0x40  # profile_idc and constraint_set1_flag (ITU-T H.264, 7.4.2.1.1)
    assert sps[2] == pytest.approx(level, abs=10) and (size != (1920, 1080) or sps[2] >= 40)


@both
def test_a_frame_that_cannot_be_encoded_costs_only_itself(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, viewer = _encoder(name), Viewer(name)
    encoder.encode(_frame(0))

    def fail(self: Encoder, picture: av.VideoFrame) -> bytes:
        raise av.InvalidDataError(1, "no")

    with monkeypatch.context() as patched:
        patched.setattr(encoding._RealtimeEncoder, "_encoded", fail)
        assert encoder.encode(_frame(1)) == ([], 3000)
    (picture,) = viewer.pictures(encoder.encode(_frame(2))[0])
    assert bar_number(picture) == 2


def test_nvenc_that_does_not_work_is_refused_where_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "nvenc_works", lambda: False)
    with pytest.raises(ConfigError, match="nvenc.*cannot be opened.*auto"):
        check_encoder(RtcConfig(h264=H264Encoder.NVENC))
    check_encoder(RtcConfig(h264=H264Encoder.AUTO))


def test_auto_encodes_whether_nvenc_works_or_not() -> None:
    assert isinstance(nvenc_works(), bool)
    (picture,) = Viewer("H264").pictures(_encoder("H264", RtcConfig()).encode(_frame(3, (320, 240)))[0])
    assert bar_number(picture) == 3


def test_a_card_that_takes_no_further_stream_leaves_it_to_x264(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    real = encoding._h264_context

    def opening(name: str, width: int, height: int, config: RtcConfig) -> VideoCodecContext:
        opened.append(name)
        if name == "h264_nvenc":
            raise av.ExternalError(1, "out of sessions")
        return real(name, width, height, config)

    monkeypatch.setattr(encoding, "nvenc_works", lambda: True)
    monkeypatch.setattr(encoding, "_h264_context", opening)
    (picture,) = Viewer("H264").pictures(_encoder("H264", RtcConfig()).encode(_frame(3))[0])
    assert opened == ["h264_nvenc", "libx264"] and bar_number(picture) == 3


def test_an_applications_own_connection_keeps_aiortcs_encoders() -> None:
    for name in ("VP8", "H264"):
        assert type(get_encoder(_CODECS[name])).__module__.startswith("aiortc.")
